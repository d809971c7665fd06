"""The runs that are still to do, handed out a job at a time; a run is claimed before it is handed out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from suite.errors import CannotWrite
from suite.plan import Planned
from suite.store import Store
from suite.work.claims import Claims
from suite.work.job import Job, Settings
from suite.work.telling import tell

LOOK_SECONDS = 2.0  # between two looks at runs that another driver holds


class Todo:
    """What an executor takes its jobs from.

    Args:
        groups: the runs to do; those of one group are trained by one job.
        store: asked whether another driver has finished a run meanwhile.
        settings: how to run.
        claims: of this driver.
        trouble: told once where claims cannot be written; no job comes after that.

    Attributes:
        elsewhere: by id, runs that another driver finished in the meantime.
    """

    def __init__(
        self, groups: Sequence[Sequence[Planned]], store: Store, settings: Settings, claims: Claims,
        trouble: Callable[[CannotWrite], object],
    ) -> None:  # fmt: skip
        self.store, self.settings, self.claims, self.trouble = store, settings, claims, trouble
        self.elsewhere: dict[str, Planned] = {}
        self._fresh = deque(groups)
        self._held: deque[tuple[float, Sequence[Planned]]] = deque()  # by other drivers: when to look, what
        self._failed = {one.run.id: len(store.failures(one.run)) for group in groups for one in group}
        self._told = False

    @property
    def empty(self) -> bool:
        """Whether no job will come any more; else ``take`` may give one later, though it gives none now."""
        return not self._fresh and not self._held

    def take(self) -> Job | None:
        """The next job, claimed; None where there is none now."""
        try:
            return self._take()
        except CannotWrite as error:
            self._fresh.clear()
            self._held.clear()
            self.trouble(error)
            return None

    def _take(self) -> Job | None:
        while self._fresh:
            job = self._claim(self._fresh.popleft())
            if job is not None:
                return job
        if self._held and not self._told:
            self._told = True
            count = sum(len(group) for _, group in self._held)
            tell(f"another driver is at work on {count} of these runs: waiting for its records")
        while self._held and self._held[0][0] <= time.monotonic():
            job = self._claim(self._held.popleft()[1])
            if job is not None:
                return job
        return None

    def _claim(self, group: Sequence[Planned]) -> Job | None:
        mine, others = [], []
        for one in group:
            if self._settled(one):
                continue
            if not self.claims.take(one.run.id):
                others.append(one)
            elif self._settled(one):  # between the look and the claim
                self.claims.release([one.run.id])
            else:
                mine.append(one)
        if others:
            self._held.append((time.monotonic() + LOOK_SECONDS, others))
        return self._job(mine) if mine else None

    def _settled(self, one: Planned) -> bool:
        """Whether the run has a record, or failed anew, since the grid was planned."""
        done = self.store.has(one.run) or len(self.store.failures(one.run)) > self._failed[one.run.id]
        if done:
            self.elsewhere[one.run.id] = one
        return done

    def _job(self, group: Sequence[Planned]) -> Job:
        return Job(
            runs=tuple(one.run for one in group),
            sources=dict(group[0].sources),
            settings=replace(self.settings, preset=group[0].preset),
            checkpoints=tuple(str(self.store.checkpoint_path(one.run)) for one in group),
        )
