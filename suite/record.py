"""What a run leaves behind: one JSON file, a sentence a field, written once.

Units: seconds, bytes, fractions in [0,1]. NaN and infinity never stand in a record: a value that is not finite
is null. ``python -m suite.list --schema`` prints the table below.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.runs import SCHEMA, TRACKS, Run, canonical

STATUSES = ("done", "diverged", "failed")
STOP_REASONS = ("budget", "max_seconds", "non_finite", "error")


class RecordError(ValueError):
    """A file is no valid record: the message names the field, what was wanted and what came."""


@dataclass(frozen=True)
class Field:
    """One field of the record: its type, its sentence, whether it may be null, and whether older records lack it."""

    type: type | tuple[type, ...]
    sentence: str
    null: bool = False
    late: bool = False


PERFECT = {"accuracy": 1.0, "mse": 0.0}  # the best score there is; of a metric of one's own it is not known
DIGITS = 9  # significant ones of a measured number, enough to tell any two float32 apart
LARGEST = 1 << 28  # bytes of a file that is looked at; the largest real record has some megabytes
_NUMBER = (int, float)
FIELDS: dict[str, Field] = {
    "schema": Field(int, f"Version of this schema; {SCHEMA} today."),
    "id": Field(str, "First 12 hex digits of sha256 over the canonical JSON of `run`."),
    "status": Field(
        str, "done, diverged (loss or gradient norm not finite), or failed (an error; only under failures/)."
    ),
    "stop_reason": Field(str, "budget (all epochs), max_seconds, non_finite, or error."),
    "run": Field(dict, "The run's identity: everything that can change the numbers (suite/runs.py)."),
    "run.model": Field(str, "Name in the model table, or my.pkg:MyRNN."),
    "run.task": Field(str, "Name in the task table, or my.pkg:MyTask."),
    "run.seed": Field(int, "Seeds of data and initialisation are drawn from it."),
    "run.model_version": Field(int, "Version of the model's class."),
    "run.task_version": Field(int, "Version of the task's class."),
    "run.model_options": Field(dict, "Options that the model table's row fixes."),
    "run.task_options": Field(dict, "Every option of the task, the data variant among them."),
    "run.recipe": Field(
        dict, "Keys of the trainer (later ones where they differ from their default) and of the model."
    ),
    "run.budget": Field(dict, "How long it may train."),
    "run.budget.epochs": Field(int, "Epochs at most."),
    "run.budget.max_seconds": Field(_NUMBER, "Training seconds at most.", True),
    "run.track": Field(str, f"One of {', '.join(TRACKS)}."),
    "run.precision": Field(str, "Arithmetic of the recurrence."),
    "run.device_kind": Field(str, "cpu or cuda."),
    "sources": Field(
        dict, "For each key of the recipe, where its value comes from: published, adapted, tuned here, default or set."
    ),
    "metrics": Field(dict, "The figures of merit; each in the task's metric."),
    "metrics.name": Field(str, "accuracy (a fraction), mse, or a third-party task's own."),
    "metrics.higher_is_better": Field(bool, "Whether a larger value is better."),
    "metrics.test": Field(_NUMBER, "Test metric at the epoch with the best validation metric: the headline.", True),
    "metrics.test_last": Field(_NUMBER, "Test metric after the last epoch.", True),
    "metrics.valid": Field(_NUMBER, "Best validation metric.", True),
    "metrics.best_epoch": Field(int, "Epoch (from 1) of the best validation metric.", True),
    "metrics.test_loss": Field(_NUMBER, "Mean test loss at the best epoch.", True),
    "metrics.chance": Field(_NUMBER, "Metric of a constant guess.", True),
    "seconds": Field(dict, "Wall-clock times."),
    "seconds.prepare": Field(_NUMBER, "Building task and model."),
    "seconds.compile": Field(_NUMBER, "Building or loading the engine's kernels."),
    "seconds.train": Field(_NUMBER, "Training steps, all parts of an interrupted run added."),
    "seconds.train_processor": Field(
        _NUMBER,
        "Processor time of the process (all threads) in those steps: with one thread on a CPU, less than `train` where "
        "other work had the core.",
        late=True,
    ),
    "seconds.train_waited": Field(
        _NUMBER,
        "Time in those steps that a thread stood ready while other work had the cores (the thread that waited "
        "longest); null where the system does not tell.",
        null=True,
        late=True,
    ),
    "seconds.evaluate": Field(_NUMBER, "Evaluations and gradient profiles."),
    "seconds.step_median": Field(_NUMBER, "Median of a training step.", True),
    "seconds.step_q25": Field(_NUMBER, "Lower quartile of a training step.", True),
    "seconds.step_q75": Field(_NUMBER, "Upper quartile of a training step.", True),
    "size": Field(dict, "Sizes of the model and of the process."),
    "size.parameters": Field(int, "Trained parameters with read-out, embedding left out."),
    "size.embedding_parameters": Field(int, "Trained parameters of the embedding; 0 where there is none."),
    "size.peak_bytes": Field(int, "Peak memory: of the process on a CPU, of the device on a GPU.", True),
    "curve": Field(list, "One entry an epoch, from 1 on: the fields of CURVE."),
    "profiles": Field(list, "Gradient profiles: the fields of PROFILE."),
    "where": Field(dict, "Provenance: what ran it, where and when; not part of the id."),
    "error": Field(dict, "type and message of the error of a failed run.", True),
}
CURVE: dict[str, Field] = {
    "epoch": Field(int, "From 1."),
    "steps": Field(int, "Optimiser steps so far."),
    "train_loss": Field(_NUMBER, "Mean training loss over the epoch, as seen before each step.", True),
    "valid": Field(_NUMBER, "Validation metric after the epoch.", True),
    "valid_loss": Field(_NUMBER, "Mean validation loss after the epoch.", True),
    "test": Field(
        _NUMBER, "Test metric after the epoch; null where the recipe evaluates test only at a new best.", True
    ),
    "test_loss": Field(_NUMBER, "Mean test loss after the epoch.", True),
    "seconds": Field(_NUMBER, "Training seconds so far."),
    "grad_norm": Field(
        list,
        "Quantiles 0, 0.1, 0.5, 0.9, 1 of the total gradient norm (before clipping) over the epoch's steps.",
    ),
    "lr": Field(_NUMBER, "Learning rate of the epoch."),
    "diagnostics": Field(dict, "What the model measures of itself after the epoch."),
}
PROFILE: dict[str, Field] = {
    "epoch": Field(int, "After this epoch; 0 is the untrained model."),
    "length": Field(int, "T of the examples."),
    "t": Field(list, "Time steps (from 0) at which the norms stand; 512 at most."),
    "norms": Field(
        list,
        "One list a state block (block 0 is h): Frobenius norm over (B, block) of dL/d(state_t). On a CPU "
        "numbers below 1.2e-38 are flushed to zero: norms under 1e-30 are no measurement.",
    ),
}
WHERE: dict[str, Field] = {
    "cpu": Field(str, "Processor model."),
    "capability": Field(str, "Instruction set that torch uses on the processor: AVX2, AVX512.", late=True),
    "features": Field(list, "Instruction sets of the processor that change the last bits of results.", late=True),
    "gpu": Field(str, "GPU model.", True),
    "driver": Field(str, "Version of the GPU's driver.", True, late=True),
    "cuda": Field(str, "Version of CUDA that torch was built with, where a GPU ran.", True, late=True),
    "cores": Field(int, "Cores the process could use."),
    "host": Field(str, "First 8 hex digits of a hash of the host's name."),
    "threads": Field(int, "Threads of the run."),
    "engine": Field(str, "Engine that ran, not the one asked for by auto."),
    "deterministic": Field(bool, "Whether torch was asked for deterministic algorithms.", late=True),
    "libraries": Field(dict, "Versions of python, torch, numpy and of this package."),
    "commit": Field(str, "Commit of the code, where it is a checkout.", True),
    "dirty": Field(bool, "Whether the checkout had uncommitted changes.", True),
    "shared_device": Field(bool, "Whether other runs trained on the machine at the same time."),
    "started": Field(str, "UTC time, ISO 8601."),
    "finished": Field(str, "UTC time, ISO 8601."),
    "data": Field(dict, "The task's own facts: data variant, provenance of the files, normalisation."),
    "preset": Field(str, "Preset the run was asked with.", True),
    "resumed": Field(int, "How many times the run went on from a checkpoint."),
    "blocks": Field(list, "Names of the state blocks of the profiles.", late=True),
    "legs": Field(list, "Parts of a resumed run by another machine, engine, thread count or seed group.", late=True),
    "plugins": Field(dict, "Of a third-party model or task: hash of the file that holds its class.", late=True),
    "descriptions": Field(dict, "Of the same: first words of its docstring, its source, its title.", late=True),
    "seeds_together": Field(int, "Seeds that were trained side by side in one process.", late=True),
}


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


def _check(values: Mapping[str, Any], fields: Mapping[str, Field], prefix: str) -> None:
    for name, wanted in fields.items():
        holder: Any = values
        *parents, leaf = name.split(".")
        for parent in parents:
            holder = holder[parent]
        if leaf not in holder:
            if wanted.late:
                continue
            raise RecordError(f"field {prefix}{name} is missing")
        value = holder[leaf]
        if value is None and wanted.null:
            continue
        good = isinstance(value, wanted.type) and (not isinstance(value, bool) or wanted.type is bool)
        if not good or (isinstance(value, float) and not math.isfinite(value)) or _is_huge(value):
            kind = wanted.type.__name__ if isinstance(wanted.type, type) else "number"
            raise RecordError(f"field {prefix}{name}: wanted {kind}, got {str(value)[:40]!r}")


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
    _check(values, FIELDS, "")
    for i, row in enumerate(values["curve"]):
        _check(_mapping(row, f"curve[{i}]"), CURVE, f"curve[{i}].")
        _check_numbers(row["grad_norm"], f"curve[{i}].grad_norm")
    for i, row in enumerate(values["profiles"]):
        _check(_mapping(row, f"profiles[{i}]"), PROFILE, f"profiles[{i}].")
        _check_numbers(row["t"], f"profiles[{i}].t")
        for norms in row["norms"]:
            _check_numbers(norms, f"profiles[{i}].norms", count=len(row["t"]))
    _check(values["where"], WHERE, "where.")
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
    if not isinstance(values, list) or not all(v is None or type(v) in _NUMBER for v in values):
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
