"""The `processes` executor: a fresh process a job, as many side by side as asked for, one GPU each where there are any.

On a CPU, N runs with one thread each beat one run with N threads. A worker that dies is tried again from its
checkpoint, then recorded as failed. No worker outlives its driver: it leaves when the pipe to the driver closes, and
Linux kills it when the process ends that started it: the fork server, which ends with the driver, or the driver itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any

from suite.work.executors import forkserver
from suite.work.executors.retries import Retries
from suite.work.executors.tied import tie
from suite.work.job import Finished, Job, Progress, Stopped
from suite.work.stopping import GRACE_SECONDS, Stopper, held_back
from suite.work.todo import Todo

Event = Progress | Finished | Stopped
SERVER_TRIES = 10
PAUSE_SECONDS = 0.2  # between two looks at signals, stalled workers and other drivers


def worker(job: Job, connection: Connection) -> None:
    """The worker's main: trains the job, sends events, leaves when the driver is gone."""
    tie()
    for number in (signal.SIGINT, signal.SIGTERM):  # the driver decides: it may have got the same signal
        signal.signal(number, signal.SIG_IGN)
    stop = threading.Event()

    def listen() -> None:
        try:
            while connection.recv() == "stop":
                stop.set()
        except (EOFError, OSError):
            os._exit(3)

    threading.Thread(target=listen, daemon=True, name="rnnbench-listen").start()
    from suite.work.training.group import run_job

    try:
        run_job(job, connection.send, stop.is_set)
        connection.send(None)
    except ConnectionError:
        os._exit(3)


@dataclasses.dataclass
class _Active:
    """A worker: its job, the runs that have no record yet, when it last showed life."""

    job: Job
    process: Any
    connection: Connection
    device: str
    open: set[str]
    seen: float
    told: float | None = None
    closed: bool = False
    reason: str = ""


def _begin(context: BaseContext, job: Job) -> tuple[Any, Connection]:
    ours, theirs = context.Pipe()
    process = context.Process(target=worker, args=(job, theirs), daemon=False)  # type: ignore[attr-defined]
    try:
        with theirs, held_back():
            process.start()
    except BaseException:
        ours.close()
        raise
    return process, ours


class ProcessExecutor:
    """Runs jobs in worker processes.

    Args:
        workers: processes side by side.
        devices: one device a worker, e.g. ``("cuda:0", "cuda:1")`` or ``("cpu",) * workers``.
        stall_seconds: a worker that shows no sign of life for so long is killed; None: never.
    """

    def __init__(self, workers: int, *, devices: Sequence[str], stall_seconds: float | None = None) -> None:
        self.workers, self.free = workers, list(devices)[:workers]
        self.stall_seconds = stall_seconds
        self.retries = Retries()

    def run(self, jobs: Todo, stopper: Stopper) -> Iterator[Event]:
        """Train the jobs and yield their events as they come; after a stop request no further job starts."""
        active: list[_Active] = []
        try:
            while active or not (stopper.asked() or (jobs.empty and not self.retries.again)):
                if stopper.asked():
                    self._ask_to_stop(active, at_once=stopper.insisted())
                elif len(active) < self.workers and (job := self._next(jobs)):
                    active.append(self._start(job))
                    continue
                for one in self._ready(active):
                    yield from self._events(one)
                for one in [a for a in active if a.closed]:
                    active.remove(one)
                    yield from self._close(one, stopper)
        finally:
            for one in active:
                one.process.kill()
                one.process.join()
            forkserver.restore()

    def _next(self, jobs: Todo) -> Job | None:
        return self.retries.again.pop() if self.retries.again else jobs.take()

    def _start(self, job: Job) -> _Active:
        device = self.free.pop(0)
        job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, device=device))
        process, connection = self._spawn(job)
        return _Active(job, process, connection, device, {run.id for run in job.runs}, time.monotonic())

    def _spawn(self, job: Job) -> tuple[Any, Connection]:
        reachable = True
        for left in reversed(range(SERVER_TRIES)):
            try:
                return _begin(forkserver.start() if reachable else forkserver.without(), job)
            except (OSError, EOFError) as error:  # the fork server died; the system may need a moment to see that
                if not left:
                    raise
                reachable = reachable and not isinstance(error, FileNotFoundError)  # its socket was cleaned away
                time.sleep(PAUSE_SECONDS)
        raise AssertionError("unreachable")

    def _ask_to_stop(self, active: Sequence[_Active], *, at_once: bool) -> None:
        now = time.monotonic()
        for one in active:
            if one.told is None:
                one.told = now
                with contextlib.suppress(OSError):
                    one.connection.send("stop")
            if at_once or now - one.told > GRACE_SECONDS:
                one.process.kill()

    def _ready(self, active: Sequence[_Active]) -> list[_Active]:
        if not active:
            time.sleep(PAUSE_SECONDS)
        ready = set(wait([one.connection for one in active], timeout=PAUSE_SECONDS)) if active else set()
        now = time.monotonic()
        for one in active:
            if one.connection in ready:
                one.seen = now
            elif self.stall_seconds is not None and now - one.seen > self.stall_seconds and not one.reason:
                one.reason = f"no sign of life for {self.stall_seconds:g} s"
                one.process.kill()
        return [one for one in active if one.connection in ready]

    def _events(self, one: _Active) -> Iterator[Event]:
        try:
            while one.connection.poll():
                event = one.connection.recv()
                if event is None:
                    one.closed = True
                    return
                if isinstance(event, Finished):
                    one.open.discard(event.record["id"])
                elif isinstance(event, Stopped):
                    one.open.discard(event.id)
                yield event
        except (EOFError, OSError):
            one.closed = True

    def _close(self, one: _Active, stopper: Stopper) -> Iterator[Event]:
        """A worker has ended. Runs that it left without a record are tried again, then recorded as failed."""
        one.process.join(timeout=10)
        if one.process.is_alive():
            one.process.kill()
            one.process.join()
        one.connection.close()
        self.free.append(one.device)
        reason = one.reason or _died(one.process.exitcode)
        one.process.close()
        yield from self.retries.settle(one.job, one.open, reason, stopped=stopper.asked())


def _died(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    if code == -signal.SIGKILL:
        return "SIGKILL, perhaps out of memory"
    return signal.strsignal(-code) or f"signal {-code}"
