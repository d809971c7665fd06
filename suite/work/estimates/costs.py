"""What a run would cost in time and memory, from records where there are any, else from a rough model.

Time is modelled seconds times a measured ratio: measured over modelled seconds of records of the same group
(``group``: equal but for the seed) or of the same model and task (``pair``: another recipe or budget), those of the
same engine if there are any. Without records the model stands alone (``rough``).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

from suite.plan import Planned
from suite.record import RecordError, load
from suite.runs import Run
from suite.store import Store, safe_name
from suite.work.estimates import sizes
from tasks.contract import Task


@dataclass(frozen=True)
class Machine:
    """The rough model of one thread or one GPU: products, element-wise work, and the start of a time step.

    Attributes:
        flops: floating-point operations of products a second.
        element_seconds: seconds a stored number, forward and backward together.
        start_seconds: seconds a time step of the loop costs whatever its size, forward and backward together.
    """

    flops: float
    element_seconds: float
    start_seconds: float


MACHINES = {
    "cpu": Machine(1e11, 2e-9, 8e-6),  # one AVX-512 core with the native engine
    "cuda": Machine(1e13, 2e-11, 3e-5),
}
# Training steps on one CPU thread over those of `native`: medians over models and shapes of results/speed, where the
# loop has 1.7 to 4.8 and `fused` 1.2 to 3.1. On a GPU nothing is measured.
SLOWER = {"reference": 3.0, "fused": 2.0, "torch": 2.5}
UNKNOWN_BLOCKS = 3  # stored blocks assumed for the time of a model that defines no cell
_RECENT = 50  # records of a model and task that are read


@dataclass(frozen=True)
class Estimate:
    """One line of the table; None where nothing can be said.

    Attributes:
        planned: the run.
        state: done, diverged, failed, resumable, new, or broken (its record cannot be read).
        parameters: trained parameters, embedding left out.
        seconds: training and evaluation of the whole run.
        seconds_from: ``record``, ``group``, ``pair`` or ``rough``.
        memory_bytes: peak memory.
        memory_from: ``group`` (measured, the whole process) or ``blocks`` (stored states, weights and inputs alone).
    """

    planned: Planned
    state: str
    parameters: int | None = None
    seconds: float | None = None
    seconds_from: str | None = None
    memory_bytes: int | None = None
    memory_from: str | None = None

    def as_json(self, store: Store) -> dict[str, Any]:
        """Plain values, for ``--json``."""
        run = self.planned.run
        names = ("state", "parameters", "seconds", "seconds_from", "memory_bytes", "memory_from")
        return {
            "id": run.id, "model": run.model, "task": run.task, "seed": run.seed, "track": run.track,
            "preset": self.planned.preset, "epochs": run.budget.epochs, "recipe": dict(run.recipe),
            "task_options": dict(run.task_options), "sources": dict(self.planned.sources),
            **{name: getattr(self, name) for name in names},
            "record": str(store.path(run)),
        }  # fmt: skip


def modelled_seconds(run: Run, task: Task, *, epochs: int, engine: str = "auto") -> float:
    """Seconds that the rough model gives a run of so many epochs; an evaluation step is a third of a training step."""
    machine, model = MACHINES[run.device_kind], sizes.bare_model(run, task)
    slower = SLOWER.get(sizes.likely_engine(model, engine, "cpu"), 1.0) if run.device_kind == "cpu" else 1.0
    blocks = sizes.stored_blocks(model) or UNKNOWN_BLOCKS
    example = task.spec.length * (
        6 * sizes.products(model) / machine.flops + blocks * run.recipe["hidden_size"] * machine.element_seconds
    )
    start = task.spec.length * machine.start_seconds
    batch, steps = run.recipe["batch_size"], task.steps(run.recipe["batch_size"])
    shown = task.sizes["valid"] + task.sizes["test"] / run.recipe["test_every"]
    return slower * epochs * (steps * (batch * example + start) + shown * example / 3)


def modelled_bytes(run: Run, task: Task) -> int | None:
    """Bytes of stored states and activations (T,B,blocks*H), of a batch, and of weights, gradients and optimiser."""
    model = sizes.bare_model(run, task)
    blocks = sizes.stored_blocks(model)
    if blocks is None:
        return None
    spec, width = task.spec, 8 if run.precision == "float64" else 4
    columns = blocks * run.recipe["hidden_size"] + spec.input_size + (spec.output_size if spec.every_step else 0)
    weights = model.sizes()["parameters"] + (spec.vocabulary or 0) * (spec.embedding_size or 0)
    return width * (spec.length * run.recipe["batch_size"] * columns + 4 * weights)


class Estimator:
    """Estimates runs, reading records and building tasks once.

    Args:
        store: where records are looked for.
        tasks: builds tasks for their sizes.
        engine: the engine that is asked for.
    """

    def __init__(self, store: Store, tasks: sizes.Tasks, engine: str = "auto") -> None:
        self.store, self.tasks, self.engine = store, tasks, engine
        self.troubles: dict[str, str] = {}
        self._records: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._known: dict[str, dict[str, Any]] = {}

    def __call__(self, one: Planned) -> Estimate:
        """The estimate of one run.

        Raises:
            UsageError: a hyperparameter out of range.
        """
        run, state = one.run, self.store.state(one.run)
        if run.group not in self._known:
            self._known[run.group] = self._group(run)
        known = dict(self._known[run.group])
        if state in ("done", "diverged"):
            record = load(self.store.path(run))
            known |= {"seconds": _spent(record), "seconds_from": "record"}
        return Estimate(one, state, **known)

    def _group(self, run: Run) -> dict[str, Any]:
        try:
            task = self.tasks.get(run.task, run.task_options)
        except Exception as error:  # missing data above all; a plug-in may raise anything
            self.troubles[run.task] = " ".join(str(error).split()) or type(error).__name__
            return {}
        seconds, basis = self._seconds(run, task)
        memory = self._peak(run)
        return {
            "parameters": sizes.bare_model(run, task).sizes()["parameters"],
            "seconds": seconds,
            "seconds_from": basis,
            "memory_bytes": modelled_bytes(run, task) if memory is None else memory,
            "memory_from": "blocks" if memory is None else "group",
        }

    def _seconds(self, run: Run, task: Task) -> tuple[float, str]:
        modelled = modelled_seconds(run, task, epochs=run.budget.epochs, engine=self.engine)
        engine = sizes.likely_engine(sizes.bare_model(run, task), self.engine, run.device_kind)
        groups: dict[str, list[tuple[bool, float]]] = {"group": [], "pair": []}
        for record in self._of_pair(run):
            other = Run.from_identity(record["run"])
            if other.device_kind == run.device_kind:
                found = record["where"]["engine"] == engine, self._ratio(record, other)
                groups["group" if other.group == run.group else "pair"].append(found)
        for basis, measured in groups.items():
            known = [(same, ratio) for same, ratio in measured if math.isfinite(ratio)]
            ratios = [ratio for same, ratio in known if same] or [ratio for _, ratio in known]
            if ratios:
                return _capped(modelled * statistics.median(ratios), run), basis
        return _capped(modelled, run), "rough"

    def _ratio(self, record: dict[str, Any], other: Run) -> float:
        """Measured over modelled seconds of a record; NaN where its task or model cannot be built any more.

        NaN, too, where parts of it were trained otherwise than the last one.
        """
        if record["where"].get("legs"):
            return math.nan
        try:
            task = self.tasks.get(other.task, other.task_options)
            engine = record["where"]["engine"]
            return _spent(record) / modelled_seconds(other, task, epochs=len(record["curve"]), engine=engine)
        except Exception:  # an old record's options may no longer fit: it says nothing about this run
            return math.nan

    def _peak(self, run: Run) -> int | None:
        own = [record for record in self._of_pair(run) if Run.from_identity(record["run"]).group == run.group]
        together = _together if run.device_kind == "cuda" else lambda _: 1  # a CPU's peak is the whole process's
        peaks = [record["size"]["peak_bytes"] // together(record) for record in own if record["size"]["peak_bytes"]]
        return max(peaks, default=None)

    def _of_pair(self, run: Run) -> list[dict[str, Any]]:
        """Finished records of the run's model and task, whole epochs only."""
        key = (run.model, run.task)
        if key not in self._records:
            folder = self.store.root / "records" / safe_name(run.model) / safe_name(run.task)
            found = []
            for path in sorted(folder.glob("*.json"))[:_RECENT]:
                try:
                    record = load(path)
                except RecordError:  # its own line of the table says "broken"
                    continue
                if record["status"] == "done" and record["stop_reason"] == "budget":
                    found.append(record)
            self._records[key] = found
        return self._records[key]


def _spent(record: dict[str, Any]) -> float:
    """Seconds of one run: those of a group of seeds side by side are of all of them."""
    return float(record["seconds"]["train"] / _together(record) + record["seconds"]["evaluate"])


def _together(record: dict[str, Any]) -> int:
    return int(record["where"].get("seeds_together", 1))


def _capped(seconds: float, run: Run) -> float:
    limit = math.inf if run.budget.max_seconds is None else run.budget.max_seconds
    return float(f"{min(seconds, limit):.4g}")
