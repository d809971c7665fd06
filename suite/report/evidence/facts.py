"""What the runs of a table have in common and what not: engines, data, epochs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from suite.record import PERFECT
from suite.report.evidence.groups import Group, Section
from suite.runs import canonical


def engines(groups: Sequence[Group]) -> list[str]:
    """The engines that trained them."""
    return sorted({str(entry.record["where"]["engine"]) for group in groups for entry in group.entries})


def engines_differ(groups: Sequence[Group]) -> str:
    """A sentence where more than one engine trained them, else nothing: seconds then tell of the code too."""
    found = engines(groups)
    return f"Engines differ ({', '.join(found)}): times are theirs as much as the models'." if len(found) > 1 else ""


def data_differ(section: Section) -> bool:
    """Whether runs say different things of their data (``Task.facts``)."""
    said = (entry.record["where"]["data"] for group in section.groups for entry in group.entries)
    return len({canonical(data) for data in said if data}) > 1


def epochs(group: Group) -> int:
    """Epochs of a run: those that it was given; where time ended it, those that it did (median over runs)."""
    if group.run.budget.max_seconds is None:
        return group.run.budget.epochs
    done = [int(entry.curve["epoch"][-1]) for entry in group.entries if entry.curve["epoch"].size]
    return round(statistics.median(done)) if done else 0


def at_chance(section: Section) -> bool:
    """Whether no row is shown to be better than a constant guess, though some have an interval.

    A row of one seed has none: there the score itself is asked. A run that went a tenth of the way from there to a
    perfect score is better, whatever the interval of a mean over runs that failed and runs that did not.
    """
    rows = [group.spread for group in section.groups if group.spread.mean is not None]
    if section.chance is None or section.metric not in PERFECT or not any(row.low is not None for row in rows):
        return False
    way = PERFECT[section.metric] - section.chance
    scores = [score for group in section.groups for score in group.scores.values() if score is not None]
    if way == 0 or any((score - section.chance) / way > 0.1 for score in scores):
        return False
    higher = section.higher_is_better
    ends = [row.mean if row.low is None or row.high is None else row.low if higher else row.high for row in rows]
    return all(end is None or (end <= section.chance if higher else end >= section.chance) for end in ends)
