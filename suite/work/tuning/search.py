"""Search spaces of ``suite.tune``: ``[search.default]`` of a recipe file, overlaid by ``[search.<model>]``.

A key is ``{ low = 1e-4, high = 3e-2, log = true }`` or ``{ choices = ["cayley", "henaff"] }``. A preset may have a
space of its own, ``[quick.search.<model>]``; without one it uses the task's.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any

from suite import recipes, sections
from suite.errors import UsageError, unknown
from suite.keys import TRAINER, in_range, keys_for
from suite.names import Plugin
from suite.runs import canonical
from suite.values import coerce

DIGITS = 4  # significant digits of a value that is tried: a recipe is for people


@dataclass(frozen=True)
class Axis:
    """One hyperparameter that is searched.

    Attributes:
        key: a key of the trainer or of the model.
        low: smallest value, or None where ``choices`` says all.
        high: largest value, or None.
        log: uniform in the logarithm.
        whole: whole numbers only.
        choices: the values, or empty.
    """

    key: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Any) -> Any:
        """The value that an Optuna trial tries: floats with four significant digits."""
        if self.choices:
            told = [self.told(choice) for choice in self.choices]
            return self.choices[told.index(trial.suggest_categorical(self.key, told))]
        if self.whole:
            return trial.suggest_int(self.key, int(self.low or 0), int(self.high or 0), log=self.log)
        value = float(f"{trial.suggest_float(self.key, self.low, self.high, log=self.log):.{DIGITS}g}")
        return min(max(value, self.low or -math.inf), self.high or math.inf)

    def told(self, value: Any) -> Any:
        """A value as Optuna is told it: a list is no choice of its, so it gets the list's text."""
        return canonical(value) if isinstance(value, list) else value

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the space."""
        if self.choices:
            return value in self.choices
        known = isinstance(value, (int, float)) and self.low is not None and self.high is not None
        return known and self.low <= value <= self.high  # type: ignore[operator]


def space(
    model: Plugin, task: str, *, preset: str | None = None, extra: Path | None = None, fixed: Container[str] = ()
) -> dict[str, Axis]:
    """The search space of a model on a task.

    Args:
        model: its keyword-only arguments are keys beside the trainer's.
        task: the task's name.
        preset: ``quick`` or None.
        extra: a folder of recipe files that go before the packaged ones.
        fixed: keys that are set by hand and therefore not searched.

    Raises:
        UsageError: no space, an unknown key, a range or choice that makes no sense.
    """
    path, data = recipes.tables(task, extra)
    own = (data.get(preset, {}) if preset else {}).get("search")
    tables = recipes.want_table(own or data.get("search", {}), path, "search")
    sections.check_near(path, f"{preset}.search." if own else "search.", tables, model.name)
    merged: dict[str, Any] = {}
    for name in ("default", model.name):
        merged |= recipes.want_table(tables.get(name, {}), path, f"search.{name}")
    if not merged:
        raise UsageError(
            f"recipe {path}: no search space for {model.name}: wanted in {task}.toml of a folder given with --recipes a"
            " table [search.default], with lr = { low = 1e-4, high = 3e-2, log = true } say (docs/tuning.md)"
        )
    axes = {key: _axis(model, key, value, path) for key, value in merged.items() if key not in fixed}
    if not axes:
        raise UsageError(f"{model.name} on {task}: every key of the search space ({', '.join(merged)}) is set by hand")
    return axes


def _axis(model: Plugin, key: str, value: Any, path: Path) -> Axis:
    where = f"recipe {path}: search space of {model.name}: {key}"
    if key not in TRAINER and key not in model.schema:
        raise UsageError(f"recipe {path}: [search]: {unknown('key', key, [*TRAINER, *model.schema])}")
    own = keys_for(model)

    def checked(found: Any) -> Any:
        return in_range(where, found, own[key]) if key in own else coerce(where, found, model.schema[key])

    if not isinstance(value, dict) or not (set(value) == {"choices"} or {"low", "high"} <= set(value) <= _RANGE):
        raise UsageError(f"{where}: wanted {{ low, high, log }} or {{ choices = [...] }}, got {value!r}")
    if "choices" in value:
        if not isinstance(value["choices"], list) or len(value["choices"]) < 2:
            raise UsageError(f"{where}: wanted two choices or more, got {value['choices']!r}")
        return Axis(key, choices=tuple(checked(choice) for choice in value["choices"]))
    low, high = (checked(value[end]) for end in ("low", "high"))
    log = coerce(where, value.get("log", False), Parameter(key, Parameter.KEYWORD_ONLY, annotation=bool))
    if not (isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high) or (log and low <= 0):
        raise UsageError(f"{where}: wanted low < high{', both > 0 for log' if log else ''}, got {low} and {high}")
    return Axis(key, low, high, log, isinstance(low, int))


_RANGE = {"low", "high", "log"}
