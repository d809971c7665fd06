"""The `inline` executor: one job after the other in this process. Events come while a run trains."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

from suite.work.job import Job
from suite.work.stopping import TRAINING, Stopper
from suite.work.todo import Todo
from suite.work.training.group import Event, run_job

PAUSE_SECONDS = 0.2


class InlineExecutor:
    """Runs jobs in a thread of this process, so that events reach the driver, and signals are taken, as they come."""

    def run(self, jobs: Todo, stopper: Stopper) -> Iterator[Event]:
        """Train each job and yield its events; after a stop request no further job starts."""
        while not stopper.asked() and not jobs.empty:
            job = jobs.take()
            if job is None:
                time.sleep(PAUSE_SECONDS)
            else:
                yield from self._run(job, stopper)

    def _run(self, job: Job, stopper: Stopper) -> Iterator[Event]:
        events: queue.Queue[Event | BaseException | None] = queue.Queue()

        def work() -> None:
            try:
                run_job(job, events.put, stopper.asked)
                events.put(None)
            except BaseException as error:
                events.put(error)

        threading.Thread(target=work, name=TRAINING, daemon=True).start()
        while True:
            try:
                event = events.get(timeout=PAUSE_SECONDS)  # a time-out, so that signals are handled
            except queue.Empty:
                if stopper.insisted():
                    return
                continue
            if event is None:
                return
            if isinstance(event, BaseException):
                raise event
            yield event
