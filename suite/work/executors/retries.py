"""Runs whose worker died: tried again from their checkpoint, and after some deaths recorded as failed."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace

from suite.work import provenance
from suite.work.job import Finished, Job, Stopped
from suite.work.telling import tell

RETRIES = 2


class Retries:
    """Counts deaths.

    Attributes:
        again: jobs that wait for another try.
    """

    def __init__(self) -> None:
        self.again: list[Job] = []
        self._deaths: dict[tuple[str, int], int] = {}

    def settle(
        self, job: Job, left: Set[str], reason: str, *, stopped: bool, most: int = RETRIES
    ) -> Iterator[Finished | Stopped]:  # fmt: skip
        """A job's worker has ended.

        Args:
            job: the job.
            left: ids of its runs that have no record.
            reason: how the worker died.
            stopped: a stop was asked for: nothing is tried again.
            most: deaths after which a run is tried again; each number has its own count.

        Yields:
            ``Stopped`` or the failure of each run that is not tried again.
        """
        kept = [(run, path) for run, path in zip(job.runs, job.checkpoints) if run.id in left]
        if not kept:
            return
        if stopped:
            yield from (Stopped(run.id) for run, _ in kept)
            return
        for run, _ in kept:
            self._deaths[run.id, most] = self._deaths.get((run.id, most), 0) + 1
        deaths = max(self._deaths[run.id, most] for run, _ in kept)
        if deaths <= most:
            first = kept[0][0]
            tell(f"{first.model} {first.task} seed {first.seed}: its worker died ({reason}): trying again")
            runs, paths = zip(*kept)
            self.again.append(replace(job, runs=runs, checkpoints=paths))
            return
        from suite.work.training.records import failure

        for run, _ in kept:
            yield Finished(failure(run, job, f"worker died {deaths} times: {reason}", provenance.now()))
