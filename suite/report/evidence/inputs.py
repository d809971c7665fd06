"""What lies beside the records: speed tables and theory checks, read and checked like records, and findings."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from suite.record import RecordError, load
from suite.runs import Run
from suite.store import Store

SCHEMA = 1
CHECKS = ("energy", "sensitivity", "assumption", "jacobian", "gradient-bound", "plateau", "exponent")
_TEXT, _NUMBER = "text", "number"

_SPEED = {"date": _TEXT, "command": _TEXT}
_SPEED_ROW = {"shape": _TEXT, "task": _TEXT, "model": _TEXT, "engine": _TEXT, "threads": _NUMBER}
_THEORY = {"title": _TEXT, "command": _TEXT, "date": _TEXT, "x_label": _TEXT, "y_label": _TEXT, "finding": _TEXT}


def conflicts(results_dir: Path, chosen: Callable[[Run], bool]) -> str:
    """How many second records of runs there are and where, in a sentence; nothing where there are none.

    Args:
        results_dir: the results folder.
        chosen: whether a run is one of those that are reported; a file that cannot be read counts.
    """
    count = 0
    for path in Store(results_dir).conflict_paths():
        try:
            count += chosen(Run.from_identity(load(path)["run"]))
        except RecordError:
            count += 1
    if not count:
        return ""
    words = "1 second record of a run is" if count == 1 else f"{count} second records of runs are"
    return f"{words} kept under conflicts/ of the results folder and not counted here."


class InputError(ValueError):
    """A file of measurements that cannot be used: the message names the field, what was wanted and what came."""


def _check(values: Any, fields: Mapping[str, str], where: str = "") -> None:
    if not isinstance(values, dict):
        raise InputError(f"{where or 'file'}: wanted an object, got {type(values).__name__}")
    for name, kind in fields.items():
        value = values.get(name)
        if kind == _TEXT and not isinstance(value, str):
            raise InputError(f"field {where}{name}: wanted text, got {value!r}")
        if kind == _NUMBER and not _is_number(value):
            raise InputError(f"field {where}{name}: wanted a finite number, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(values: Any, name: str, *, length: int | None = None) -> None:
    if not isinstance(values, list) or not all(value is None or _is_number(value) for value in values):
        raise InputError(f"field {name}: wanted a list of finite numbers or nulls")
    if length is not None and len(values) != length:
        raise InputError(f"field {name}: wanted {length} numbers, got {len(values)}")


def _schema(values: Any) -> None:
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        got = values.get("schema") if isinstance(values, dict) else type(values).__name__
        raise InputError(f"field schema: wanted {SCHEMA}, got {got!r}")
    if not isinstance(values.get("machine"), dict):
        raise InputError("field machine: wanted an object")


def speed(values: Any) -> dict[str, Any]:
    """Check a speed table (docs/report.md).

    Raises:
        InputError: naming the first field that is missing or wrong.
    """
    _schema(values)
    _check(values, _SPEED)
    if not isinstance(values.get("rows"), list):
        raise InputError("field rows: wanted a list")
    for i, row in enumerate(values["rows"]):
        _check(row, _SPEED_ROW, f"rows[{i}].")
        _check(row.get("step_ms"), dict.fromkeys(("median", "q25", "q75"), _NUMBER), f"rows[{i}].step_ms.")
        if row.get("forward_ms") is not None:
            _check(row["forward_ms"], {"median": _NUMBER}, f"rows[{i}].forward_ms.")
        for name in ("ratio_to_loop", "gemm_ms"):
            if row.get(name) is not None and not _is_number(row[name]):
                raise InputError(f"field rows[{i}].{name}: wanted a finite number or null, got {row[name]!r}")
    return dict(values)


def theory(values: Any) -> dict[str, Any]:
    """Check a theory file (docs/theory.md); ``bound`` comes back as a list of curves, empty where there is none.

    Raises:
        InputError: naming the first field that is missing or wrong.
    """
    _schema(values)
    _check(values, _THEORY)
    if values.get("check") not in CHECKS:
        raise InputError(f"field check: wanted one of {', '.join(CHECKS)}, got {values.get('check')!r}")
    values = {"log_x": False, **values}
    for name in ("log_x", "log_y"):
        if not isinstance(values.get(name), bool):
            raise InputError(f"field {name}: wanted true or false, got {values.get(name)!r}")
    _curves(values.get("series"), "series")
    bound = values.get("bound")
    if isinstance(bound, list) and bound and not isinstance(bound[0], dict):  # numbers over the first curve's x
        _numbers(bound, "bound", length=len(values["series"][0]["x"]))
        bound = [{"label": "bound", "x": values["series"][0]["x"], "y": bound}]
    if bound is not None:
        _curves(bound, "bound")
    for axis in ("x", "y"):
        points = [value for one in [*values["series"], *(bound or [])] for value in one[axis]]
        if values[f"log_{axis}"] and not any(value is not None and value > 0 for value in points):
            raise InputError(f"field log_{axis}: wanted a positive value in some curve, got none")
    return {**values, "bound": bound or []}


def _curves(values: Any, name: str) -> None:
    if not isinstance(values, list) or not values:
        raise InputError(f"field {name}: wanted a list of at least one")
    for i, one in enumerate(values):
        _check(one, {"label": _TEXT}, f"{name}[{i}].")
        _numbers(one.get("x"), f"{name}[{i}].x")
        _numbers(one.get("y"), f"{name}[{i}].y", length=len(one["x"]))
        names = one.get("names", [])
        whole = isinstance(names, list) and all(isinstance(word, str) for word in names)
        if not whole or len(names) not in (0, len(one["x"])):
            raise InputError(
                f"field {name}[{i}].names: wanted a name for each of {len(one['x'])} points, got {names!r}"
            )


def read(
    folder: Path, check: Callable[[Any], dict[str, Any]], warn: Callable[[str], object]
) -> list[tuple[str, dict[str, Any]]]:
    """Every usable JSON file of a folder in order of name, as (stem, values); each other one is named and left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append((path.stem, check(json.loads(path.read_text(encoding="utf-8")))))
        except (InputError, ValueError, RecursionError, OSError) as error:
            warn(f"{path}: {error}")
    return found


def findings(folder: Path, warn: Callable[[str], object]) -> dict[str, list[str]]:
    """What people wrote about the records beside them: ``TASK.toml`` with ``findings``, a list of sentences, by task.

    They belong to the results folder, not to the package: on a page of other records they would be untrue.
    """
    found = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
            texts = values.get("findings")
            if set(values) != {"findings"} or not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
                raise InputError("wanted one field, findings: a list of texts")
            found[path.stem] = texts
        except (InputError, ValueError, OSError) as error:
            warn(f"{path}: {error}")
    return found
