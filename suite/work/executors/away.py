"""A job on a machine that shares no disk with the driver: checkpoints travel as bytes, data is the machine's own."""

from __future__ import annotations

import dataclasses
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from suite.errors import SuiteError
from suite.work import provenance
from suite.work.checks import fetch
from suite.work.job import Finished, Job, Progress, Stopped
from suite.work.training.group import run_job
from suite.work.training.records import failure

PAUSE_SECONDS = 0.5  # between two looks at checkpoints and at the driver's wish to stop


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A run's checkpoint file, for the driver to keep."""

    id: str
    data: bytes


Event = Progress | Finished | Stopped | Checkpoint


def work(job: Job, states: Mapping[str, bytes], asked: Callable[[], bool]) -> Iterator[Event]:
    """Train a job here.

    Args:
        job: its checkpoint paths are the driver's and are not used.
        states: by run id, the checkpoint files to go on from.
        asked: whether the driver wants the job to stop.

    Yields:
        The job's events; a checkpoint each time one was written, and before a run is said to be stopped.
    """
    with tempfile.TemporaryDirectory(prefix="rnnbench-") as folder:
        paths = {run.id: Path(folder) / f"{run.id}.pt" for run in job.runs}
        for key, data in states.items():
            paths[key].write_bytes(data)
        kept = _Kept(paths)
        job = dataclasses.replace(job, checkpoints=tuple(str(path) for path in paths.values()))
        stop = threading.Event()
        try:
            for event in _events(job, stop, asked):
                if event is None:
                    yield from kept.new()
                    continue
                if isinstance(event, Stopped):
                    yield from kept.new()
                yield event
        finally:
            stop.set()


class _Kept:
    """Notices checkpoints that were written."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.paths = paths
        self.stamps = {key: self._stamp(path) for key, path in paths.items()}

    @staticmethod
    def _stamp(path: Path) -> tuple[int, int] | None:
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def new(self) -> Iterator[Checkpoint]:
        for key, path in self.paths.items():
            stamp = self._stamp(path)
            if stamp is not None and stamp != self.stamps[key]:
                self.stamps[key] = stamp
                yield Checkpoint(key, path.read_bytes())


def _events(job: Job, stop: threading.Event, asked: Callable[[], bool]) -> Iterator[Event | None]:
    """The events of the job, which runs in a thread; None now and then, when there is time to look around."""
    events: queue.Queue[Event | BaseException | None] = queue.Queue()

    def train() -> None:
        try:
            _train(job, events.put, stop.is_set)
            events.put(None)
        except BaseException as error:
            events.put(error)

    threading.Thread(target=train, name="rnnbench-away", daemon=True).start()
    looked = time.monotonic()
    while True:
        try:
            event = events.get(timeout=PAUSE_SECONDS)
            if event is None:
                return
            if isinstance(event, BaseException):
                raise event
            yield event
        except queue.Empty:
            pass
        if time.monotonic() - looked >= PAUSE_SECONDS:
            looked = time.monotonic()
            if not stop.is_set() and asked():
                stop.set()
            yield None


def _train(job: Job, report: Callable[[Progress | Finished | Stopped], None], should_stop: Callable[[], bool]) -> None:
    """Fetch this machine's data where it is missing, then train; data that cannot be had is each run's failure."""
    data_dir = None if job.settings.data_dir is None else Path(job.settings.data_dir)
    started = provenance.now()
    try:
        fetch(job.runs, data_dir)
    except SuiteError as error:
        for run in job.runs:
            report(Finished(failure(run, job, error, started)))
        return
    run_job(job, report, should_stop)
