"""From what a person asked for to the list of runs: models x tasks x seeds, each with its checked recipe."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from suite import recipes
from suite.errors import UsageError
from suite.keys import TRAINER, trainer_keys
from suite.names import Plugin, resolve
from suite.runs import PRECISIONS, TRACKS, UNBOUNDED, Budget, Run

REFERENCE = "cornn"  # track matched-params: parameter counts agree with this model's recipe on the task
MOST_SEEDS = 100_000


class Match(Protocol):
    """Solves the hidden size of track matched-params: ``suite.work.estimates.matched``, which builds models."""

    def __call__(self, run: Run, reference: Run, *, given: bool) -> tuple[int, str]:
        """The hidden size of ``run`` and its source; ``given``: it was set by hand and is checked only."""


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line, parsed and not yet checked against plug-ins.

    Attributes:
        models: names, in order.
        tasks: names, in order.
        seeds: seeds, in order.
        preset: ``quick`` or None.
        track: one of ``TRACKS``.
        sets: ``(NAME or None, KEY, VALUE)`` of ``--set``.
        epochs: epochs in place of the recipe's, or None.
        max_seconds: training seconds a run, or None.
        device_kind: cpu or cuda.
        precision: arithmetic.
        recipes_dir: recipe files that go before the packaged ones.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    preset: str | None = None
    track: str = "paper"
    sets: tuple[tuple[str | None, str, Any], ...] = ()
    epochs: int | None = None
    max_seconds: float | None = None
    device_kind: str = "cpu"
    precision: str = "float32"
    recipes_dir: Path | None = None


@dataclass(frozen=True)
class Planned:
    """A run and the sources of its recipe's values."""

    run: Run
    sources: Mapping[str, str] = field(compare=False)
    preset: str | None = None


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"0-4"``, ``"0,3,7"`` or both: seeds without repetition, in the order given.

    Raises:
        UsageError: no seed, a negative one, a range that runs backwards, too many.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"--seeds: wanted numbers and ranges such as 0-4 or 0,3,7, got {text!r}")
        low, high = (int(digits) if len(digits) <= 10 else 1 << 40 for digits in (first, last or first))
        if high < low or high - low >= MOST_SEEDS or high >= 1 << 31 or len(seeds) + high - low >= MOST_SEEDS:
            raise UsageError(
                f"--seeds: wanted ranges that go up, of at most {MOST_SEEDS:,} seeds below 2**31, "
                f"got {part.strip()[:40]!r}"
            )
        seeds += range(low, high + 1)
    return tuple(dict.fromkeys(seeds))


def parse_set(text: str) -> tuple[str | None, str, Any]:
    """``[NAME.]KEY=VALUE`` with VALUE in TOML's syntax, or a bare word.

    Raises:
        UsageError: no ``=``, an empty key.
    """
    left, equals, right = text.partition("=")
    name, dot, key = left.strip().rpartition(".")
    if not equals or not key.isidentifier():
        raise UsageError(f"--set: wanted [NAME.]KEY=VALUE, got {text!r}")
    try:
        (value,) = tomllib.loads(f"value = {right.strip()}").values()
    except (ValueError, RecursionError):  # no TOML, a number of thousands of digits, or more than one line
        value = {"True": True, "False": False}.get(right.strip(), right.strip())
    return (name if dot else None), key, value


def expand(request: Request, *, match: Match | None = None) -> list[Planned]:
    """The runs of a request, tasks outermost, seeds innermost.

    Args:
        request: what was asked for.
        match: solves hidden sizes; wanted for track matched-params alone.

    Raises:
        UsageError: an unknown name, key or option, a value out of range.
    """
    if request.recipes_dir is not None and not request.recipes_dir.is_dir():
        raise UsageError(f"--recipes: wanted a folder of recipe files, got {request.recipes_dir}")
    if request.track not in TRACKS:
        raise UsageError(f"--track: wanted one of {', '.join(TRACKS)}, got {request.track!r}")
    if request.precision not in PRECISIONS:
        raise UsageError(f"--precision: wanted one of {', '.join(PRECISIONS)}, got {request.precision!r}")
    if request.track == "matched-time":
        if request.max_seconds is None:
            raise UsageError("--track matched-time: wanted --max-seconds, the training time that all models get")
        if request.epochs is not None:
            raise UsageError("--track matched-time: got --epochs; it trains as many epochs as fit into --max-seconds")
    if request.track == "matched-params" and match is None:
        raise UsageError("track matched-params: wanted a matcher, see suite.work.estimates.matched")
    _check_recipes(request)
    models = [resolve("model", name) for name in dict.fromkeys(request.models)]
    tasks = [resolve("task", name) for name in dict.fromkeys(request.tasks)]
    model_sets, task_sets = _sort_sets(request, models, tasks)
    planned = []
    for task in tasks:
        options = recipes.task_options(task.name, preset=request.preset, extra=request.recipes_dir)
        task_options = {**task.fixed, **task.options({**options, **task_sets[task.name]})}
        for model in models:
            planned += _runs(request, model, task, task_options, model_sets[model.name], match)
    return planned


def _check_recipes(request: Request) -> None:
    """Refuse a folder of recipes that holds none for the tasks of the call: a misnamed file would go unseen."""
    folder = request.recipes_dir
    if folder is not None and not any(recipes.file_for(task, folder).parent == folder for task in request.tasks):
        wanted = " or ".join(f"{task}.toml" for task in request.tasks)
        raise UsageError(f"--recipes: wanted {wanted} in {folder}, got none of them")


def _check_owner(key: str, value: Any, models: Sequence[Plugin], tasks: Sequence[Plugin]) -> None:
    """Refuse a key without a name that not every model has, and say whose it is."""

    def has(model: Plugin) -> bool:
        return key in TRAINER or key in model.schema or key in model.fixed

    owners = [model.name for model in models if has(model)]
    owners = owners or [task.name for task in tasks if key in task.schema]
    if owners and not all(map(has, models)):
        raise UsageError(
            f"--set {key}: it is of {', '.join(owners)} alone: wanted "
            + " ".join(f"--set {name}.{key}={value}" for name in owners)
        )


def _sort_sets(
    request: Request, models: Sequence[Plugin], tasks: Sequence[Plugin]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    model_sets: dict[str, dict[str, Any]] = {plugin.name: {} for plugin in models}
    task_sets: dict[str, dict[str, Any]] = {plugin.name: {} for plugin in tasks}
    for name, key, value in request.sets:
        if name is None:
            _check_owner(key, value, models, tasks)
            for values in model_sets.values():
                values[key] = value
        elif name in model_sets:
            model_sets[name][key] = value
        elif name in task_sets:
            task_sets[name][key] = value
        else:
            known = ", ".join([*model_sets, *task_sets])
            raise UsageError(f"--set {name}.{key}: wanted a model or task of this call ({known}), got {name!r}")
    return model_sets, task_sets


def _runs(
    request: Request, model: Plugin, task: Plugin, task_options: Mapping[str, Any], sets: Mapping[str, Any],
    match: Match | None,
) -> list[Planned]:  # fmt: skip
    sets = dict(sets)
    if "epochs" in sets and request.track == "matched-time":
        raise UsageError(f"--set {model.name}.epochs: track matched-time trains as many epochs as the time allows")
    if "epochs" in sets and request.epochs is not None:
        raise UsageError(f"--epochs {request.epochs} and --set {model.name}.epochs={sets['epochs']}: give one of them")
    if request.epochs is not None:
        sets["epochs"] = request.epochs
    run, sources = _first(request, model, task, task_options, sets)
    if request.track == "matched-time":
        if trainer_keys(model, run.recipe)["lr_decay"] != "none":
            raise UsageError(
                f"{model.name}.lr_decay: wanted none on track matched-time, whose last epoch nobody knows before;"
                f" got {run.recipe['lr_decay']}"
            )
        run = replace(run, budget=replace(run.budget, epochs=UNBOUNDED))
        sources["epochs"] = "default: as many as the time allows"
    if match is not None and request.track == "matched-params":
        reference, _ = _first(request, resolve("model", REFERENCE), task, task_options, {})
        given = "hidden_size" in sets
        size, source = match(run, reference, given=given)
        if given or size != run.recipe["hidden_size"]:  # else the recipe's own size, with its own source
            sources["hidden_size"] = source
        run = replace(run, recipe={**run.recipe, "hidden_size": size})
    return [Planned(replace(run, seed=seed), sources, request.preset) for seed in request.seeds]


def _first(
    request: Request, model: Plugin, task: Plugin, task_options: Mapping[str, Any], sets: Mapping[str, Any]
) -> tuple[Run, dict[str, str]]:
    """The run of seed 0 with the sources of its recipe."""
    recipe = recipes.load(
        model, task.name, preset=request.preset, track=request.track, overrides=sets, extra=request.recipes_dir
    )
    values, sources = dict(recipe.values), dict(recipe.sources)
    seconds = None if request.max_seconds is None else float(request.max_seconds)
    budget = Budget(epochs=values.pop("epochs"), max_seconds=seconds)
    if budget.max_seconds is not None and not 0 < budget.max_seconds < 1e9:
        raise UsageError(f"--max-seconds: wanted > 0, got {budget.max_seconds:g}")
    run = Run(
        model=model.name,
        task=task.name,
        seed=0,
        model_version=model.version,
        task_version=task.version,
        model_options=dict(model.fixed),
        task_options=dict(task_options),
        recipe=values,
        budget=budget,
        track=request.track,
        precision=request.precision,
        device_kind=request.device_kind,
    )
    return run, sources
