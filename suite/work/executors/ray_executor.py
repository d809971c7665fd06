"""The `ray` executor: jobs as Ray tasks, on one machine or many.

The driver's own code (``models``, ``tasks``, ``suite``, plug-ins) travels to the workers as Ray's ``py_modules``, so
nodes need the libraries alone. No disk is shared: records and checkpoints travel to the driver, which writes them; a
node reads data from its own data root. A lost worker or node costs what came after the last checkpoint.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import LocalRayletDiedError, NodeDiedError, RayError, RuntimeEnvSetupError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from suite.errors import CannotWrite, UsageError, words
from suite.files import write_atomic
from suite.work.executors.away import Checkpoint, work
from suite.work.executors.ray_cluster import nodes
from suite.work.executors.retries import RETRIES, Retries
from suite.work.job import Finished, Job, Progress, Stopped
from suite.work.stopping import GRACE_SECONDS, Stopper
from suite.work.telling import tell
from suite.work.todo import Todo

NODE_RETRIES = 20  # deaths of a worker together with its node, which say little about the run
PAUSE_SECONDS = 0.2
LOOK_SECONDS = 2.0  # between two looks at the cluster's nodes
ASK_SECONDS = 10.0  # that a worker waits for an answer of the driver's switch


@ray.remote(num_cpus=0, max_restarts=-1)
class _Switch:
    """Says whether the driver wants all to stop; workers ask it."""

    def __init__(self) -> None:
        self.on = False

    def turn(self) -> None:
        self.on = True

    def asked(self) -> bool:
        return self.on


@ray.remote(max_retries=0)
def _task(job: Job, states: Mapping[str, bytes], switch: Any) -> Iterator[Any]:
    """On a worker: its node's id once torch is loaded, then the job's events."""
    importlib.import_module("torch._dynamo")  # the first optimiser imports it, for seconds
    yield ray.get_runtime_context().get_node_id()
    yield from work(job, states, lambda: _asked(switch))


def _asked(switch: Any) -> bool:
    """Whether the driver wants all to stop; a switch that cannot be reached asks nothing.

    ``ray.get`` would give the task's CPUs away while it waits, and Ray would start another job beside the one in work.
    """
    try:
        return bool(switch.asked.remote().future().result(ASK_SECONDS))
    except (RayError, TimeoutError):
        return False


@dataclasses.dataclass
class _Active:
    """A task: its job, the runs that have no record yet, its node once it has started, when it last showed life."""

    job: Job
    events: Any
    open: set[str]
    seen: float
    node: str | None = None
    closed: bool = False
    error: Exception | None = None
    reason: str = ""


class RayExecutor:
    """Runs jobs on a Ray cluster; ``connect`` comes first.

    Args:
        threads: CPUs a job.
        shares: part of a GPU for each group of runs; empty on CPUs.
        most: jobs side by side at most; None: what the cluster has room for, and one that waits.
        stall_seconds: a job that shows no sign of life for so long is ended; None: never.
    """

    def __init__(
        self, *, threads: int, shares: Mapping[str, float], most: int | None = None, stall_seconds: float | None = None
    ) -> None:
        self.threads, self.shares, self.most, self.stall_seconds = threads, dict(shares), most, stall_seconds
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)  # lost with us alone
        self.switch = _Switch.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
        self.retries = Retries()
        self._room, self._looked = 1, -math.inf

    def run(self, jobs: Todo, stopper: Stopper) -> Iterator[Progress | Finished | Stopped]:
        """Train the jobs and yield their events as they come; after a stop request no further job starts."""
        active: list[_Active] = []
        told: float | None = None
        try:
            while active or not (stopper.asked() or (jobs.empty and not self.retries.again)):
                if stopper.insisted():
                    return
                if stopper.asked() and told is None:
                    told = time.monotonic()
                    self.switch.turn.remote()
                    _end(one for one in active if one.node is None)  # what waits for room may wait for hours
                elif told is not None and time.monotonic() - told > GRACE_SECONDS:
                    told = math.inf
                    _end(active)
                elif not stopper.asked() and len(active) < self._capacity() and (job := self._next(jobs)):
                    active.append(self._start(job))
                    continue
                yield from self._events(active)
                for one in [a for a in active if a.closed]:
                    active.remove(one)
                    yield from self._close(one, stopper)
        finally:
            _end(active)

    def _next(self, jobs: Todo) -> Job | None:
        return self.retries.again.pop() if self.retries.again else jobs.take()

    def _capacity(self) -> int:
        """Jobs that are handed to Ray at once: one more than fit, so that a cluster that grows sees a need to."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            share = min(self.shares.values(), default=0.0)
            rooms = 0
            for node in nodes():
                room = int(node["Resources"].get("CPU", 0) // self.threads)
                rooms += min(room, int(node["Resources"].get("GPU", 0) // share)) if share else room
            self._room = min(self.most or sys.maxsize, rooms + 1)
        return self._room

    def _start(self, job: Job) -> _Active:
        states = {
            run.id: Path(path).read_bytes() for run, path in zip(job.runs, job.checkpoints) if Path(path).exists()
        }
        task = _task.options(  # type: ignore[attr-defined]
            num_returns="streaming", num_cpus=self.threads, num_gpus=self.shares.get(job.runs[0].group, 0)
        )
        events = task.remote(job, ray.put(states), self.switch)
        return _Active(job, events, {run.id for run in job.runs}, time.monotonic())

    def _events(self, active: Sequence[_Active]) -> Iterator[Progress | Finished | Stopped]:
        if not active:
            time.sleep(PAUSE_SECONDS)
            return
        ready, _ = ray.wait([one.events for one in active], num_returns=1, timeout=PAUSE_SECONDS)
        now = time.monotonic()
        for one in active:
            if any(one.events is found for found in ready):
                one.seen = now
                yield from self._event(one)
            elif self._stalled(one, now):
                one.reason = f"no sign of life for {self.stall_seconds:g} s"
                ray.cancel(one.events, force=True)

    def _stalled(self, one: _Active, now: float) -> bool:
        started = one.node is not None and not one.reason  # one that waits for room shows no life, and need not
        return self.stall_seconds is not None and started and now - one.seen > self.stall_seconds

    def _event(self, one: _Active) -> Iterator[Progress | Finished | Stopped]:
        try:
            event = ray.get(next(one.events))
        except StopIteration:
            one.closed = True
            return
        except RuntimeEnvSetupError as error:
            raise UsageError(f"--executor ray: a worker's environment cannot be made: {error}") from error
        except (RayError, OSError) as error:  # the worker or its node is gone, or what it sent went with it
            one.closed, one.error = True, error
            return
        if isinstance(event, str):
            one.node = event
        elif isinstance(event, Checkpoint):
            _keep(one.job, event)
        else:
            if isinstance(event, Finished):
                one.open.discard(event.record["id"])
            elif isinstance(event, Stopped):
                one.open.discard(event.id)
            yield event

    def _close(self, one: _Active, stopper: Stopper) -> Iterator[Finished | Stopped]:
        """A task has ended; one that left no run without a record has ended well."""
        if one.open:
            lost = not stopper.asked() and _node_is_gone(one)
            reason = one.reason or ("its node is gone" if lost else words(one.error))
            most = NODE_RETRIES if lost else RETRIES
            yield from self.retries.settle(one.job, one.open, reason, stopped=stopper.asked(), most=most)


def _end(some: Iterable[_Active]) -> None:
    for one in some:
        ray.cancel(one.events, force=True)


def _keep(job: Job, event: Checkpoint) -> None:
    """Keep a worker's checkpoint where any later driver finds it."""
    (path,) = (path for run, path in zip(job.runs, job.checkpoints) if run.id == event.id)
    try:
        write_atomic(Path(path), event.data)
    except CannotWrite as error:
        tell(f"warning: no checkpoint: {error}")


def _node_is_gone(one: _Active) -> bool:
    """Whether the task's node left the cluster; the cluster may need a moment to notice."""
    if isinstance(one.error, (NodeDiedError, LocalRayletDiedError)):
        return True
    end = time.monotonic() + (0 if one.reason or one.node is None else 5)
    while True:
        if one.node is not None and all(node["NodeID"] != one.node for node in nodes()):
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE_SECONDS)
