"""A hyperparameter's value: checked against its annotation, as a record holds it and as a constructor takes it.

Known are bool, int, float, str, Path, None, Literal, list, tuple and Sequence (``list[int]``, ``tuple[float, ...]``,
``tuple[int, str]``; a Sequence is handed over as a list) and unions of these; of any other annotation a value has to
be one that JSON has.
"""

from __future__ import annotations

import inspect
import json
import math
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from suite.errors import UsageError

_LISTS = (list, tuple, Sequence)
_SCALARS = (bool, int, float, str, Path, type(None))


def coerce(name: str, value: Any, parameter: inspect.Parameter) -> Any:
    """``value`` in the type that the parameter's annotation (or default) names; 66 and 66.0 become the same.

    The result is what a record holds: a list for a list or tuple, text for a Path. The word ``none`` is None where the
    annotation has None and no text.

    Args:
        name: what an error calls the value.
        value: from a recipe, the command line or a default.
        parameter: the constructor's parameter.

    Raises:
        UsageError: wanted and got.
    """
    return _coerced(name, value, _kinds(parameter))


def handed(value: Any, parameter: inspect.Parameter) -> Any:
    """A value that ``coerce`` gave as the constructor takes it: a list the annotated tuple or a new list, text a Path.

    Where nothing is annotated the default says which of the two.

    Args:
        value: from a recipe or a record.
        parameter: the constructor's parameter.
    """
    kinds = _kinds(parameter)
    if isinstance(value, list) and kinds == [Any] and isinstance(parameter.default, tuple):
        return tuple(value)
    return _built(value, kinds)


def _coerced(name: str, value: Any, kinds: Sequence[Any]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name}: wanted a finite number, got {value}")
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise UsageError(f"{name}: wanted a number that 64 bits hold, got {str(value)[:40]}")
    for kind in kinds:
        for one in typing.get_args(kind) if typing.get_origin(kind) is Literal else ():
            if value == one and isinstance(value, bool) == isinstance(one, bool):
                return one  # not what was written: 1 and 1.0 are the same run
    if isinstance(value, (list, tuple)):
        return _list(name, value, kinds)
    found = _scalar(value, kinds)
    if found is not _NOTHING:
        return found
    return _other(UsageError(f"{name}: wanted {' or '.join(map(_word, kinds))}, got {value!r}"), name, value, kinds)


_NOTHING = object()


def _other(trouble: UsageError, name: str, value: Any, kinds: Sequence[Any]) -> Any:
    """A value that fits none of the known kinds: as it is where others are allowed, else the error."""
    if Any not in kinds:
        raise trouble
    return _plain(name, value)


def _scalar(value: Any, kinds: Sequence[Any]) -> Any:
    """A value that is no list in the first of the kinds that it fits, or ``_NOTHING``."""
    text = str in kinds or Path in kinds
    if type(None) in kinds and (value is None or (value == "none" and not text)):
        return None
    if isinstance(value, bool):
        return value if bool in kinds else _NOTHING
    if isinstance(value, (int, float)):
        if float in kinds:
            return float(value) + 0.0  # -0.0 and 0 become the same too
        return int(value) if int in kinds and float(value).is_integer() else _NOTHING
    if isinstance(value, Path):
        return str(value) if Path in kinds else _NOTHING
    return value if isinstance(value, str) and text else _NOTHING


def _list(name: str, value: Sequence[Any], kinds: Sequence[Any]) -> list[Any]:
    """A list or tuple as the list of a record, after the first kind of list that it fits."""
    trouble = UsageError(f"{name}: wanted {' or '.join(map(_word, kinds))}, got {value!r}")
    for kind in kinds:
        inner = _elements(kind, len(value))
        if inner is None:
            continue
        try:
            return [_coerced(f"{name}[{k}]", one, sort) for k, (one, sort) in enumerate(zip(value, inner))]
        except UsageError as error:
            trouble = error
    return _other(trouble, name, value, kinds)


def _built(value: Any, kinds: Sequence[Any]) -> Any:
    if isinstance(value, str) and Path in kinds and str not in kinds:
        return Path(value)
    if not isinstance(value, list):
        return value
    for kind in kinds:
        inner = _elements(kind, len(value))
        if inner is None:
            continue
        try:
            for one, sort in zip(value, inner):
                _coerced("", one, sort)
        except UsageError:
            continue  # of a union of lists, another one
        parts = [_built(one, sort) for one, sort in zip(value, inner)]
        return tuple(parts) if (typing.get_origin(kind) or kind) is tuple else parts
    return list(value)


def _elements(kind: Any, count: int) -> list[list[Any]] | None:
    """The kinds of each element of a list of this kind; None where it is no list, or one of another length."""
    origin, inside = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin not in _LISTS:
        return None
    if kind is origin:
        return [[Any]] * count
    if origin is not tuple or inside[1:] == (...,):
        return [_parts(inside[0])] * count
    return [_parts(one) for one in inside] if len(inside) == count else None


def _plain(name: str, value: Any) -> Any:
    """``value``, if JSON has such values: it becomes part of a run's id. Tuples become lists, as in a record."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{name}: wanted a number, text, true, false or a list of these, got {value!r}") from error
    return [_plain(name, one) for one in value] if isinstance(value, (list, tuple)) else value


def _kinds(parameter: inspect.Parameter) -> list[Any]:
    """What a parameter takes: plain types, literals, lists, tuples; ``Any`` where nothing more is known."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        default = parameter.default
        return [type(default)] if isinstance(default, (bool, int, float, str)) else [Any]
    return _parts(annotation)


def _parts(annotation: Any) -> list[Any]:
    """The kinds of an annotation; ``Any`` for each part that is not known here."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    parts = typing.get_args(annotation) if union else (annotation,)
    known = (*_SCALARS, *_LISTS, Literal)
    return [type(None) if one is None else one if (typing.get_origin(one) or one) in known else Any for one in parts]


def _word(kind: Any) -> str:
    """A kind in an error: ``int``, ``'a' or 'b'``, ``a list [int, ...]``."""
    origin, inside = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, inside))
    if origin not in _LISTS:
        return {type(None): "none", Any: "value"}.get(kind) or str(kind.__name__)
    if kind is origin:
        return "a list such as [1, 2]"
    words = ["..." if one is ... else " or ".join(map(_word, _parts(one))) for one in inside]
    return f"a list [{', '.join(words if origin is tuple else [*words, '...'])}]"
