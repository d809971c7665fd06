"""Tuned recipes as TOML: what ``suite.tune`` prints and writes, and track ``tuned`` reads."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.errors import UsageError
from suite.names import resolve
from suite.recipes import load
from suite.runs import LATER, is_set
from suite.sections import PRESETS, quoted
from suite.store import write_atomic
from suite.work.tuning.studies import Study, Trial

_HEADER = re.compile(r"^\[([^\[\]]+)\]$", re.MULTILINE)


def source(study: Study, *, seed: int, command: str) -> str:
    """The source of the tuned values: number of trials, budget, seed and command."""
    budget = study.trials[0].planned.run.budget
    each = f"{budget.epochs} epoch{'s' if budget.epochs > 1 else ''} each"
    if budget.max_seconds is not None:
        each = f"{budget.max_seconds:g} s of training each"
    return f"tuned: {len(study.trials)} trials, {each}, seed {seed}, {command}"


def section(study: Study, *, seed: int, command: str) -> str:
    """The section of a study that has a best trial: a comment with the validation figures, then the values."""
    best, first = study.best, study.trials[0]
    assert best is not None
    finished = sum(trial.valid is not None for trial in study.trials)
    before = "did not finish" if first.valid is None else f"{first.valid:.6g}"
    prefix = f"{study.request.preset}." if study.request.preset else ""
    by_hand = _by_hand(study, best)
    base = {key: pair for key, pair in _base(study).items() if key not in {**best.values, **by_hand}}
    sources = {key: "set: by hand in that search" for key in by_hand} | {key: pair[1] for key, pair in base.items()}
    lines = [
        f"# {study.task}: validation {study.metric} {best.valid:.6g} in trial {best.number}; "
        f"the recipe before: {before}; {finished} of {len(study.trials)} trials finished",
        f"[{prefix}tuned.{quoted(study.model)}]",
        f"source = {_value(source(study, seed=seed, command=command))}",
        *(f"{key} = {_value(value)}" for key, value in [*best.values.items(), *by_hand.items()]),
        *(f"{key} = {_value(value)}" for key, (value, _) in base.items()),
    ]
    if sources:
        lines.append(f"sources = {{ {', '.join(f'{key} = {_value(text)}' for key, text in sources.items())} }}")
    return "\n".join(lines)


def _by_hand(study: Study, best: Trial) -> dict[str, Any]:
    """What the call set in every trial: without it the tuned values belong to another recipe."""
    names = (None, study.model)
    keys = dict.fromkeys(key for name, key, _ in study.request.sets if name in names and key not in best.values)
    recipe, sources = best.planned.run.recipe, best.planned.sources
    left_out = {key: LATER[key] for key in keys if key in LATER and key not in recipe}
    return {key: recipe[key] for key in keys if key in recipe and is_set(sources[key])} | left_out


def _base(study: Study) -> dict[str, tuple[Any, str]]:
    """Value and source of what a folder of ``--recipes`` has otherwise than the packaged recipe.

    The section is laid over the packaged one, and without these values it would be another recipe than the one tuned.
    """
    request = study.request
    if request.recipes_dir is None:
        return {}
    plugin = resolve("model", study.model)
    own = load(plugin, study.task, preset=request.preset, extra=request.recipes_dir)
    packaged = load(plugin, study.task, preset=request.preset)
    return {key: (value, own.sources[key]) for key, value in own.values.items() if value != packaged.values.get(key)}


def _value(value: Any) -> str:
    return json.dumps(
        "none" if value is None else value
    )  # strings, numbers, booleans and lists: TOML writes them alike


def read(path: Path) -> dict[str, str]:
    """The sections of a file that holds tuned sections alone: header -> text. Empty where there is no file.

    Raises:
        UsageError: the file holds anything else, which would be lost.
    """
    if not path.exists():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--out {path}: wanted a file of tuned sections, got one that is no TOML: {error}") from error
    nested = [key for key in table if key in PRESETS and isinstance(table[key], dict) and set(table[key]) <= {"tuned"}]
    other = set(table) - {"tuned", *nested}
    blocks = [block for block in text.strip().split("\n\n") if block.strip()]
    if other or any(len(_HEADER.findall(block)) != 1 for block in blocks):
        raise UsageError(f"--out {path}: it holds more than tuned sections; name another file, or copy them by hand")
    return {_HEADER.findall(block)[0]: block for block in blocks}


def write(path: Path, sections: Mapping[str, str]) -> None:
    """Write sections, those with a new header after the old ones.

    Raises:
        UsageError: the file holds more than tuned sections.
        CannotWrite: read-only folder or full disk.
    """
    held = read(path)
    held.update({_HEADER.findall(text)[0]: text for text in sections.values()})
    write_atomic(path, "\n\n".join(held.values()) + "\n")
