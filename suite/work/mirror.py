"""Mirrors: watchers that copy a grid's curves elsewhere while it runs. The records stay the one true result.

A mirror is anything with the four methods of ``suite.work.driver.Watcher``; see docs/mirrors.md.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.errors import UsageError
from suite.plan import Planned
from suite.store import safe_name
from suite.work.driver import Watcher
from suite.work.job import Progress

TENSORBOARD = "tensorboard"


class Together:
    """Several watchers as one.

    Args:
        watchers: told in this order. Each one's ``end`` is called, whatever the others raise.
    """

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self.watchers = list(watchers)

    def begin(self, waiting: Sequence[Planned], held: Sequence[Planned]) -> None:
        """Pass it on."""
        for watcher in self.watchers:
            watcher.begin(waiting, held)

    def progress(self, event: Progress) -> None:
        """Pass it on."""
        for watcher in self.watchers:
            watcher.progress(event)

    def record(self, record: Mapping[str, Any]) -> None:
        """Pass it on."""
        for watcher in self.watchers:
            watcher.record(record)

    def end(self) -> None:
        """Pass it on to every watcher; then raise the first error, if any."""
        errors = []
        for watcher in self.watchers:
            try:
                watcher.end()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


class TensorBoardMirror:
    """Writes each run's curve as TensorBoard scalars, one folder a run: ``folder/<model>/<task>/seed<k>-<id>``.

    A folder that cannot be written ends the mirror with one warning and not the training: nothing is lost, the curves
    are in the records.

    Args:
        folder: where the event files go; show them by ``tensorboard --logdir folder``.

    Raises:
        UsageError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                f"--mirror tensorboard: wanted the package tensorboard, which is not installed ({error}): "
                "pip install 'rnnbench[tensorboard]'"
            ) from error
        self.folder, self._make = Path(folder), SummaryWriter
        self._writers: dict[str, Any] = {}
        self._places: dict[str, Path] = {}
        self._broken = False

    def begin(self, waiting: Sequence[Planned], held: Sequence[Planned]) -> None:
        """Note each run's folder; nothing is written before a run starts."""
        for one in waiting:
            run = one.run
            self._places[run.id] = self.folder / safe_name(run.model) / safe_name(run.task) / f"seed{run.seed}-{run.id}"

    def progress(self, event: Progress) -> None:
        """Open a run's writer at its start, write its curve's entry after each epoch."""
        if event.kind == "start":
            self._guarded(self._open, event)
        elif event.kind == "epoch":
            self._guarded(self._write, event.id, event.row)

    def record(self, record: Mapping[str, Any]) -> None:
        """Write a finished run's figures of merit and close its writer."""
        self._guarded(self._finish, record)

    def end(self) -> None:
        """Close what is open: runs that were stopped."""
        for key in list(self._writers):
            self._guarded(self._close, key)

    def _guarded(self, action: Any, *args: Any) -> None:
        if self._broken:
            return
        try:
            action(*args)
        except OSError as error:
            self._broken = True
            print(f"warning: the TensorBoard mirror in {self.folder} stops: {error.strerror or error}", file=sys.stderr)

    def _open(self, event: Progress) -> None:
        if event.id in self._writers:  # a worker died and its run starts again
            self._close(event.id)
        place = self._places.get(event.id, self.folder / event.id)
        # Epochs written after the checkpoint of a killed run come again: TensorBoard is told to forget them.
        purge = event.resumed_from + 1 if event.resumed_from else None
        self._writers[event.id] = self._make(str(place), purge_step=purge)

    def _write(self, key: str, row: Mapping[str, Any]) -> None:
        writer, epoch = self._writers[key], row["epoch"]
        values = {
            name: row[name] for name in ("train_loss", "valid", "valid_loss", "test", "test_loss", "seconds", "lr")
        }
        values |= {f"diagnostics/{name}": value for name, value in row["diagnostics"].items()}
        if row["grad_norm"]:
            values |= {"grad_norm/median": row["grad_norm"][2], "grad_norm/max": row["grad_norm"][-1]}
        for name, value in values.items():
            if value is not None:
                writer.add_scalar(name, value, epoch)
        writer.flush()

    def _finish(self, record: Mapping[str, Any]) -> None:
        key, metrics = record["id"], record["metrics"]
        if key not in self._writers:  # it failed before it started
            return
        for name in ("test", "test_last", "valid"):
            if metrics[name] is not None:
                self._writers[key].add_scalar(f"result/{name}", metrics[name], metrics["best_epoch"] or 0)
        self._writers[key].add_text("status", record["status"])
        self._close(key)

    def _close(self, key: str) -> None:
        self._writers.pop(key).close()


def build(name: str, folder: Path) -> Watcher:
    """The mirror of ``--mirror``: ``tensorboard``, or ``my.pkg:MyMirror``, which is called with ``folder``.

    Raises:
        UsageError: an unknown mirror, one that cannot be imported, or a package that is missing.
    """
    if name == TENSORBOARD:
        return TensorBoardMirror(folder / TENSORBOARD)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise UsageError(f"--mirror: wanted {TENSORBOARD} or my.pkg:MyMirror, got {name!r}")
    try:
        return getattr(importlib.import_module(module), attribute)(folder / "mirror")
    except Exception as error:  # somebody else's code may raise anything
        raise UsageError(f"--mirror {name}: {type(error).__name__}: {error}") from error
