"""Failed runs in words: the reason in a line, and those of earlier calls that wait to be tried again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from suite.plan import Planned
from suite.record import RecordError, load
from suite.runs import Run, canonical
from suite.store import Store
from suite.work import provenance

MOST = 5  # lines of earlier failures

# Errors whose message says all: wanted, got and what to do.
_OWN = ("SuiteError", "UsageError", "DataMissing", "CannotWrite", "DataError", "TaskError", "ModelError", "EngineError",
        "ScanError", "WorkerDied", "OutOfMemoryError")  # fmt: skip


def reason(error: Mapping[str, Any]) -> str:
    """An error in a line: its own words; of one that is not the suite's own, type and place too."""
    first = next((line.strip() for line in error["message"].splitlines() if line.strip()), "")[:200]
    if error["type"] in _OWN:
        return first
    places = re.findall(r'File "([^"]+)", line (\d+), in', error["traceback"])
    own = [place for place in places if f"{os.sep}site-packages{os.sep}" not in place[0]] or places
    where = f" ({own[-1][0].rpartition(os.sep)[2]}:{own[-1][1]})" if own else ""
    return f"{error['type']}: {first}{where}" if first != error["type"] else f"{first}{where}"


def again(count: int) -> str:
    """What to do about so many failed runs."""
    return f"--rerun failed tries {'it' if count == 1 else 'them'} again"


def changed(run: Run, record: Mapping[str, Any]) -> set[str]:
    """Names of the plug-ins whose file is another than the one that made the record."""
    return provenance.changed(run, record["where"].get("plugins"))


def other_data(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of tasks, with the same options, whose records say different things of their data (``Task.facts``)."""
    said: dict[tuple[str, str], set[str]] = {}
    for record in records:
        run, data = record["run"], record["where"]["data"]
        if data:
            said.setdefault((run["task"], canonical(run["task_options"])), set()).add(canonical(data))
    return sorted({task for (task, _), found in said.items() if len(found) > 1})


def of_earlier(held: Iterable[Planned], store: Store) -> tuple[int, list[str]]:
    """How many of the runs left alone failed in earlier calls, and a line for each model, task and reason.

    Args:
        held: runs that are not done now.
        store: where their records are.
    """
    found: dict[str, list[int]] = {}
    for one in held:
        paths = [] if store.has(one.run) else store.failures(one.run)
        if paths:
            found.setdefault(_line(one.run, paths), []).append(one.run.seed)
    count = sum(map(len, found.values()))
    lines = [line.format(seeds=_seeds(seeds)) for line, seeds in found.items()]
    if len(lines) > MOST:
        lines[MOST - 1 :] = [f"and {len(lines) - MOST + 1} more reasons of runs that failed earlier"]
    return count, [*lines, *([again(count)] if count else [])]


def _line(run: Run, paths: Sequence[Any]) -> str:
    try:
        record = load(paths[-1])
        words = reason(record["error"])
        note = " (its code has changed since)" if changed(run, record) else ""
    except RecordError as error:
        words, note = str(error), ""
    text = f"{words}{note}".replace("{", "{{").replace("}", "}}")
    return f"{run.model} {run.task} {{seeds}}: failed earlier: {text}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
