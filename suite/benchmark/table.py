"""From measurements to rows, the printed table, the stored file, and the comparison with a baseline."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
KEY = ("shape", "model", "engine", "threads", "batch", "hidden", "length", "input")


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes two rows comparable."""
    return tuple(row[word] for word in KEY)


def name(row: Mapping[str, Any]) -> str:
    """Shape, model and engine: how a line about a row begins."""
    return f"{row['shape']} {row['model']} {row['engine']}"


def unmeasured(stored: Iterable[Row], rows: Iterable[Row]) -> int:
    """How many stored rows, the runner's own aside, were not measured again."""
    now = {key(row) for row in rows if row["engine"] != "runner"}
    return sum(row["engine"] != "runner" and key(row) not in now for row in stored)


def lines(rows: Sequence[Row]) -> Iterable[str]:
    """The table, at most 80 columns wide: engines, and last in each group what its matrix products alone take."""
    yield f"{'shape':11} {'model':19} {'engine':15} {'thr':>3} {'step ms':>7} {'quartiles':>11} {'x loop':>6}"
    groups = itertools.groupby(rows, lambda row: (row["shape"], row["model"], row["threads"]))
    for number, (_, group) in enumerate(groups):
        if number:
            yield ""
        products: str | None = None
        for row in group:
            step, gemm, ratio = row["step_ms"], row["gemm_ms"], row["ratio_to_loop"]
            yield _line(row, row["engine"], step["median"], f"{_ms(step['q25'])}-{_ms(step['q75'])}", ratio)
            yield from textwrap.wrap(row["note"], 76, initial_indent="  ", subsequent_indent="  ")
            if gemm:
                products = _line(row, "products alone", gemm, "", ratio and ratio * step["median"] / gemm)
        if products is not None:
            yield products


def _line(row: Row, engine: str, ms: float, quartiles: str, ratio: float | None) -> str:
    model = row["model"] if len(row["model"]) <= 19 else f"\N{HORIZONTAL ELLIPSIS}{row['model'][-18:]}"
    text = f"{row['shape']:11} {model:19} {engine:15} {row['threads']:>3} {_ms(ms):>7} {quartiles:>11} "
    return (text + ("" if ratio is None else f"{ratio:>6.2f}")).rstrip()


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def regressions(rows: Iterable[Row], baseline: Iterable[Row], *, tolerance: float) -> dict[tuple[Any, ...], str]:
    """Rows whose ratio to the loop fell below the baseline's by more than the tolerance; one thread alone is gated.

    Args:
        rows: measured now.
        baseline: stored.
        tolerance: a fraction: 0.2 allows 80 % of the baseline's ratio.

    Returns:
        A line for each, by the row's ``key``.
    """
    stored = {key(row): row for row in baseline}
    found = {}
    for row in rows:
        before = stored.get(key(row))
        if before is None or row["threads"] != 1 or not before["ratio_to_loop"] or not row["ratio_to_loop"]:
            continue
        if row["ratio_to_loop"] < (1 - tolerance) * before["ratio_to_loop"]:
            found[key(row)] = (
                f"{name(row)}: {row['ratio_to_loop']:.2f} times the loop, "
                f"the baseline says {before['ratio_to_loop']:.2f}"
            )
    return found


def missing(
    rows: Iterable[Row], baseline: Iterable[Row], *, pairs: Iterable[tuple[str, str]], engines: Iterable[str]
) -> list[str]:
    """Rows of the baseline, at one thread, that were asked for and not measured: an engine that no longer runs here.

    Args:
        rows: measured now.
        baseline: stored.
        pairs: shapes and models that were asked for, by name.
        engines: engines that were asked for.
    """
    measured, pairs, engines = {key(row) for row in rows}, set(pairs), set(engines)
    return [
        f"{name(row)}: not measured, the baseline says {row['ratio_to_loop']:.2f}"
        for row in baseline
        if row["threads"] == 1 and row["ratio_to_loop"] and row["engine"] in engines
        and (row["shape"], row["model"]) in pairs and key(row) not in measured
    ]  # fmt: skip


def compared(rows: Iterable[Row], baseline: Iterable[Row]) -> int:
    """How many rows the baseline knows and the gate looks at."""
    stored = {key(row) for row in baseline if row["ratio_to_loop"]}
    return sum(1 for row in rows if row["threads"] == 1 and row["ratio_to_loop"] and key(row) in stored)
