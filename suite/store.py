"""The folder of records: one file a run, written atomically, never overwritten.

No file locks are needed (``suite.files``), so the folder may lie on a network file system and several drivers may
write into it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from suite.errors import CannotWrite
from suite.files import abandoned, make_folder, temporary, write_atomic, write_new
from suite.record import RecordError, dumps, load, read
from suite.runs import Run

__all__ = ["Store", "safe_name", "write_atomic", "write_new"]

_PROBE_BYTES = 1 << 16  # an empty file can be made on a full disk: the probe has a body
_FOLDERS = ("records", "failures", "conflicts", "checkpoints", "claims", "weights")
_CHECKPOINT = re.compile(r"-(seed\d+-[0-9a-f]{12})\.pt$")


def safe_name(name: str) -> str:
    """A model's or task's name as a folder's name: ``my.pkg:MyRNN`` becomes ``my.pkg-MyRNN``; it cannot climb out."""
    plain = re.sub(r"^\.+|[^\w.+-]", lambda found: "-" * len(found[0]), name) or "-"
    if len(plain.encode()) > 80:
        start = plain[:20].encode()[:60].decode(errors="ignore")  # twenty letters may be eighty bytes
        plain = f"{start}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:16]}"
    return plain


class Store:
    """A results folder.

    ``records/`` and ``failures/`` hold results, ``conflicts/`` second records of one run, ``checkpoints/`` the state of
    unfinished runs, ``claims/`` who is at work on what, ``weights/`` trained weights where they were asked for.

    Args:
        root: the results folder; made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def _place(self, kind: str, run: Run) -> Path:
        return self.root / kind / safe_name(run.model) / safe_name(run.task)

    def path(self, run: Run) -> Path:
        """Where the run's record stands or would stand."""
        return self._place("records", run) / f"seed{run.seed}-{run.id}.json"

    def checkpoint_path(self, run: Run) -> Path:
        """Where the run's mid-run checkpoint stands while it is unfinished."""
        return self.root / "checkpoints" / f"{safe_name(run.model)}-{safe_name(run.task)}-seed{run.seed}-{run.id}.pt"

    def weights_path(self, run: Run) -> Path:
        """Where the weights of the run's best epoch stand, if they were asked for."""
        return self._place("weights", run) / f"seed{run.seed}-{run.id}.pt"

    def claims_folder(self) -> Path:
        """Where drivers say which runs they are at work on."""
        return self.root / "claims"

    def has(self, run: Run) -> bool:
        """Whether the run is finished (diverged counts)."""
        return self.path(run).exists()

    def failures(self, run: Run) -> list[Path]:
        """The run's recorded failures, oldest first."""
        return sorted(self._place("failures", run).glob(f"seed{run.seed}-{run.id}-*.json"))

    def state(self, run: Run) -> str:
        """done, diverged, failed, resumable, new, or broken (its record cannot be read; the file is left alone)."""
        if self.has(run):
            try:
                return str(load(self.path(run))["status"])
            except RecordError:
                return "broken"
        if self.failures(run):
            return "failed"
        return "resumable" if self.checkpoint_path(run).exists() else "new"

    def put(self, record: Mapping[str, Any]) -> Path:
        """Write a record once.

        Returns:
            Where it stands: under ``failures/`` for a failed run; under ``conflicts/`` where another record of the
            same run was there first (both are kept).

        Raises:
            CannotWrite: read-only folder, full disk.
        """
        run, text = Run.from_identity(record["run"]), dumps(record)
        if record["status"] == "failed":
            number = len(self.failures(run)) + 1
            name = f"seed{run.seed}-{run.id}-{number:03d}-{secrets.token_hex(2)}.json"
            return self._put(self._place("failures", run) / name, run, text)[0]
        return self._put(self.path(run), run, text)[0]

    def _put(self, path: Path, run: Run, text: str) -> tuple[Path, bool]:
        """Where the text stands now, and whether it is new there."""
        if write_new(path, text):
            return path, True
        if path.read_bytes() == text.encode():
            return path, False
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]  # named by its content: twice the same is kept once
        path = self._place("conflicts", run) / f"{path.stem}-{digest}.json"
        return path, write_new(path, text)

    def merge(self, source: Path) -> tuple[Path, bool]:
        """Take a record or failure over from another results folder, byte for byte.

        Args:
            source: the file.

        Returns:
            Where it stands, as in ``put``, and whether it is new there.

        Raises:
            RecordError: it is no valid record.
            CannotWrite: read-only folder, full disk.
        """
        record, text = read(source)
        run = Run.from_identity(record["run"])
        if record["status"] == "failed":
            return self._put(self._place("failures", run) / safe_name(source.name), run, text)
        return self._put(self.path(run), run, text)

    def merge_weights(self, record: Path) -> bool:
        """Take the weights over that stand beside a merged record, unless some stand here.

        Args:
            record: the record's file under ``records/`` of another results folder.

        Returns:
            Whether they were taken.

        Raises:
            RecordError: they cannot be read.
            CannotWrite: read-only folder, full disk.
        """
        *_, model, task, name = record.parts
        source = record.parents[3] / "weights" / model / task / Path(name).with_suffix(".pt")
        if not source.exists():
            return False
        try:
            values, text = read(record)
            run = Run.from_identity(values["run"])
            place = self.weights_path(run)
            if place.exists() or text != self.path(run).read_text(encoding="utf-8"):  # or: another training of the run
                return False
            write_atomic(place, source.read_bytes())
        except OSError as error:
            raise RecordError(f"{source}: cannot be read: {error.strerror or error}") from error
        return True

    def check_writable(self, kind: str = "records") -> None:
        """Fail early, before anything is computed, where results cannot be written.

        Args:
            kind: the folder that is tried.

        Raises:
            CannotWrite: with the folder and the system's reason.
        """
        own = temporary(self.root / kind / "probe")
        try:
            make_folder(own.parent)
            try:
                with own.open("wb") as file:
                    file.write(bytes(_PROBE_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                own.unlink(missing_ok=True)
        except OSError as error:
            raise CannotWrite(f"cannot write into {own.parent}: {error.strerror or error}") from error

    def sweep(self, *, grace: float = 10.0, foreign: float = 3600.0) -> list[Path]:
        """Remove what killed processes left: temporary files nobody writes any more, checkpoints of finished runs.

        Args:
            grace: seconds that a temporary file of a dead process of this machine is left alone.
            foreign: the same for files of other machines, whose processes cannot be seen.

        Returns:
            What was removed. A file that cannot be removed is left: it does no harm.
        """
        left = (path for kind in _FOLDERS for path in (self.root / kind).glob("**/.*.tmp"))
        gone = [path for path in left if abandoned(path, grace=grace, foreign=foreign)]
        gone += self._finished_checkpoints()
        for path in gone:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return gone

    def _finished_checkpoints(self) -> list[Path]:
        found = {
            path: match[1] for path in self.root.glob("checkpoints/*.pt") if (match := _CHECKPOINT.search(path.name))
        }
        records = {path.stem: path for path in self.paths()} if found else {}
        return [path for path, name in found.items() if name in records and _readable(records[name])]

    def paths(self) -> Iterator[Path]:
        """Every record's path, sorted."""
        yield from sorted((self.root / "records").glob("*/*/*.json"))

    def conflict_paths(self) -> Iterator[Path]:
        """Every second record's path, sorted."""
        yield from sorted((self.root / "conflicts").glob("*/*/*.json"))

    def failure_paths(self) -> Iterator[Path]:
        """Every failure's path, sorted."""
        yield from sorted((self.root / "failures").glob("*/*/*.json"))

    def records(self) -> Iterator[dict[str, Any] | RecordError]:
        """Every record in path order; an unreadable one comes as its error, so that a reader can name it and go on."""
        for path in self.paths():
            try:
                yield load(path)
            except RecordError as error:
                yield error


def _readable(path: Path) -> bool:
    try:
        load(path)
    except RecordError:
        return False
    return True
