"""Models against each other on shared seeds: differences, probabilities of improvement, corrected tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suite.report.evidence.statistics import (
    ALPHA,
    can_reach,
    grain,
    holm,
    interval,
    probability_of_improvement,
    sign_flip_p,
)


@dataclass(frozen=True)
class Paired:
    """Model ``a`` against model ``b`` on shared seeds.

    Attributes:
        a: first model's label.
        b: second model's label.
        shared: seeds that both hold.
        pairs: shared seeds that both finished: what the difference rests on.
        difference: mean of a - b, None without pairs.
        low: lower end of its 95 % interval, None below two pairs.
        high: its upper end.
        wins: shared seeds on which a is better; a diverged run is worse than any other.
        improvement: probability that a run of a beats a run of b; diverged runs count as worst.
        p: Holm-adjusted p of the sign-flip test; None where n cannot reach significance.
        verdict: a sentence.
    """

    a: str
    b: str
    shared: int
    pairs: int
    difference: float | None
    low: float | None
    high: float | None
    wins: int
    improvement: float | None
    p: float | None
    verdict: str


Scores = Mapping[int, float | None]  # seed -> score; None: diverged


def _worst(score: float | None, higher_is_better: bool) -> float:
    return score if score is not None else (-np.inf if higher_is_better else np.inf)


def compare(groups: Mapping[str, Scores], *, higher_is_better: bool, against: str | None = None) -> list[Paired]:
    """Every pair of models on their shared seeds, with Holm's correction over all of them.

    Args:
        groups: label -> {seed: score, or None for a diverged run}.
        higher_is_better: the metric's direction.
        against: a label that stands in every pair, first: the question was of this model alone, so that there are
            fewer pairs to correct for. None: all pairs.

    Returns:
        One ``Paired`` for each pair in the order of ``groups``.
    """
    labels = list(groups)
    if against is None:
        couples = [(a, b) for i, a in enumerate(labels) for b in labels[i + 1 :]]
    else:
        couples = [(against, other) for other in labels if other != against]
    differences = {couple: _differences(groups[couple[0]], groups[couple[1]]) for couple in couples}
    step = grain([score for scores in groups.values() for score in scores.values() if score is not None])
    raw = [sign_flip_p(values.tolist(), grain=step) if values.size else 1.0 for values in differences.values()]
    adjusted = holm(raw)
    return [
        _paired(couple, groups, differences[couple], p, len(couples), higher_is_better)
        for couple, p in zip(couples, adjusted)
    ]


def _differences(a: Scores, b: Scores) -> NDArray[np.float64]:
    pairs = [(a[seed], b[seed]) for seed in sorted(set(a) & set(b))]
    return np.array([x - y for x, y in pairs if x is not None and y is not None], dtype=np.float64)


def _paired(
    couple: tuple[str, str],
    groups: Mapping[str, Scores],
    differences: NDArray[np.float64],
    p: float,
    comparisons: int,
    higher_is_better: bool,
) -> Paired:
    a, b = couple
    seeds = sorted(set(groups[a]) & set(groups[b]))
    found = interval(differences.tolist())
    improvement, wins = None, 0
    if seeds:
        sides = [[_worst(groups[side][seed], higher_is_better) for seed in seeds] for side in couple]
        improvement = probability_of_improvement(sides[0], sides[1], higher_is_better=higher_is_better)
        wins = sum((x > y) if higher_is_better else (x < y) for x, y in zip(*sides))
    reachable = can_reach(int(np.count_nonzero(differences)), comparisons)
    return Paired(
        a=a,
        b=b,
        shared=len(seeds),
        pairs=differences.size,
        difference=float(differences.mean()) if differences.size else None,
        low=found[0] if found else None,
        high=found[1] if found else None,
        wins=wins,
        improvement=improvement,
        p=p if reachable else None,
        verdict=_verdict(couple, len(seeds), differences, p if reachable else None, higher_is_better),
    )


def _verdict(
    couple: tuple[str, str],
    shared: int,
    differences: NDArray[np.float64],
    p: float | None,
    higher_is_better: bool,
) -> str:
    if shared == 0:
        return "no shared seeds"
    if shared == 1:
        return "one shared seed: no verdict"
    if differences.size < shared:
        return "no verdict: diverged runs left out of the difference"
    if p is None:
        return "too few seeds with different scores"
    if p > ALPHA:
        return "no difference shown"
    winner = couple[0] if (differences.mean() > 0) == higher_is_better else couple[1]
    return f"{winner} better"


def told_apart(found: Sequence[Paired]) -> str:
    """A sentence on what the test says of a table's pairs, or on how many seeds it would take."""
    count = len(found)
    words = f"{count} pair{'s' if count > 1 else ''}"
    tested = [pair for pair in found if pair.p is not None and not pair.verdict.startswith("no verdict")]
    if not tested:
        needed = next(n for n in range(1, 60) if can_reach(n, count))
        return f"No test of the {words}: it takes {needed} seeds that both models finish, with different scores."
    better: dict[str, list[str]] = {}
    for pair in tested:
        if pair.verdict.endswith(" better"):
            winner = pair.verdict.removesuffix(" better")
            better.setdefault(winner, []).append(pair.b if winner == pair.a else pair.a)
    clauses = [f"{winner} better than {' and '.join(losers)}" for winner, losers in better.items()]
    left = (
        f" Not tested: {count - len(tested)} (diverged runs, or too few seeds with different scores)."
        if len(tested) < count
        else ""
    )
    return f"A test over seeds, corrected for {words}, tells apart: {'; '.join(clauses) or 'none'}.{left}"
