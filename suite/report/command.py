"""The command that repeats a run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from suite.report import wording
from suite.runs import Run, is_set
from suite.store import Store


def _value(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list, tuple)) else wording.option(value)


def repeat(record: Mapping[str, Any], *, fixed: Container[str] = ()) -> str:
    """The ``python -m suite.run`` line that runs this record's run again.

    The task's options are named one by one, whatever their defaults are. Of the recipe and the budget only what was
    set by hand is named, because the rest comes from the recipe of the same track and preset; a run of track tuned,
    whose recipe is in no package, is repeated by its record.

    Args:
        record: a valid record (its ``curve`` and ``profiles`` are not read).
        fixed: task options that the task's name fixes, which cannot be set.

    Returns:
        One line, quoted for a POSIX shell.
    """
    run, sources = record["run"], record["sources"]
    if run["track"] == "tuned":  # of a recipe file that was given: the record alone has its values
        return shlex.join(
            ["python", "-m", "suite.run", "--replay", str(Store(Path("results")).path(Run.from_identity(run)))]
        )
    words = ["python", "-m", "suite.run", "--models", run["model"], "--tasks", run["task"]]
    words += ["--seeds", str(run["seed"])]
    if record["where"]["preset"]:
        words += ["--preset", record["where"]["preset"]]
    if run["track"] != "paper":
        words += ["--track", run["track"]]
    if is_set(sources.get("epochs")):
        words += ["--epochs", str(run["budget"]["epochs"])]
    if run["budget"]["max_seconds"] is not None:
        words += ["--max-seconds", wording.option(run["budget"]["max_seconds"])]
    for key, value in sorted(run["task_options"].items()):
        if key not in fixed and value is not None:
            words += ["--set", f"{run['task']}.{key}={_value(value)}"]
    for key, value in sorted(run["recipe"].items()):
        if is_set(sources.get(key)):
            words += ["--set", f"{run['model']}.{key}={_value(value)}"]
    if run["precision"] != "float32":
        words += ["--precision", run["precision"]]
    words += ["--device", run["device_kind"]]
    return shlex.join(words)
