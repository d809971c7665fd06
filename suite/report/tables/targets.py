"""How fast a model learns: time to a target score, and the area under the learning curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.record import PERFECT
from suite.report import content, wording
from suite.report.evidence import facts
from suite.report.evidence.entries import Entry
from suite.report.evidence.groups import Group, Section
from suite.report.evidence.statistics import describe
from suite.report.tables.leaderboard import heading, interval_text
from suite.report.tables.notes import SHARED
from suite.report.tables.table import Column, Table


def target(section: Section) -> float | None:
    """The score to reach: the task's own, else half the way from a constant guess to a perfect score, or None."""
    own = content.task(section.variant.task)["target"]
    if own is not None:
        return float(own)
    if section.chance is None or section.metric not in PERFECT:
        return None
    return (section.chance + PERFECT[section.metric]) / 2


def reached(entry: Entry, goal: float, *, higher_is_better: bool) -> tuple[float, float] | None:
    """(seconds, steps) of training at the end of the first epoch whose validation metric reaches ``goal``.

    Returns:
        None where no epoch does: the run is censored.
    """
    valid = entry.curve["valid"]
    hits = np.flatnonzero(valid >= goal if higher_is_better else valid <= goal)
    if not hits.size:
        return None
    return float(entry.clock[hits[0]]), float(entry.curve["steps"][hits[0]])


def censored_median(values: list[float | None]) -> float | None:
    """The median over all runs, a run that never got there counting as infinitely late.

    Returns:
        None where half of the runs or more never got there, so that the median is not known.
    """
    middle = float(np.median([np.inf if value is None else value for value in values])) if values else np.inf
    return middle if np.isfinite(middle) else None


def area(entry: Entry) -> float | None:
    """The mean height of the validation curve over training steps (trapezoids), from the first epoch to the last.

    Returns:
        None for a run that did not finish, or with fewer than two epochs at different steps.
    """
    steps, valid = entry.curve["steps"], entry.curve["valid"]
    known = np.isfinite(valid)
    if entry.score is None or known.sum() < 2:
        return None
    steps, valid = steps[known], valid[known]
    if steps[-1] == steps[0]:
        return None
    return float(np.trapezoid(valid, steps) / (steps[-1] - steps[0]))


def row(group: Group, section: Section, goal: float) -> dict[str, Any]:
    """One group as raw values (plain keys) and written values (keys that end in ``_text``)."""
    times = [reached(entry, goal, higher_is_better=section.higher_is_better) for entry in group.entries]
    hits = sum(time is not None for time in times)
    seconds = censored_median([None if time is None else time[0] for time in times])
    steps = censored_median([None if time is None else time[1] for time in times])
    areas = [value for entry in group.done if (value := area(entry)) is not None]
    spread = describe(areas, section.metric, higher_is_better=section.higher_is_better)
    longest = max((float(entry.clock[-1]) for entry in group.entries if entry.clock.size), default=None)
    shared = any(entry.shared for entry in group.entries)
    mark = "*" if shared else ""
    return {
        "model": group.run.model,
        "label": group.label,
        "epochs": facts.epochs(group),
        "target": goal,
        "runs": len(times),
        "reached": hits,
        "reached_text": f"{hits} of {len(times)}",
        "seconds": seconds,
        "seconds_text": (wording.seconds(seconds) if seconds is not None else f"> {wording.seconds(longest)}") + mark,
        "shared_device": shared,
        "steps": steps,
        "steps_text": wording.count(steps) if steps is not None else "not reached",
        "area": spread.mean,
        "area_text": wording.metric(spread.mean, section.metric),
        "area_low": spread.low,
        "area_high": spread.high,
        "area_interval_text": interval_text(spread.low, spread.high, section.metric),
    }


def table(section: Section) -> Table | None:
    """Time to the target and area under the curve for every group, or None where the task has no target."""
    goal = target(section)
    if goal is None:
        return None
    unit = wording.metric_unit(section.metric)
    machines = {entry.machine for group in section.groups for entry in group.entries}
    note = (
        "Median over all runs of a row, diverged ones too; a run that never got there counts as infinitely late,"
        " and “>” gives the longest training seen. Resolution: one epoch."
    )
    if len(machines) > 1:
        note += " Several machines are mixed here: compare steps, not seconds."
    note += f" {facts.engines_differ(section.groups)}".rstrip()
    rows = [row(group, section, goal) for group in section.groups]
    if any(values["shared_device"] for values in rows):
        note += f" {SHARED}"
    return Table(
        name=f"targets-{section.slug}",
        title=f"Time to a validation {unit} of {wording.metric(goal, section.metric)}: {heading(section)}",
        columns=[
            Column("label", "model", left=True, head=True, chip=True, link="model", wrap=True),
            Column("epochs", "epochs"),
            Column("reached", "reached", "reached_text", more=("runs",), note="Runs that reached the target."),
            Column("seconds", "median time", "seconds_text", note="Training time alone."),
            Column("steps", "median steps", "steps_text"),
            Column(
                "area", f"mean {unit} over training", "area_text", note="Area under the validation curve over steps."
            ),
            Column(
                "area_low",
                "95 % interval",
                "area_interval_text",
                more=("area_high",),
                note="Of that mean, over finished runs.",
            ),
        ],
        rows=rows,
        note=note,
        heading=f"Time to a validation {unit} of {wording.metric(goal, section.metric)}",
    )
