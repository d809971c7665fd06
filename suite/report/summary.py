"""The short table a run ends with: one row a group of runs, 80 columns, plain Python.

Heavy libraries stay out on purpose: ``suite.run`` prints this the moment its last record is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean, median, stdev
from typing import Any

from suite.record import share
from suite.report import wording
from suite.runs import Run

WIDTH = 80
_WIDTHS = (
    19,
    6,
    14,
    8,
    8,
    8,
    7,
    10,
)  # model, seeds, score, loss, seconds, ms/step, grad, params: WIDTH in all


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _last_gradient_norm(record: Mapping[str, Any]) -> float | None:
    """Median total gradient norm of the last epoch's steps."""
    quantiles = record["curve"][-1]["grad_norm"] if record["curve"] else []
    return quantiles[2] if len(quantiles) == 5 else None


def _row(run: Run, records: list[dict[str, Any]]) -> dict[str, Any]:
    done = [record for record in records if record["status"] == "done"]
    scores = [record["metrics"]["test"] for record in done if record["metrics"]["test"] is not None]
    steps = [step for record in done if (step := share(record, "step_median")) is not None]
    norms = [norm for record in done if (norm := _last_gradient_norm(record)) is not None]
    return {
        "task": run.task,
        "task_options": dict(run.task_options),
        "data": records[0]["where"]["data"],
        "track": run.track,
        "epochs": run.budget.epochs,
        "max_seconds": run.budget.max_seconds,
        "model": run.model,
        "group": run.group,
        "seeds": sorted(int(record["run"]["seed"]) for record in records),
        "finished": len(done),
        "diverged": sum(record["status"] == "diverged" for record in records),
        "failed": sum(record["status"] == "failed" for record in records),
        "metric": records[0]["metrics"]["name"],
        "mean": fmean(scores) if scores else None,
        "sd": stdev(scores) if len(scores) > 1 else None,
        "loss": _mean(record["metrics"]["test_loss"] for record in done),
        "seconds": _mean(share(record, "train") for record in done),
        "ms_per_step": 1000 * median(steps) if steps else None,
        "gradient_norm": median(norms) if norms else None,
        "parameters": records[0]["size"]["parameters"],
    }


def summary_rows(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a group of runs that differ in their seed alone, as plain numbers.

    Args:
        records: records as ``suite.record.validate`` accepts them; failed ones are counted.

    Returns:
        Rows in order of task, task options, track, budget and model. Means are over finished runs: ``mean``
        and ``sd`` in the task's metric (None where no run finished, sd also for one), ``seconds`` of training,
        ``ms_per_step`` the median of their median steps, ``gradient_norm`` the median of the last epoch's median norms.
    """
    groups: dict[str, tuple[Run, list[dict[str, Any]]]] = {}
    for record in records:
        run = Run.from_identity(record["run"])
        groups.setdefault(run.group, (run, []))[1].append(dict(record))
    rows = [_row(run, held) for run, held in groups.values()]
    order = wording.model_order(row["model"] for row in rows)
    return sorted(rows, key=lambda row: (*_section(row), order.index(row["model"]), row["group"]))


def _section(row: Mapping[str, Any]) -> tuple[str, str, str, int, float]:
    limit = row["max_seconds"]
    return (
        row["task"],
        wording.options(row["task_options"]),
        row["track"],
        row["epochs"],
        -1.0 if limit is None else limit,
    )


def _heading(row: Mapping[str, Any]) -> list[str]:
    """The task, its data variant and the budget, broken into lines of at most WIDTH characters."""
    words = [row["task"] + ":"]
    variant = wording.options({key: value for key, value in row["task_options"].items() if value is not None})
    words += (variant + ";").split(" ") if variant else []
    words += f"track {row['track']}, {wording.budget(row['epochs'], row['max_seconds'])}".split(" ")
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(" " + word)
        else:
            lines[-1] += " " + word
    return [line[:WIDTH] for line in lines]


def _short(value: float | None, width: int) -> str:
    """The number with as many digits, three at most, as leave one space in a column of ``width``."""
    texts = [wording.number(value, digits) for digits in (3, 2, 1)]
    return next((text for text in texts if len(text) < width), texts[-1])


def _score(row: Mapping[str, Any]) -> str:
    score = wording.metric(row["mean"], row["metric"])
    if row["sd"] is None:
        return score
    if row["metric"] == "accuracy":
        return f"{score} ±{wording.metric(row['sd'], 'accuracy')}"
    texts = [f"{wording.number(row['mean'], count)}±{wording.number(row['sd'], 1)}" for count in (3, 2, 1)]
    return next((text for text in texts if len(text) < _WIDTHS[2]), texts[-1])


def _parameters(count: int) -> str:
    text = wording.count(count)
    return text if len(text) < _WIDTHS[7] else f"{count / 1e6:.1f}M"


def _cells(row: Mapping[str, Any]) -> list[str]:
    lost = row["diverged"] + row["failed"]
    numbers = (row["loss"], row["seconds"], row["ms_per_step"], row["gradient_norm"])
    return [
        row["model"] if len(row["model"]) <= _WIDTHS[0] else "…" + row["model"][1 - _WIDTHS[0] :],
        f"{len(row['seeds'])}-{lost}" if lost else str(len(row["seeds"])),
        _score(row),
        *(_short(value, width) for value, width in zip(numbers, _WIDTHS[3:7])),
        _parameters(row["parameters"]),
    ]


def _line(cells: list[str]) -> str:
    first, *rest = zip(cells, _WIDTHS)
    return f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest)


def table(records: Iterable[Mapping[str, Any]]) -> str:
    """The summary as text, at most 80 columns wide; one block a task variant, track and budget.

    Args:
        records: see ``summary_rows``.

    Returns:
        Lines without a trailing newline; a sentence where there are no records.
    """
    rows = summary_rows(records)
    if not rows:
        return "no records"
    lines: list[str] = []
    previous: object = None
    lost = False
    for row in rows:
        if _section(row) != previous:
            lines += ([""] if lines else []) + _heading(row)
            score = wording.metric_unit(row["metric"])
            score = score if len(score) < _WIDTHS[2] else f"{score[: _WIDTHS[2] - 2]}…"
            names = ["model", "seeds", score, "loss", "seconds", "ms/step", "grad", "params"]
            lines.append(_line(names))
            previous = _section(row)
        lines.append(_line(_cells(row)))
        lost = lost or bool(row["diverged"] or row["failed"])
    if lost:
        lines += ["", "seeds 5-1: five runs, one of them diverged or failed; means are over the others"]
    return "\n".join(lines)
