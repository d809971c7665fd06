"""``python -m suite.run --dry-run``: the runs of a grid, their states, and what they would cost.

Nothing is trained and nothing is fetched.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence

from suite.cli import short
from suite.errors import DONE
from suite.names import resolve
from suite.plan import Planned
from suite.runs import is_set
from suite.store import Store
from suite.work.driver import cores, groups_of
from suite.work.estimates import sizes
from suite.work.estimates.costs import MACHINES, Estimate, Estimator

MODELLED = "~"  # stands before a figure that was not measured


def megabytes(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return "-"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def _cells(one: Estimate) -> list[str]:
    run = one.planned.run
    time_mark = MODELLED if one.seconds_from in ("pair", "rough") else ""
    memory_mark = MODELLED if one.memory_from == "blocks" and one.memory_bytes is not None else ""
    return [
        one.state, run.model, run.task, str(run.seed),
        "-" if one.parameters is None else f"{one.parameters:,}",
        "-" if one.seconds is None else time_mark + short(one.seconds),
        one.seconds_from or "-",
        memory_mark + megabytes(one.memory_bytes),
    ]  # fmt: skip


HEAD = ["state", "model", "task", "seed", "parameters", "time", "from", "memory"]
_RIGHT = {3, 4, 5, 7}


def table(estimates: Sequence[Estimate], *, width: int = 80) -> str:
    """The runs as text, at most ``width`` columns wide: long model and task names are cut in their middle."""
    rows = [HEAD, *(_cells(one) for one in estimates)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    for column in (1, 2):
        over = sum(widths) + 2 * (len(widths) - 1) - width
        widths[column] -= max(0, min(over, widths[column] - 12))
    lines = []
    for row in rows:
        row = [_cut(text, size) for text, size in zip(row, widths)]
        parts = [
            text.rjust(size) if i in _RIGHT else text.ljust(size) for i, (text, size) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _cut(text: str, size: int) -> str:
    keep = size - 1
    return text if len(text) <= size else f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"


FROM = {
    "record": "record: what this run took",
    "group": "group: records of the same run with other seeds",
    "pair": "pair: records of the same model and task, scaled by a rough model",
    "rough": "rough: {flops:g} GFLOP/s for products, {element:g} ns a stored number, {start:g} us a time step",
}


MOST_GROUPS = 12


def settings(planned: Sequence[Planned]) -> list[str]:
    """Units, epochs, what was set by hand, unusual options: a line a model and task, nothing for more than a dozen."""
    groups = {one.run.group: one for one in planned}
    lines = []
    for one in groups.values():
        run = one.run
        values = {**run.recipe, "epochs": run.budget.epochs}
        hand = [key for key, text in one.sources.items() if is_set(text) and key not in ("hidden_size", "epochs")]
        words = [f"H={run.recipe['hidden_size']}", f"{run.budget.epochs} epoch{'s' if run.budget.epochs > 1 else ''}"]
        words += [f"{key}={values[key]} by hand" for key in sorted(hand)]
        task = resolve("task", run.task)
        usual = {**task.options({}), **task.fixed}
        words += [f"{key}={value}" for key, value in sorted(run.task_options.items()) if value != usual.get(key)]
        text = f"  {run.model} {run.task}: {', '.join(words)}"
        lines.append(textwrap.fill(text, width=80, subsequent_indent="    ", break_long_words=False))
    return lines if len(lines) <= MOST_GROUPS else []


def _footer(estimates: Sequence[Estimate], *, side_by_side: int, rerun_failed: bool) -> list[str]:
    """Counts and time left, then what the words of the table mean."""
    counts = {s: sum(one.state == s for one in estimates) for s in dict.fromkeys(one.state for one in estimates)}
    waiting = ("new", "resumable", "failed") if rerun_failed else ("new", "resumable")
    known = [one.seconds for one in estimates if one.state in waiting and one.seconds is not None]
    first = f"{len(estimates)} run{'s' if len(estimates) > 1 else ''}: " + ", ".join(
        f"{count} {state}" for state, count in counts.items()
    )
    if known:
        side_by_side = min(side_by_side, len(known))
        first += f"; to do: about {short(sum(known))}"
        if side_by_side > 1:
            first += f", {short(max(sum(known) / side_by_side, *known))} with {side_by_side} side by side"
    machine = MACHINES[estimates[0].planned.run.device_kind]
    figures = {
        "flops": machine.flops / 1e9, "element": machine.element_seconds * 1e9, "start": machine.start_seconds * 1e6
    }  # fmt: skip
    used = {one.seconds_from for one in estimates}
    lines = [first, *(f"  {text.format(**figures)}" for name, text in FROM.items() if name in used)]
    if any(one.memory_from == "blocks" and one.memory_bytes is not None for one in estimates):
        lines.append("  ~ memory: stored states, batch and weights; the process adds a few hundred MB")
    return lines


def dry_run(planned: Sequence[Planned], store: Store, args: argparse.Namespace) -> int:
    """Print the runs (which were checked) with their states and estimates.

    Args:
        planned: the grid.
        store: where its records are or would be.
        args: ``data_dir``, ``engine``, ``json``, ``jobs`` and ``rerun`` of ``suite.run``.

    Raises:
        UsageError: a hyperparameter out of range.
    """
    estimator = Estimator(store, sizes.Tasks(args.data_dir), args.engine)
    estimates = [estimator(one) for one in planned]
    if args.json:
        for one in estimates:
            print(json.dumps(one.as_json(store)))
    else:
        print(table(estimates))
        print("\n".join(settings(planned)) or "  (units and epochs of each: --json)")
        jobs = min(args.jobs or cores(), len(groups_of(planned, args.seeds_per_run)))
        print("\n".join(_footer(estimates, side_by_side=jobs, rerun_failed=args.rerun == "failed")))
    for name, trouble in estimator.troubles.items():
        print(f"{name}: no estimate: {trouble}", file=sys.stderr)
    return DONE
