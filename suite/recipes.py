"""Recipes: the hyperparameters of one model on one task, each with its source.

A file ``recipes/<task>.toml`` has one section a model, and ``[default]`` for models without their own and for plug-ins.
A section's ``source`` holds for all its keys, save those named in its ``sources`` table. A model's section is laid over
``[default]``. Presets and the tuned track have sections of their own: ``[quick.default]``, ``[quick.cornn]``,
``[quick.task]`` (task options), ``[tuned.cornn]``, ``[quick.tuned.cornn]``; ``[search.cornn]`` is the search space of
``suite.tune``. A plug-in's name is one quoted key: ``["my.pkg:MyRNN"]``, ``[search."my.pkg:MyRNN"]``.
A source starts with ``published:`` (for this model and task), ``adapted:`` (published for another task, size or
protocol), ``tuned:``, ``default:`` or ``set:``.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from suite import sections
from suite.errors import BadDefault, UsageError, unknown
from suite.keys import TRAINER, check_own_keys, counts, in_range, keys_for, options_of
from suite.names import Plugin
from suite.runs import LATER
from suite.sections import PRESETS
from suite.store import safe_name

KINDS = ("published", "adapted", "tuned", "default", "set")


@dataclass(frozen=True)
class Recipe:
    """Checked values of the trainer's and the model's keys, and the source of each."""

    values: Mapping[str, Any]
    sources: Mapping[str, str]


def folder() -> Path:
    """The packaged recipes."""
    return Path(str(resources.files("suite") / "recipes"))


@functools.cache
def read(path: Path) -> dict[str, Any]:
    """Parse one recipe file.

    Raises:
        UsageError: a syntax error with its line, or a file that cannot be read.
    """
    try:
        text = path.read_bytes().decode()
    except (UnicodeDecodeError, OSError) as error:
        raise UsageError(f"recipe {path}: {error}") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"recipe {path}: {error}{sections.unquoted(text, error)}") from error


def file_for(task: str, extra: Path | None = None) -> Path:
    """The recipe file of a task: in ``extra`` (``--recipes``), else packaged, else the general default.

    A plug-in ``my.pkg:MyTask`` has ``my.pkg:MyTask.toml`` or, as ``suite.tune`` writes it, ``my.pkg-MyTask.toml``.
    """
    for place in ([extra] if extra else []) + [folder()]:
        for name in dict.fromkeys((task, safe_name(task))):
            path = place / f"{name}.toml"
            if path.is_file():
                return path
    return folder() / "default.toml"


def tables(task: str, extra: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """A task's recipe file, parsed. One without ``[default]`` (as ``suite.tune`` writes) is laid over the packaged one.

    A preset that the file lacks is the packaged one's, options of the task among it; without ``[default]`` so is the
    search space of a model that it gives none.

    Raises:
        UsageError: a syntax error with its line, or a file that cannot be read.
    """
    path = file_for(task, extra)
    data, base = read(path), read(file_for(task))
    for key in (*PRESETS, "tuned", "search"):
        want_table(data.get(key, {}), path, key)
    check_names(path)
    if "default" in data:
        return path, {**{key: base[key] for key in PRESETS if key in base}, **data}
    return path, _over(base, data)


def _over(base: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """One file's sections over another's; presets, tuned sections and search spaces model by model."""
    both = {key: (base[key], data[key]) for key in (*PRESETS, "tuned", "search") if key in base and key in data}
    inside = {key: _over(*pair) if key in PRESETS else {**pair[0], **pair[1]} for key, pair in both.items()}
    return {**base, **data, **inside}


@functools.cache
def check_names(path: Path) -> None:
    """Refuse a file with a section of no model; see ``suite.sections.check``.

    Raises:
        UsageError: that, a syntax error with its line, or a file that cannot be read.
    """
    sections.check(path, read(path))


def want_table(value: Any, path: Path, name: str) -> dict[str, Any]:
    """A section of a recipe file.

    Raises:
        UsageError: it is no table.
    """
    if not isinstance(value, dict):
        raise UsageError(f"recipe {path}: [{name}]: wanted a table, got {value!r}")
    return value


def _section(table: Mapping[str, Any], path: Path, name: str) -> dict[str, tuple[Any, str]]:
    """A section's keys, each with its value and source."""
    want_table(table, path, name)
    general, own = table.get("source"), table.get("sources", {})
    out: dict[str, tuple[Any, str]] = {}
    for key, value in table.items():
        if key in ("source", "sources"):
            continue
        source = own.get(key, general) if isinstance(own, dict) else None
        if not isinstance(source, str) or source.partition(":")[0] not in KINDS:
            raise UsageError(
                f"recipe {path}: [{name}] {key}: wanted a source that starts with one of "
                f"{', '.join(f'{kind}:' for kind in KINDS)}; got {source!r}"
            )
        out[key] = (value, source)
    return out


def _layers(
    data: Mapping[str, Any], path: Path, model: str, *, preset: str | None, track: str
) -> list[tuple[str, Any]]:
    """The sections that make a recipe, the last one on top."""
    prefix = data.get(preset, {}) if preset else data
    name = f"{preset}." if preset else ""
    sections.check_near(path, name, prefix, model)
    layers = [(f"{name}{key}", prefix[key]) for key in ("default", model) if key in prefix]
    if track == "tuned":
        tuned = want_table(prefix.get("tuned", {}), path, f"{name}tuned")
        sections.check_near(path, f"{name}tuned.", tuned, model)
        if model not in tuned:
            raise UsageError(f"track tuned: no [{name}tuned.{model}] in the recipe; make one with python -m suite.tune")
        layers.append((f"{name}tuned.{model}", tuned[model]))
    return layers


def load(
    model: Plugin, task: str, *, preset: str | None = None, track: str = "paper",
    overrides: Mapping[str, Any] | None = None, extra: Path | None = None,
) -> Recipe:  # fmt: skip
    """The recipe of a model on a task.

    Args:
        model: the model; its keyword-only arguments are keys beside the trainer's.
        task: the task's name.
        preset: ``quick`` or None.
        track: ``tuned`` lays the tuned section on top.
        overrides: values from the command line; one that the recipe has anyway keeps its source.
        extra: a folder of recipe files that go before the packaged ones.

    Raises:
        UsageError: a syntax error, an unknown key, a value of the wrong type or out of range, or without a source.
    """
    check_own_keys(model)
    path, data = tables(task, extra)
    if preset and preset not in data:
        path = folder() / "default.toml"
        data = read(path)
    merged: dict[str, tuple[Any, str]] = {}
    for name, table in _layers(data, path, model.name, preset=preset, track=track):
        section = _section(table, path, name)
        for key in section:
            if key not in TRAINER and key not in model.schema:
                raise UsageError(f"recipe {path}: [{name}]: {unknown('key', key, [*TRAINER, *model.schema])}")
        merged |= section
        _check_used(f"recipe {path}: [{name}] ", model, section, merged)
    before = dict(merged)
    for key, value in (overrides or {}).items():
        if key not in TRAINER and key not in model.schema and key not in model.fixed:
            raise UsageError(unknown(f"key of {model.name}'s recipe", key, [*TRAINER, *model.schema]))
        merged[key] = (value, "set: on the command line")
    _check_used(f"{model.name}.", model, overrides or {}, merged)
    try:
        recipe = _checked(model, merged)
        plain = _plain(model, before)
        same = {key for key in overrides or {} if key in plain.values and recipe.values.get(key) == plain.values[key]}
        return Recipe(recipe.values, {**recipe.sources, **{key: plain.sources[key] for key in same}})
    except BadDefault:
        raise
    except UsageError as error:
        if any(f"{model.name}.{key}" in str(error) for key in overrides or {}):
            raise
        raise UsageError(f"recipe {path}: {error}") from error


def _check_used(
    where: str, model: Plugin, given: Mapping[str, Any], merged: Mapping[str, tuple[Any, str]]
) -> None:  # fmt: skip
    """Refuse a key that other keys leave without effect: it would make another run of the same training."""
    known = keys_for(model)
    value = {key: merged[key][0] if key in merged else rule.default for key, rule in known.items()}
    for key, rule in known.items():
        if key not in given or (key in LATER and value[key] == rule.default):
            continue
        if rule.only not in ("", value["optimizer"]):
            raise UsageError(f"{where}{key}: has no effect with optimizer {value['optimizer']}: wanted {rule.only}")
        if rule.needs and value[rule.needs] in (0, "0"):
            raise UsageError(f"{where}{key}: has no effect without {rule.needs}: wanted {rule.needs} with it")


def _plain(model: Plugin, before: Mapping[str, tuple[Any, str]]) -> Recipe:
    """The recipe without what was set by hand; nothing where it is none without that."""
    try:
        return _checked(model, before)
    except UsageError:
        return Recipe({}, {})


def _checked(model: Plugin, merged: Mapping[str, tuple[Any, str]]) -> Recipe:
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for key, rule in keys_for(model).items():
        value, source = merged.get(key, (rule.default, "default: of the suite"))
        if value is None:
            raise UsageError(f"{model.name}: the recipe has no {key}: wanted one ({rule.sentence})")
        value = in_range(f"{model.name}.{key}", value, rule)
        if key not in LATER or (value != rule.default and counts(rule, values)):
            values[key], sources[key] = value, source
    options = options_of(model, {key: value for key, (value, _) in merged.items()})
    for key, value in model.options(options).items():
        values[key] = value
        sources[key] = merged[key][1] if key in merged else "default: of the model's class"
    return Recipe(values, sources)


def task_options(task: str, *, preset: str | None, extra: Path | None = None) -> dict[str, Any]:
    """Options that the preset sets on a task."""
    if preset is None:
        return {}
    path, data = tables(task, extra)
    return dict(want_table(data.get(preset, {}).get("task", {}), path, f"{preset}.task"))
