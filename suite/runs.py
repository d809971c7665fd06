"""A run: one point of the grid, frozen, with an id that says when two runs would give the same numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

SCHEMA = 1
TRACKS = ("paper", "matched-params", "matched-time", "tuned")
UNBOUNDED = 100_000  # epochs of track matched-time: the time ends a run
PRECISIONS = ("float32", "float64", "tf32", "bf16")

# Keys of the trainer that are left out of a recipe where they change nothing: what holds then.
LATER: dict[str, Any] = {
    "num_layers": 1, "sgd_momentum": 0.0, "sgd_nesterov": False, "weight_decay": 0.0, "lr_warmup_steps": 0,
    "lr_decay": "none",
}  # fmt: skip


def canonical(value: object) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN. Equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def seed_for(*words: object) -> int:
    """A 63-bit seed drawn from words, e.g. ``seed_for("data", "psmnist", 0)``.

    The model's name is left out of data seeds, so split, order and noise are the same for every model.
    """
    digest = hashlib.sha256(canonical([str(word) for word in words]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def is_set(source: object) -> bool:
    """Whether a value's source says that it was set by hand."""
    return str(source).partition(":")[0] == "set"


@dataclass(frozen=True)
class Budget:
    """How long a run may train.

    Attributes:
        epochs: epochs at most.
        max_seconds: training seconds at most (evaluation excluded), or None.
    """

    epochs: int
    max_seconds: float | None = None


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(values).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Run:
    """Model x task x seed x recipe. Only values that can change the numbers are here: all of them make the id.

    Attributes:
        model: name in the model table, or ``my.pkg:MyRNN``.
        task: name in the task table, or ``my.pkg:MyTask``.
        seed: the run's seed; data and initialisation seeds are drawn from it by ``seed_for``.
        model_version: ``Recurrence.version`` of the model's class.
        task_version: ``Task.version`` of the task's class.
        model_options: options that the table's row fixes (``{"gated": True}``).
        task_options: every option of the task with its value, the data variant among them.
        recipe: trainer keys (``suite.keys.TRAINER``) and the model's hyperparameters, one flat table.
        track: paper, matched-params, matched-time or tuned.
        budget: epochs and seconds.
        precision: arithmetic of the recurrence.
        device_kind: cpu or cuda.
    """

    model: str
    task: str
    seed: int
    model_version: int
    task_version: int
    model_options: Mapping[str, Any]
    task_options: Mapping[str, Any]
    recipe: Mapping[str, Any]
    budget: Budget
    track: str = "paper"
    precision: str = "float32"
    device_kind: str = "cpu"
    id: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", _digest(self._values()))

    def _values(self) -> dict[str, Any]:
        """The values that make the id, the run's own mappings among them."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "id"}
        return {**values, "budget": asdict(self.budget)}

    def identity(self) -> dict[str, Any]:
        """The values that make the id, as plain JSON, a copy."""
        values = asdict(self)
        values.pop("id")
        return values

    @classmethod
    def from_identity(cls, values: Mapping[str, Any]) -> Run:
        """The inverse of ``identity``; raises TypeError or KeyError where a field is missing or unknown."""
        values = {key: value for key, value in values.items() if key != "id"}
        return cls(**{**values, "budget": Budget(**values["budget"])})

    @cached_property
    def group(self) -> str:
        """The id with the seed left out: runs of one group differ in their seed alone."""
        values = self._values()
        values.pop("seed")
        return _digest(values)

    def __hash__(self) -> int:
        return hash(self.id)
