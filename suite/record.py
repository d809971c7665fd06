"""What a run leaves behind: one JSON file, a sentence a field, written once.

Units: seconds, bytes, fractions in [0,1]. NaN and infinity never stand in a record: a value that is not finite
is null. The fields are in ``suite.fields``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.fields import CURVE, FIELDS, NUMBER, PROFILE, WHERE, Field
from suite.runs import SCHEMA, TRACKS, Run, canonical

STATUSES = ("done", "diverged", "failed")
STOP_REASONS = ("budget", "max_seconds", "non_finite", "error")
PERFECT = {"accuracy": 1.0, "mse": 0.0}  # the best score there is; of a metric of one's own it is not known
DIGITS = 9  # significant ones of a measured number, enough to tell any two float32 apart
_NUMBERS = {*NUMBER, type(None)}
LARGEST = 1 << 28  # bytes of a file that is looked at; the largest real record has some megabytes


class RecordError(ValueError):
    """A file is no valid record: the message names the field, what was wanted and what came."""


def share(record: Mapping[str, Any], name: str) -> float | None:
    """A run's part of one of its record's training times (``train``, ``step_median``, ...).

    Seeds trained side by side have one clock, and each record holds the seconds of all: divided by their number.
    """
    value = record["seconds"][name]
    return None if value is None else float(value) / int(record["where"].get("seeds_together", 1))


def finite(value: Any) -> Any:
    """``value`` with every float that is not finite replaced by None, through lists and dicts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def outline(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without its profiles and with the last row of its curve alone: small enough to hold those of a grid."""
    return {**record, "curve": record["curve"][-1:], "profiles": []}


_Asked = tuple[str, tuple[str, ...], str, frozenset[type], Field]


def _asked(fields: Mapping[str, Field]) -> list[_Asked]:
    """For each field: its name, the objects it lies in, its last word, the types JSON gives it, and its rule."""
    found: list[_Asked] = []
    for name, rule in fields.items():
        *parents, leaf = name.split(".")
        kinds = rule.type if isinstance(rule.type, tuple) else (rule.type,)
        found.append((name, tuple(parents), leaf, frozenset(kinds), rule))
    return found


_RECORD, _CURVE, _PROFILE, _WHERE = map(_asked, (FIELDS, CURVE, PROFILE, WHERE))


def _check(values: Mapping[str, Any], asked: Sequence[_Asked], prefix: str) -> None:
    for name, parents, leaf, kinds, rule in asked:
        holder: Any = values
        for parent in parents:
            holder = holder[parent]
        if leaf not in holder:
            if rule.late:
                continue
            raise RecordError(f"field {prefix}{name} is missing")
        value = holder[leaf]
        if value is None and rule.null:
            continue
        kind = type(value)
        good = kind in kinds or (kind is not bool and isinstance(value, rule.type))
        if not good or (isinstance(value, float) and not math.isfinite(value)) or _is_huge(value):
            wanted = rule.type.__name__ if isinstance(rule.type, type) else "number"
            raise RecordError(f"field {prefix}{name}: wanted {wanted}, got {str(value)[:40]!r}")


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and not -(1 << 63) <= value < 1 << 63


def validate(values: Any) -> dict[str, Any]:
    """Check a record against the schema.

    Args:
        values: a parsed JSON object.

    Returns:
        The same object.

    Raises:
        RecordError: naming the first field that is missing or wrong, or an id that does not fit the run.
    """
    if not isinstance(values, dict):
        raise RecordError(f"wanted a JSON object, got {type(values).__name__}")
    if values.get("schema") != SCHEMA:
        newer = isinstance(values.get("schema"), int) and values["schema"] > SCHEMA
        hint = ", made by a newer version of rnnbench" if newer else ""
        raise RecordError(f"field schema: wanted {SCHEMA}, got {values.get('schema')!r}{hint}")
    _check(values, _RECORD, "")
    for i, row in enumerate(values["curve"]):
        _check(_mapping(row, f"curve[{i}]"), _CURVE, f"curve[{i}].")
        _check_numbers(row["grad_norm"], f"curve[{i}].grad_norm")
    for i, row in enumerate(values["profiles"]):
        _check(_mapping(row, f"profiles[{i}]"), _PROFILE, f"profiles[{i}].")
        _check_numbers(row["t"], f"profiles[{i}].t")
        for norms in row["norms"]:
            _check_numbers(norms, f"profiles[{i}].norms", count=len(row["t"]))
    _check(values["where"], _WHERE, "where.")
    for name, allowed in (("status", STATUSES), ("stop_reason", STOP_REASONS)):
        if values[name] not in allowed:
            raise RecordError(f"field {name}: wanted one of {', '.join(allowed)}, got {values[name]!r}")
    try:
        run = Run.from_identity(values["run"])
        fits = run.id == values["id"]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"field run: {error}") from error
    if not fits:
        raise RecordError(f"field id: wanted {run.id} (from field run), got {values['id']!r}")
    units = run.recipe.get("hidden_size")
    if type(units) is not int or units < 1 or _is_huge(units):
        raise RecordError(f"field run.recipe.hidden_size: wanted an integer from 1, got {str(units)[:40]!r}")
    if run.track not in TRACKS:
        raise RecordError(f"field run.track: wanted one of {', '.join(TRACKS)}, got {run.track!r}")
    if not 0 <= run.seed < 1 << 63:
        raise RecordError(f"field run.seed: wanted a seed from 0 to 2**63 - 1, got {str(run.seed)[:40]}")
    return values


def _check_numbers(values: Any, name: str, *, count: int | None = None) -> None:
    if not isinstance(values, list) or not _NUMBERS.issuperset(map(type, values)):
        raise RecordError(f"field {name}: wanted a list of numbers, got {str(values)[:40]!r}")
    if count is not None and len(values) != count:
        raise RecordError(f"field {name}: wanted {count} numbers, one a time step of t, got {len(values)}")


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RecordError(f"field {name}: wanted an object, got {type(value).__name__}")
    return value


def dumps(values: Mapping[str, Any]) -> str:
    """The record's text: sorted keys, one top-level field a line, so that diffs and greps stay readable.

    Raises:
        RecordError: a value that JSON does not have.
    """
    try:
        body = ",\n".join(f" {json.dumps(key)}: {canonical(values[key])}" for key in sorted(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"it holds a value that no record may have: {error}") from error
    return "{\n" + body + "\n}\n"


def _no_constant(text: str) -> None:
    raise RecordError(f"{text} is not allowed in a record: wanted a finite number or null")


def load(path: Path) -> dict[str, Any]:
    """Read and validate one record.

    Raises:
        RecordError: with the file's name, for text that is no JSON, a missing or wrong field, NaN, or another schema.
    """
    return read(path)[0]


def read(path: Path) -> tuple[dict[str, Any], str]:
    """Read and validate one record, and give its text too.

    Raises:
        RecordError: see ``load``.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise RecordError(f"wanted at most {LARGEST:,} bytes, got {path.stat().st_size:,}")
        text = path.read_text(encoding="utf-8")
        return validate(json.loads(text, parse_constant=_no_constant)), text
    except (ValueError, RecursionError, OSError) as error:
        raise RecordError(f"{path}: {error}") from error
