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


def near_chance(section: Section) -> bool:
    """Whether no run went a tenth of the way from its seed's constant guess to a perfect score."""
    if section.metric not in PERFECT:
        return False
    perfect = PERFECT[section.metric]
    ways = [
        (score - guess) / (perfect - guess) if perfect != guess else 1.0
        for group in section.groups
        for seed, score in group.scores.items()
        if score is not None and (guess := group.guesses.get(seed)) is not None
    ]
    return bool(ways) and max(ways) <= 0.1
