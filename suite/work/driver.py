"""The driver of a grid: skips what the store holds, hands jobs to an executor, writes each record as it arrives."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from suite.errors import DONE, SOME_FAILED, CannotWrite
from suite.plan import Planned
from suite.record import RecordError, load, outline
from suite.runs import Run
from suite.store import Store, write_atomic
from suite.work import failures, provenance
from suite.work.claims import Claims
from suite.work.job import Finished, Progress, Settings, Stopped
from suite.work.stopping import Stopper
from suite.work.telling import tell
from suite.work.todo import Todo
from suite.work.training.checkpoint import remove


class Executor(Protocol):
    """What trains jobs: inline, processes or Ray."""

    def run(self, jobs: Todo, stopper: Stopper) -> Iterator[Progress | Finished | Stopped]:
        """Yield events as they come, until no job is left or a stop was asked for."""


class Watcher(Protocol):
    """What is told of a grid's life: the terminal, a TensorBoard mirror, a test."""

    def begin(self, waiting: Sequence[Planned], held: Sequence[Planned]) -> None:
        """Before anything starts: the runs to do, and those that are done already."""

    def progress(self, event: Progress) -> None:
        """A sign of life of one run."""

    def record(self, record: Mapping[str, Any]) -> None:
        """A record that is now in the store."""

    def end(self) -> None:
        """After the last event, or when something was raised."""


class Shy:
    """A watcher whose troubles with its terminal or files never stop a grid: after one it is told no more."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher, self.gone = watcher, False

    def _tell(self, name: str, *args: Any) -> None:
        if not self.gone:
            try:
                getattr(self.watcher, name)(*args)
            except OSError as error:
                self.gone = True
                tell(f"warning: progress is shown no more: {error}")

    def begin(self, waiting: Sequence[Planned], held: Sequence[Planned]) -> None:
        """Pass it on."""
        self._tell("begin", waiting, held)

    def progress(self, event: Progress) -> None:
        """Pass it on."""
        self._tell("progress", event)

    def record(self, record: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._tell("record", record)

    def end(self) -> None:
        """Pass it on."""
        self._tell("end")


@dataclass
class Outcome:
    """What a grid's call came to.

    Attributes:
        outlines: ``suite.record.outline`` of each record of the grid, held and new, in plan order, failures left out:
            whole, the records of a grid of 10,000 runs would take gigabytes.
        paths: files of these records.
        counts: how many runs were skipped, done, diverged, failed, stopped; and failed in earlier calls.
        earlier: lines about runs that failed in earlier calls and are left alone.
        exit_code: see DESIGN section 9.
    """

    outlines: list[dict[str, Any]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    failures: list[Mapping[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    earlier: list[str] = field(default_factory=list)
    exit_code: int = DONE


def split(planned: Sequence[Planned], store: Store, *, rerun_failed: bool) -> tuple[list[Planned], list[Planned]]:
    """The runs to do and those to leave: finished ones, and failed ones unless ``rerun_failed``."""
    waiting: list[Planned] = []
    held: list[Planned] = []
    for one in planned:
        skip = store.has(one.run) or (not rerun_failed and bool(store.failures(one.run)))
        (held if skip else waiting).append(one)
    return waiting, held


def run_grid(
    planned: Sequence[Planned], store: Store, settings: Settings, executor: Executor, watcher: Watcher,
    *, rerun_failed: bool = False,
) -> Outcome:  # fmt: skip
    """Run what is missing.

    Raises:
        CannotWrite: a record could not be written; those before it are safe.
    """
    waiting, held = split(planned, store, rerun_failed=rerun_failed)
    if waiting:  # a finished grid is shown from a read-only folder too
        store.check_writable()
        if settings.keep_weights:
            store.check_writable("weights")
    store.sweep()
    groups = groups_of(waiting, settings.seeds_per_run)
    with Stopper() as stopper, Claims(store.claims_folder()) as claims:
        grid = _Grid(store, claims, Shy(watcher), stopper)
        todo = Todo(groups, store, replace(settings, code=provenance.commit()), claims, grid.fail)
        if settings.keep_weights:
            _say_what_has_none(held, store)
        try:
            grid.watcher.begin(waiting, held)
            for event in executor.run(todo, stopper):
                grid.take(event)
        finally:
            grid.watcher.end()
        grid.settle()
        failed, grid.outcome.earlier = failures.of_earlier(held, store)
        grid.outcome.counts["failed earlier"] = failed
        grid.outcome.counts["skipped"] = len(held) - failed + len(todo.elsewhere)
        grid.outcome.exit_code = stopper.exit_code
        if stopper.asked():
            ended = sum(grid.outcome.counts[name] for name in ("done", "diverged", "failed", "stopped"))
            grid.outcome.counts["not started"] = max(0, len(waiting) - ended - len(todo.elsewhere))
    return _conclude(grid.outcome, planned, store)


def _say_what_has_none(held: Sequence[Planned], store: Store) -> None:
    without = [one.run for one in held if store.has(one.run) and not store.weights_path(one.run).exists()]
    count = sum(_has_score(store.path(run)) for run in without)
    if count:
        tell(f"{count} finished run{'s have' if count > 1 else ' has'} no weights; another --results-dir trains anew")


def _has_score(path: Path) -> bool:
    """Whether there was a best epoch; a broken record is told elsewhere."""
    try:
        return load(path)["metrics"]["best_epoch"] is not None
    except RecordError:
        return False


class _Grid:
    """What the driver does with each event."""

    def __init__(self, store: Store, claims: Claims, watcher: Shy, stopper: Stopper) -> None:
        self.store, self.claims, self.watcher, self.stopper = store, claims, watcher, stopper
        self.outcome = Outcome()
        self.unsaved: list[Finished] = []
        self.trouble: CannotWrite | None = None

    def take(self, event: Progress | Finished | Stopped) -> None:
        """Tell, keep or count an event."""
        if isinstance(event, Progress):
            self.watcher.progress(event)
        elif isinstance(event, Stopped):
            self.outcome.counts["stopped"] += 1
            self.claims.release([event.id])
        else:
            try:
                self._keep(event)
            except CannotWrite as error:
                self.unsaved.append(event)
                self.fail(error)

    def fail(self, error: CannotWrite) -> None:
        """Something could not be written: the runs at work are asked for their checkpoints, as with Ctrl-C."""
        self.trouble = self.trouble or error
        self.stopper.ask()

    def settle(self) -> None:
        """Try once more to write what could not be written; where weights still cannot be, their record alone.

        Raises:
            CannotWrite: the first reason; it stays an error, since the grid was stopped for it.
        """
        for event in self.unsaved:
            with suppress(CannotWrite):
                self._keep(event, anyhow=True)
        if self.trouble is not None:
            raise self.trouble

    def _keep(self, event: Finished, *, anyhow: bool = False) -> None:
        record = event.record
        run = Run.from_identity(record["run"])
        if not self.store.has(run):  # before the record, which ends the run
            event = self._keep_weights(event, run, anyhow=anyhow)
        path = self.store.put(record)
        if event.lacking:
            tell(f"{run.model} {run.task} seed {run.seed}: no weights: {event.lacking}")
        self.outcome.counts[record["status"]] += 1
        if record["status"] == "failed":
            self.outcome.failures.append({**outline(record), "path": str(path)})
        else:
            remove(self.store.checkpoint_path(run))
            if path != self.store.path(run):
                tell(f"another driver recorded {self.store.path(run).name} first: both are kept, this one as {path}")
        self.claims.release([run.id])
        self.watcher.record(record)

    def _keep_weights(self, event: Finished, run: Run, *, anyhow: bool) -> Finished:
        """Write the weights, or take those away that an earlier training of the run left."""
        place = self.store.weights_path(run)
        if event.weights is None:
            with suppress(OSError):
                place.unlink(missing_ok=True)
            return event
        try:
            write_atomic(place, event.weights)
        except CannotWrite as error:
            if not anyhow:
                raise
            return replace(event, lacking=str(error))
        return event


def _conclude(outcome: Outcome, planned: Sequence[Planned], store: Store) -> Outcome:
    """Read the whole grid's records, and set the exit code."""
    bad, changed = 0, set[str]()
    for one in planned:
        if store.has(one.run):
            path = store.path(one.run)
            try:
                record = load(path)
            except RecordError as error:
                tell(f"broken record, left as it is: {error}; move it away and the run is done anew")
                outcome.counts["broken"] += 1
            else:
                outcome.outlines.append(outline(record))
                outcome.paths.append(path)
                bad += record["status"] != "done"
                changed |= failures.changed(one.run, record)
        else:
            bad += bool(store.failures(one.run))
    for name in failures.other_data(outcome.outlines):
        tell(f"{name}: these records report different data (where.data), and should not stand in one table")
    for name in sorted(changed):
        tell(
            f"{name}: some of these records were made with other code of it than there is now; raise its version to"
            " have them made anew"
        )
    outcome.exit_code = outcome.exit_code or (SOME_FAILED if bad or outcome.counts["broken"] else DONE)
    return outcome


def groups_of(waiting: Sequence[Planned], size: int) -> list[list[Planned]]:
    """Runs that differ in their seed alone, at most ``size`` together, in plan order."""
    groups: dict[tuple[str, int], list[Planned]] = {}
    counts: Counter[str] = Counter()
    for one in waiting:
        key = one.run.group
        groups.setdefault((key, counts[key] // size), []).append(one)
        counts[key] += 1
    return list(groups.values())


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
