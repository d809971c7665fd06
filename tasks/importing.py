"""Import: find the official layouts in a folder or archive, check them, put them into the data root.

Files are recognised by the end of their path, staged in the data root under fixed names, checked, and only then
moved into place; the names inside an archive never decide where anything is written.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tasks.archives import Member, copy_bounded, members, translated
from tasks.catalogue import SOURCES
from tasks.checksums import HAR_FOLDER, HAR_SIGNALS
from tasks.errors import DataError
from tasks.files import cannot_write
from tasks.reviews import FOLDERS, MAX_BYTES, PER_FOLDER, pack, save
from tasks.source_types import Log, RawFile, State
from tasks.verifying import altered_line, inspect, judge, look

_MNIST = re.compile(r"(?P<stem>(?:train|t10k)-(?:images|labels))[-.](?P<kind>idx[13])-ubyte")
_CIFAR_BIN = re.compile(r"(?:data_batch_[1-5]|test_batch)\.bin")
_CIFAR_PY = re.compile(r"data_batch_[1-5]|test_batch")
_HAR = re.compile(
    rf"(?:^|/)(?P<split>train|test)/(?:(?:y|subject)_(?P=split)"
    rf"|Inertial Signals/(?:{'|'.join(HAR_SIGNALS)})_(?P=split))\.txt$"
)
_REVIEW = re.compile(r"(?:^|/)(?P<folder>(?:train|test)/(?:pos|neg))/(?P<id>\d{1,5})_(?P<rating>\d{1,2})\.txt$")
_PICKLE_BYTES = 64 << 20
_UNKNOWN_BYTES = 1 << 29


class Target(NamedTuple):
    """Where a recognised file belongs."""

    source: str
    path: str  # in the data root; "" for a review
    limit: int
    pickled: bool = False


def recognise(path: PurePosixPath) -> Target | None:
    """The data set and place of a file by the end of its path, or None."""
    name, whole = path.name, str(path)
    if match := _MNIST.fullmatch(name):
        return _target("mnist", f"MNIST/raw/{match['stem']}-{match['kind']}-ubyte")
    if _CIFAR_BIN.fullmatch(name):
        return _target("cifar10", f"cifar-10-batches-bin/{name}")
    if _CIFAR_PY.fullmatch(name):
        return Target("cifar10", f"cifar-10-batches-bin/{name}.bin", _PICKLE_BYTES, pickled=True)
    if match := _HAR.search(whole):
        return _target("uci_har", f"{HAR_FOLDER}{'' if match.group().startswith('/') else '/'}{match.group()}")
    if whole.endswith(f"{HAR_FOLDER}/README.txt"):
        return _target("uci_har", f"{HAR_FOLDER}/README.txt")
    if name == "glove.6B.100d.txt":
        return _target("glove", name)
    if _REVIEW.search(whole):
        return Target("imdb", "", MAX_BYTES)
    return None


def _target(name: str, path: str) -> Target:
    raw = _raw(name, path)
    return Target(name, path, _UNKNOWN_BYTES if raw.bytes is None else raw.bytes)


def _raw(name: str, path: str) -> RawFile:
    return next(raw for raw in SOURCES[name].files if raw.path == path)


class _Import:
    """One import: what was staged so far, by data set."""

    def __init__(self, stage: Path, log: Log) -> None:
        self.stage, self.log = stage, log
        self.staged: dict[str, dict[str, str]] = {}  # data set -> path in the data root -> origin
        self.reviews: dict[str, dict[int, tuple[int, bytes]]] = {folder: {} for folder in FOLDERS}

    def take(self, member: Member, target: Target) -> None:
        """Stage one member. A file that was staged before is left out: the first one found counts."""
        if not target.path:
            self._take_review(member)
            return
        staged = self.staged.setdefault(target.source, {})
        if target.path in staged:
            self.log(f"{member.origin}: left out, {target.path} was found before")
            return
        path = self.stage / target.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            if target.pickled:
                file.write(_unpickled(member))
            else:
                copy_bounded(member.stream, file, target.limit, member.origin)
        staged[target.path] = member.origin

    def _take_review(self, member: Member) -> None:
        match = _REVIEW.search(str(member.path))
        assert match is not None  # recognise() matched it
        body = member.stream.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise DataError(f"{member.origin} unpacks to more than {MAX_BYTES:,} bytes: refused")
        folder = self.reviews[match["folder"]]
        if int(match["id"]) not in folder:
            folder[int(match["id"])] = (int(match["rating"]), body)

    def pack_reviews(self) -> None:
        """Check the number of reviews and stage the packed file."""
        counts = {folder: len(found) for folder, found in self.reviews.items()}
        if not any(counts.values()):
            return
        if wrong := [f"{folder} has {n:,}" for folder, n in counts.items() if n != PER_FOLDER]:
            raise DataError(
                f"imdb: wanted {PER_FOLDER:,} reviews in each of {len(FOLDERS)} folders: {', '.join(wrong)}"
            )
        path = SOURCES["imdb"].files[0].path
        save(self.stage / path, pack(self.reviews))
        self.staged["imdb"] = {path: "aclImdb"}

    def check(self, name: str) -> None:
        """Refuse a data set that lacks a file, or has one whose size or checksum is wrong."""
        staged = self.staged[name]
        missing = [raw.path for raw in SOURCES[name].files if raw.required and raw.path not in staged]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DataError(f"{name}: incomplete, {Path(missing[0]).name} not found{more}")
        for path, origin in staged.items():
            raw = _raw(name, path)
            file = self.stage / path
            if raw.bytes is not None and file.stat().st_size != raw.bytes:
                raise DataError(f"{name}: {altered_line(origin, raw, {'bytes': file.stat().st_size})}")
            entry = look(file, raw, None, deep=True)
            if judge(raw, entry) == "altered":
                raise DataError(f"{name}: {altered_line(origin, raw, entry)}")

    def install(self, name: str, root: Path) -> None:
        """Move a checked data set into the data root, file by file, each atomically."""
        for path in self.staged[name]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.stage / path).replace(root / path)


def _unpickled(member: Member) -> bytes:
    """A batch of the python version as the bytes of the binary version."""
    from tasks.pickled import cifar_records

    data = member.stream.read(_PICKLE_BYTES + 1)
    if len(data) > _PICKLE_BYTES:
        raise DataError(f"{member.origin} unpacks to more than {_PICKLE_BYTES:,} bytes: refused")
    return cifar_records(data, member.origin)


def import_path(
    path: Path, root: Path, *, log: Log, after: Callable[[str, Path], None] | None = None
) -> dict[str, State]:
    """Import every data set found in ``path``.

    Complete data sets are installed even where another one in the same folder is not.

    Args:
        path: a folder, an archive (tar, tar.gz, tar.xz, zip), one .gz or .xz file, or a folder of these.
        root: the data root.
        log: called with one line at a time.
        after: called with each installed data set and the root (parsing into the cache).

    Returns:
        The state of each data set that was imported.

    Raises:
        DataError: nothing was recognised, an archive is damaged or holds a dangerous member, or a data set is
            incomplete or altered.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".import-", dir=root))
    except OSError as error:
        raise cannot_write(root, error) from error
    try:
        return _run(_Import(stage, log), path, root)
    except OSError as error:
        raise cannot_write(root, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _run(job: _Import, path: Path, root: Path) -> dict[str, State]:
    for member in members(path, lambda inside: recognise(inside) is not None):
        target = recognise(member.path)
        assert target is not None  # members() yields wanted ones only
        with translated(member.origin):
            job.take(member, target)
    problems: list[str] = []
    states: dict[str, State] = {}
    try:
        job.pack_reviews()
    except DataError as error:
        problems.append(str(error))
    for name in job.staged:
        try:
            job.check(name)
        except DataError as error:
            problems.append(str(error))
            continue
        job.install(name, root)
        states[name] = inspect(name, root, deep=False)
        job.log(f"imported {states[name].message}")
    if problems:
        raise DataError("; ".join(problems))
    if not states:
        raise DataError(
            f"{path}: no known data set found in it (wanted {', '.join(SOURCES)} in their official layouts)"
        )
    return states
