"""From a name to a class: the tables, entry points, or ``my.pkg:MyRNN``; a wrong name answers with the near ones."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from suite.errors import UsageError, unknown

Kind = Literal["model", "task"]
_TABLES = {"model": ("models", "MODELS"), "task": ("tasks", "TASKS")}
_GROUPS = {"model": "rnnbench.models", "task": "rnnbench.tasks"}
_RESERVED = {"model": {"engine"}, "task": {"seed", "data_dir"}}


@dataclass(frozen=True)
class Plugin:
    """A model or task that a name stands for.

    Attributes:
        kind: model or task.
        name: the name as given.
        cls: the class.
        fixed: options that the table's row fixes.
        schema: the keyword-only options that may be set, with default and annotation.
    """

    kind: Kind
    name: str
    cls: Any
    fixed: Mapping[str, Any]
    schema: Mapping[str, inspect.Parameter]

    @property
    def version(self) -> int:
        """The class's version, part of a run's id."""
        return int(self.cls.version)

    def options(self, given: Mapping[str, Any], *, defaults: bool = True) -> dict[str, Any]:
        """Check and coerce options against the schema.

        Args:
            given: names and values.
            defaults: add the defaults of the options that were not given.

        Raises:
            UsageError: unknown option (with the near ones), an option fixed by the table, a value of the wrong type.
        """
        values: dict[str, Any] = {}
        for key, value in given.items():
            if key in self.fixed:
                raise UsageError(f"{self.kind} {self.name} fixes {key} = {self.fixed[key]!r}: it cannot be set")
            if key not in self.schema:
                raise UsageError(unknown(f"option of {self.kind} {self.name}", key, self.schema))
            values[key] = coerce(f"{self.name}.{key}", value, self.schema[key])
        if defaults:
            for key, parameter in self.schema.items():
                if key not in values and parameter.default is not inspect.Parameter.empty:
                    values[key] = coerce(f"{self.name}.{key}", parameter.default, parameter)
        return values


def coerce(name: str, value: Any, parameter: inspect.Parameter) -> Any:
    """``value`` in the type that the parameter's annotation (or default) names; 66 and 66.0 become the same.

    Raises:
        UsageError: wanted and got.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name}: wanted a finite number, got {value}")
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise UsageError(f"{name}: wanted a number that 64 bits hold, got {str(value)[:40]}")
    kinds = _kinds(parameter)
    if not kinds:
        return _plain(name, value)
    literals = [k for k in kinds if isinstance(k, tuple)]
    if value is None and type(None) in kinds:
        return None
    for allowed in literals:
        if value in allowed:
            return value
    if isinstance(value, bool):
        if bool in kinds:
            return value
    elif isinstance(value, (int, float)):
        if float in kinds:
            return float(value) + 0.0  # -0.0 and 0 become the same too
        if int in kinds and float(value).is_integer():
            return int(value)
    elif isinstance(value, str) and (str in kinds or Path in kinds):
        return value
    elif isinstance(value, Path) and Path in kinds:
        return str(value)
    words = [" or ".join(map(repr, k)) if isinstance(k, tuple) else {"NoneType": "none"}.get(k.__name__, k.__name__) for k in kinds]  # noqa: E501  # fmt: skip
    raise UsageError(f"{name}: wanted {' or '.join(words)}, got {value!r}")


def _plain(name: str, value: Any) -> Any:
    """``value``, if JSON has such values: it becomes part of a run's id."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: wanted a number, text, true, false or a list of these, got {value!r}") from error
    return value


def _kinds(parameter: inspect.Parameter) -> list[Any]:
    """Plain types (and tuples of literal values) that a parameter takes; empty where nothing is known."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        default = parameter.default
        return [type(default)] if isinstance(default, (bool, int, float, str)) else []
    parts = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    kinds: list[Any] = []
    for part in parts:
        if typing.get_origin(part) is Literal:
            kinds.append(typing.get_args(part))
        elif isinstance(part, type):
            kinds.append(part)
    return kinds


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _signature(cls: Any) -> inspect.Signature:
    try:
        return inspect.signature(cls, eval_str=True)
    except (NameError, TypeError):
        return inspect.signature(cls)


def table(kind: Kind) -> dict[str, tuple[str, dict[str, Any]]]:
    """Names of the built-in table and of installed entry points: name -> (``module:Class``, fixed options)."""
    rows = _built_in(kind)
    for point in entry_points(group=_GROUPS[kind]):
        rows.setdefault(point.name, (point.value, {}))
    return rows


def _built_in(kind: Kind) -> dict[str, tuple[str, dict[str, Any]]]:
    module, attribute = _TABLES[kind]
    return dict(getattr(importlib.import_module(module), attribute))


def is_known(kind: Kind, name: str) -> bool:
    """Whether the table or an entry point has the name; entry points are looked through only if the table has not."""
    return name in _built_in(kind) or name in table(kind)


def resolve(kind: Kind, name: str) -> Plugin:
    """The plug-in that a name stands for.

    Args:
        kind: ``"model"`` or ``"task"``.
        name: a name of the table, an entry point, or ``my.pkg:MyRNN``.

    Raises:
        UsageError: an unknown name, or a plug-in that cannot be imported, with its own error.
    """
    rows = _built_in(kind)
    if name not in rows and ":" not in name:  # looking through all installed packages takes its time
        rows = table(kind)
    if name in rows:
        target, fixed = rows[name]
    elif ":" in name:
        target, fixed = name, {}
    else:
        raise UsageError(unknown(kind, name, rows))
    cls = _load(kind, name, target)
    reserved = _RESERVED[kind] | set(fixed)
    schema = {
        key: parameter
        for key, parameter in _signature(cls).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and key not in reserved
    }
    return Plugin(kind, name, cls, fixed, schema)


def _load(kind: Kind, name: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a plug-in may raise anything while it is imported
        raise UsageError(f"{kind} {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    contract, base = {"model": ("models.contract", "Recurrence"), "task": ("tasks.contract", "Task")}[kind]
    wanted = getattr(importlib.import_module(contract), base)
    if not (isinstance(cls, type) and issubclass(cls, wanted)):
        raise UsageError(f"{kind} {name!r}: wanted a subclass of {contract}.{base}, got {cls!r}")
    return cls


def check_shadowing() -> None:
    """Detect a user's own ``models`` or ``tasks`` folder that hides this project's packages.

    Raises:
        UsageError: naming the folder and what to do.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("models", "tasks"):
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or ""])
        found = Path(places[0]).resolve() if places else None
        if found != home / name:
            raise UsageError(
                f"package {name!r} is taken from {found}, which hides this project's own ({home / name}): "
                "run from another folder or rename that one"
            )
