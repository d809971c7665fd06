"""Ours beside published figures: the difference always, a verdict only where both numbers mean the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from suite.record import PERFECT
from suite.report import wording
from suite.report.evidence import facts
from suite.report.evidence.entries import Entry
from suite.report.evidence.groups import Group, Section
from suite.report.evidence.published import Published, figures
from suite.report.evidence.statistics import prediction_interval

VERDICTS = ("within", "below", "above", "not comparable")
WIDEST = 0.2  # of the way from a constant guess to a perfect score: in a wider range "within" says nothing
FEWEST = 3  # seeds: with two the interval is so wide (t = 12.7) that nearly everything lies within
# Options that change the data.
_DATA = ("data", "train_examples", "valid_examples", "test_examples", "max_length", "length")


@dataclass(frozen=True)
class Comparison:
    """One of our groups beside one published figure.

    Attributes:
        group: ours.
        published: theirs.
        ours: our figure under the same selection of the epoch (test at best validation, or at the last epoch).
        difference: ours - published, None without a finished run.
        verdict: one of VERDICTS.
        reasons: why there is no comparison, or what the verdict rests on.
        scores: our runs' figures under that selection: what ``ours`` is the mean of.
    """

    group: Group
    published: Published
    ours: float | None
    difference: float | None
    verdict: str
    reasons: str
    scores: tuple[float, ...] = ()


def _score(entry: Entry, selection: str) -> float | None:
    metrics = entry.record["metrics"]
    value = metrics["test_last"] if selection == "last" else metrics["test"]
    return float(value) if entry.status == "done" and value is not None else None


def _obstacles(group: Group, figure: Published) -> list[str]:
    """Why the two numbers do not mean the same thing; empty where they do."""
    run = group.run
    reasons = []
    options = {key: wording.option(value) for key, value in run.task_options.items()}
    for key, wanted in figure.requires.items():
        if options.get(key, wanted) != wanted:
            reasons.append(f"{key}={options[key]} here, {wanted} there")
    units = run.recipe.get("hidden_size")
    if figure.hidden_units is None:
        reasons.append("hidden size not stated there")
    elif figure.hidden_units != units:
        reasons.append(f"other hidden size ({wording.option(units)} here, {figure.hidden_units} there)")
    if run.track != "paper":
        reasons.append(f"track {run.track} here")
    kinds = {group.source_kind(key) for key in group.entries[0].record["sources"]}
    if by_hand := group.by_hand:
        reasons.append(f"set by hand here: {', '.join(by_hand)}")
    if group.source_kind("lr") == "default":
        reasons.append("untuned recipe here")
    elif "tuned" in kinds:
        reasons.append("tuned here")
    elif "adapted" in kinds:
        reasons.append("recipe published for another task or size here")
    if figure.differs:
        reasons.append(figure.differs)
    if figure.epochs is None:
        reasons.append(f"epochs not stated there ({facts.epochs(group)} here)")
    elif facts.epochs(group) != figure.epochs:
        words = "fewer" if facts.epochs(group) < figure.epochs else "more"
        reasons.append(f"{words} epochs ({facts.epochs(group)} here, {figure.epochs} there)")
    if run.precision != "float32":
        reasons.append(f"precision {run.precision} here")
    if run.budget.max_seconds is not None:
        reasons.append("training stopped by time here")
    if figure.selection == "best_test":
        reasons.append("at the best test epoch there, at the best validation epoch here")
    if figure.kind == "best":
        reasons.append(f"best of {figure.n or 'several'} runs there, a mean here")
    elif figure.kind == "unknown":
        reasons.append("not stated there whether best, mean or one run")
    elif figure.kind == "mean" and (figure.n is None or figure.sd is None):
        reasons.append("spread or number of runs not stated there")
    return reasons


def compare(group: Group, figure: Published) -> Comparison:
    """Our group beside one published figure: difference, verdict and reasons.

    A published single run is compared with the 95 % prediction interval for one run of ours; a published mean
    with the 95 % Welch interval of the difference of means.
    """
    scores = [score for entry in group.done if (score := _score(entry, figure.selection)) is not None]
    ours = float(np.mean(scores)) if scores else None
    difference = None if ours is None else ours - figure.value
    reasons = _obstacles(group, figure)
    if not scores:
        reasons.append("no finished run here")
    elif len(scores) < FEWEST:
        reasons.append(f"{len(scores)} {'seed' if len(scores) == 1 else 'seeds'} here, a verdict needs {FEWEST}")
    elif group.diverged:
        reasons.append(f"{len(group.diverged)} diverged here")
    if not reasons:
        low, high, basis = _range(scores, figure)
        if _too_wide(low, high, group):
            reasons.append(f"our seeds are too far apart for a verdict: {basis}")
    if reasons:
        return Comparison(group, figure, ours, difference, "not comparable", "; ".join(reasons), tuple(scores))
    verdict = "within" if low <= figure.value <= high else ("below" if figure.value > high else "above")
    return Comparison(group, figure, ours, difference, verdict, basis, tuple(scores))


def _range(scores: Sequence[float], figure: Published) -> tuple[float, float, str]:
    """Where the published figure would lie if nothing but chance told it from ours, and that in words."""
    if figure.kind == "single":
        low, high = prediction_interval(scores) or (np.nan, np.nan)
        basis = f"prediction interval for one run from {len(scores)} seeds"
    else:
        low, high = welch_range(scores, figure)
        basis = f"Welch interval, {len(scores)} seeds against {figure.n} runs"
    ends = " to ".join(wording.metric(end, figure.metric) for end in (low, high))
    unsaid = "; which epoch's score is not stated there" if figure.selection == "unknown" else ""
    return low, high, f"{ends}, 95 % {basis}{unsaid}"


def _too_wide(low: float, high: float, group: Group) -> bool:
    """Whether the range holds a good part of all that is between a constant guess and a perfect score."""
    if group.chance is None or group.metric not in PERFECT:
        return False
    return high - low > WIDEST * abs(PERFECT[group.metric] - group.chance)


def welch_range(scores: Sequence[float], figure: Published) -> tuple[float, float]:
    """Means of theirs that a Welch t interval of the difference would not tell from ours."""
    ours, theirs = np.asarray(scores), float(figure.sd or 0.0) ** 2 / float(figure.n or 1)
    mine = float(ours.var(ddof=1)) / ours.size
    error = np.sqrt(mine + theirs)
    if error == 0:
        return float(ours.mean()), float(ours.mean())
    freedom = (mine + theirs) ** 2 / (mine**2 / (ours.size - 1) + theirs**2 / (max(2, figure.n or 2) - 1))
    half = float(stats.t.ppf(0.975, freedom) * error)
    return float(ours.mean()) - half, float(ours.mean()) + half


def beside(section: Section) -> list[Comparison]:
    """Every group of the section beside every published figure for its model and task.

    A variant on other data (bundled digits, a part of the examples) is another task: no published figure stands beside
    it. Of a model's recipes that were set by hand only the first stands beside published figures: an ablation has many
    (``unheld`` names them).
    """
    found = []
    left_out = {group.key for group in unheld(section)}
    for group in [group for group in section.groups if group.key not in left_out]:
        for figure in figures():
            ours = (group.run.model, section.variant.task)
            if (figure.model, figure.task) == ours and not _other_data(group, figure):
                found.append(compare(group, figure))
    return found


def unheld(section: Section) -> list[Group]:
    """Groups that are not a model's first in the section and whose recipes were set by hand."""
    return [group for group in section.groups if not group.primary and group.by_hand]


def _other_data(group: Group, figure: Published) -> bool:
    options = {key: wording.option(value) for key, value in group.run.task_options.items()}
    return any(options.get(key, wanted) != wanted for key, wanted in figure.requires.items() if key in _DATA)


def headlines(section: Section) -> dict[str, Comparison]:
    """For each group (by key) the one published figure of the leaderboard.

    A comparable one, else one of the same hidden size, else the first named.
    """

    def preference(comparison: Comparison) -> tuple[bool, bool]:
        size = comparison.group.run.recipe.get("hidden_size")
        return comparison.verdict == "not comparable", comparison.published.hidden_units != size

    found: dict[str, Comparison] = {}
    for comparison in sorted(beside(section), key=preference):
        found.setdefault(comparison.group.key, comparison)
    return found
