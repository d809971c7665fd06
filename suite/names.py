"""From a name to a class: the tables, entry points, or ``my.pkg:MyRNN``; a wrong name answers with the near ones."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from suite.errors import BadDefault, UsageError, unknown
from suite.values import coerce, handed

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
            BadDefault: a default of the class that its annotation, or a record, does not have.
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
                    values[key] = self._default(key, parameter)
        return values

    def _default(self, key: str, parameter: inspect.Parameter) -> Any:
        try:
            return coerce(f"default of {key}", parameter.default, parameter)
        except UsageError as error:
            raise BadDefault(f"{self.kind} {self.name}: {error}") from error

    def arguments(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Checked options as the constructor takes them: a record's list becomes a tuple where one is annotated."""
        return {key: handed(value, self.schema[key]) if key in self.schema else value for key, value in options.items()}


def _signature(cls: Any) -> inspect.Signature:
    try:
        return inspect.signature(cls, eval_str=True)
    except (NameError, TypeError):
        return inspect.signature(cls)


def _made(parameter: inspect.Parameter, cls: Any) -> inspect.Parameter:
    """A parameter with the default that a dataclass's ``default_factory`` gives, where it has one."""
    field = getattr(cls, "__dataclass_fields__", {}).get(parameter.name)
    factory = getattr(field, "default_factory", dataclasses.MISSING)
    return parameter if factory is dataclasses.MISSING else parameter.replace(default=factory())


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
        key: _made(parameter, cls)
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
