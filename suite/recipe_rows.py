"""What ``suite.list`` says of recipe files and of the values in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from suite import recipes
from suite.errors import UsageError, unknown
from suite.names import resolve, table
from suite.sections import quoted

Row = dict[str, Any]


def recipe_files(extra: Path | None, models: Sequence[str] = ()) -> Iterator[Row]:
    """Every recipe file with its sections, or with those of these models."""

    def described(path: Path) -> Row:
        sections = [name for name in _sections(recipes.read(path)) if not models or _is_of(name, models)]
        row: Row = {"kind": "recipes", "task": path.stem, "sections": sections, "path": str(path)}
        try:
            recipes.check_names(path)
        except UsageError as error:  # one file hides no other
            row["error"] = str(error)
        return row

    for place in [*([extra] if extra else []), recipes.folder()]:
        for path in sorted(place.glob("*.toml")):
            row = described(path)
            if row["sections"] or not models:
                yield row


def _is_of(section: str, models: Sequence[str]) -> bool:
    return any(section == quoted(name) or section.endswith(f".{quoted(name)}") for name in models)


def _sections(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            nested = key in ("quick", "tuned", "search")
            yield from _sections(value, f"{prefix}{key}.") if nested else iter([prefix + quoted(key)])


def recipe_values(
    task: str, *, preset: str | None, extra: Path | None, models: Sequence[str] = (), track: str | None = None
) -> Iterator[Row]:
    """Every value of every model's recipe on a task, with its source; plug-ins that have a section are among them.

    ``models`` chooses some; track ``tuned`` gives the recipes of that track, ``paper`` the others, None these and below
    each what its tuned section says.

    Raises:
        UsageError: an unknown name, a recipe that is not valid, or a track that has no recipe of its own.
    """
    if task not in table("task") and ":" not in task:
        raise UsageError(unknown("task", task, table("task")))
    if track not in (None, "paper", "tuned"):
        raise UsageError(f"--track {track}: wanted paper or tuned: it trains with the recipe of paper")
    path, data = recipes.tables(task, extra)
    tuned = recipes.want_table((data.get(preset, {}) if preset else data).get("tuned", {}), path, "tuned")
    found = dict.fromkeys([*table("model"), *_own(data)])
    for name in models or [name for name in found if track != "tuned" or name in tuned]:
        row = {"kind": "recipe", "task": task, "model": name}
        try:
            plugin = resolve("model", name)
        except UsageError as error:  # a plug-in that cannot be imported hides no other
            if models:
                raise
            yield row | {"error": str(error)}
            continue
        for one in [track] if track else ["paper", "tuned"] if name in tuned else ["paper"]:
            recipe = recipes.load(plugin, task, preset=preset, track=one, extra=extra)
            for key, value in recipe.values.items():
                if track or one == "paper" or key in tuned[name]:
                    yield row | {"track": one, "key": key, "value": value, "source": recipe.sources[key]}


def _own(data: Mapping[str, Any]) -> Iterator[str]:
    """The plug-ins that a recipe file has sections of: my.pkg:MyRNN."""
    for key, value in data.items():
        if key in ("quick", "tuned", "search") and isinstance(value, dict):
            yield from _own(value)
        elif ":" in key:
            yield key
