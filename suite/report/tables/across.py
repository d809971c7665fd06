"""Models across tasks: interquartile mean of normalised scores, and mean rank. Few tasks separate few models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from suite.record import PERFECT
from suite.report import content, wording
from suite.report.evidence.entries import Array
from suite.report.evidence.groups import OWN_BUDGET, Group, Section
from suite.report.evidence.statistics import ALPHA, SEED
from suite.report.tables.leaderboard import interval_text
from suite.report.tables.table import Column, Table

RESAMPLES = 2_000


def normalised(score: float, *, chance: float, higher_is_better: bool) -> float:
    """A score on a scale where a constant guess has 0 and a perfect score 1."""
    return (score - chance) / (1 - chance) if higher_is_better else (chance - score) / chance


def interquartile_mean(values: Array, axis: int | None = None) -> Any:
    """Mean of the middle half (a quarter is cut at each end), as in rliable (Agarwal et al., NeurIPS 2021)."""
    return stats.trim_mean(values, 0.25, axis=axis)


def stratified_interval(tasks: Sequence[Array]) -> tuple[float, float]:
    """95 % percentile bootstrap of the interquartile mean; seeds are drawn within each task."""
    rng = np.random.default_rng(SEED)
    drawn = [values[rng.integers(0, values.size, size=(RESAMPLES, values.size))] for values in tasks]
    means = interquartile_mean(np.concatenate(drawn, axis=1), axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def critical_difference(models: int, tasks: int) -> float:
    """Nemenyi's critical difference of mean ranks at 5 % (Demšar 2006)."""
    q = stats.studentized_range.ppf(1 - ALPHA, models, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(models * (models + 1) / (6 * tasks)))


def suites(sections: Sequence[Section]) -> dict[tuple[str, str], list[Section]]:
    """(track, preset) -> one section a task: the one with most ranked models, then most seeds, then by name."""
    held: dict[tuple[str, str], dict[str, Section]] = {}
    for section in sections:
        perfect = PERFECT.get(section.metric)
        if len(section.ranked) < 2 or perfect is None or section.chance in (None, perfect):
            continue
        kind = (section.track, _protocol(section))
        known = held.setdefault(kind, {}).get(section.variant.task)
        if known is None or _weight(section) > _weight(known):
            held[kind][section.variant.task] = section
    return {kind: list(found.values()) for kind, found in held.items()}


def _protocol(section: Section) -> str:
    """The words that sections have to share to be put together: full protocol, or the budget and what differs.

    Full is each recipe's own number of epochs, all of the data, and the options that the task's protocol has.
    """
    changed = content.departures(section.variant.task, section.options)
    cut = any(key.endswith("_examples") or key == "max_length" for key in changed)
    other = any(not key.endswith("_examples") and key != "max_length" for key in changed)
    if section.budget == OWN_BUDGET and not cut and not other:
        return "full protocol"
    return section.budget + (" on part of the data" if cut else "") + (" with other data or options" if other else "")


def _weight(section: Section) -> tuple[int, int, str]:
    return len(section.ranked), len(section.seeds), section.name


def common(sections: Sequence[Section]) -> tuple[list[Section], list[str]]:
    """Sections and models such that every model is ranked in every section, as many as possible of both.

    Of the candidates "all models ranked in at least k sections, and the sections that rank all of them" the one with
    the largest product of sections and models is taken; more models win a tie.
    """
    where = [{group.run.model for group in section.ranked} for section in sections]
    counts = Counter(model for models in where for model in models)
    best: tuple[list[Section], list[str]] = ([], [])
    for wanted in sorted(set(counts.values())):
        models = [model for model in wording.model_order(counts) if counts[model] >= wanted]
        kept = [section for section, ranked in zip(sections, where) if set(models) <= ranked]
        if len(models) > 1 and len(kept) * len(models) > len(best[0]) * len(best[1]):
            best = (kept, models)
    return best


def _scores(section: Section, model: str, count: int) -> Array:
    """Normalised scores of the first ``count`` seeds."""
    group = _ranked(section, model)
    chance = float(section.chance or 0.0)
    own = [group.scores[seed] for seed in sorted(section.seeds)[:count]]
    every = [score for other in section.ranked for score in other.scores.values()]
    scale = partial(normalised, chance=chance, higher_is_better=section.higher_is_better)
    lost = min([0.0, *(scale(score) for score in every if score is not None)])  # a diverged run: no better than any
    return np.array([lost if score is None else scale(score) for score in own])


def _ranked(section: Section, model: str) -> Group:
    return next(group for group in section.ranked if group.run.model == model)


def tables(sections: Sequence[Section]) -> list[Table]:
    """One table a track and protocol with at least two tasks and two models in common; none otherwise."""
    found = []
    for (track, kind), members in suites(sections).items():
        kept, models = common(members)
        if len(kept) > 1 and all(section.seeds for section in kept):
            found.append(_table(track, kind, kept, models))
    return found


def _table(track: str, kind: str, sections: Sequence[Section], models: Sequence[str]) -> Table:
    ranks = np.array(
        [stats.rankdata([float(_ranked(section, model).rank or 0.0) for model in models]) for section in sections]
    )
    count = min(len(section.seeds) for section in sections)  # as many a task, so that tasks weigh the same
    rows = []
    for index, model in enumerate(models):
        tasks = [_scores(section, model, count) for section in sections]
        low, high = stratified_interval(tasks)
        rows.append(
            _row(model, float(interquartile_mean(np.concatenate(tasks))), low, high, float(ranks[:, index].mean()))
        )
    rows.sort(key=lambda row: (-row["iqm"], row["title"]))
    names = "; ".join(f"{section.name}, {section.budget}" for section in sections)
    difference = critical_difference(len(models), len(sections))
    return Table(
        name=f"across-{wording.slug(track)}-{wording.slug(kind)}",
        title=f"{len(sections)} tasks together: track {track}, {kind}",
        columns=[
            Column("title", "model", left=True, head=True, chip=True, link="model"),
            Column(
                "iqm", "interquartile mean", "iqm_text", note="Of normalised scores: 0 a constant guess, 1 perfect."
            ),
            Column("low", "95 % interval", "interval_text", more=("high",), note="Bootstrap over seeds within tasks."),
            Column("mean_rank", "mean rank", "rank_text"),
        ],
        rows=rows,
        note=f"Tasks: {names}; the first {count} seeds of each. {len(sections)} tasks separate few models: at 5 % two"
        f" mean ranks would have to lie {difference:.1f} apart (Nemenyi) to be told from each other. The interval"
        " speaks for these tasks alone, not for tasks that are not here.",
    )


def _row(model: str, iqm: float, low: float, high: float, rank: float) -> Mapping[str, Any]:
    return {
        "model": model,
        "title": wording.model_title(model),
        "iqm": iqm,
        "iqm_text": f"{iqm:.3f}",
        "low": low,
        "high": high,
        "interval_text": interval_text(low, high, "mse"),
        "mean_rank": rank,
        "rank_text": f"{rank:.2f}",
    }
