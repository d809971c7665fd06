"""Checking a task's options: the signature is the schema, and each value has a type and a range."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.errors import TaskError


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the names near ``name``, then all of them."""
    known = list(known)
    plain = {one.casefold(): one for one in known}
    near = [plain[one] for one in difflib.get_close_matches(name.casefold(), plain, n=3, cutoff=0.5)]
    mean = f": did you mean {' or '.join(near)}?" if near else "."
    return f"{mean} Known: {', '.join(known) or 'none'}"


def schema(cls: type) -> dict[str, Any]:
    """The options of a task class with their defaults: the keyword-only parameters of ``__init__``."""
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in ("seed", "data_dir")}


def check_names(task: str, cls: type, options: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuse options that the class lacks or that the table's row fixes.

    Raises:
        TaskError: naming the option and the known ones.
    """
    known = schema(cls)
    free = [key for key in known if key not in fixed]
    for key in options:
        if key in fixed:
            raise TaskError(f"task {task} fixes {key}={fixed[key]}; its options are {', '.join(free)}")
        if key not in known:
            raise TaskError(f"task {task} has no option '{key}'{nearest(key, free)}")


def choice(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """``value`` if it is one of ``allowed``, else a TaskError."""
    if not isinstance(value, str) or value not in allowed:
        raise TaskError(f"option {name}: wanted one of {', '.join(allowed)}, got {value!r}")
    return value


def integer(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """``value`` as an int in [minimum, maximum], else a TaskError (a bool is no integer)."""
    good = isinstance(value, int) and not isinstance(value, bool)
    if not good or value < minimum or (maximum is not None and value > maximum):  # type: ignore[operator]
        bound = f"at least {minimum}" if maximum is None else f"in [{minimum}, {maximum}]"
        raise TaskError(f"option {name}: wanted an integer {bound}, got {value!r}")
    return int(value)  # type: ignore[call-overload]


def optional_integer(name: str, value: object, minimum: int, maximum: int | None = None) -> int | None:
    """As ``integer``, and None stays None."""
    return None if value is None else integer(name, value, minimum, maximum)


def fraction(name: str, value: object) -> float:
    """``value`` as a float strictly between 0 and 1, else a TaskError."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not 0 < value < 1:  # type: ignore[operator]
        raise TaskError(f"option {name}: wanted a number between 0 and 1, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def flag(name: str, value: object) -> bool:
    """``value`` if it is true or false, else a TaskError."""
    if not isinstance(value, bool):
        raise TaskError(f"option {name}: wanted true or false, got {value!r}")
    return value
