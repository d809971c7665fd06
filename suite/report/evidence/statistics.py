"""Statistics over seeds: spreads, tests, corrections. What each number means: docs/statistics.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import stats

from suite.record import DIGITS

LEVEL = 0.95
ALPHA = 0.05
BOOTSTRAP_FROM = 10  # seeds from which the BCa bootstrap replaces the t interval
RESAMPLES = 9_999
_RANGES = {"accuracy": (0.0, 1.0), "mse": (0.0, np.inf)}  # of scores
_ANY = (-np.inf, np.inf)
EXACT_UP_TO = 13  # pairs: 2**13 sign flips are enumerated, more are drawn
SEED = 20_100_951  # fixed: the same records give the same page, byte for byte


@dataclass(frozen=True)
class Spread:
    """A sample over seeds.

    Attributes:
        n: values.
        mean: their mean, None without values.
        sd: standard deviation with n - 1, None below two values.
        low: lower end of the 95 % interval of the mean, None below two values.
        high: its upper end.
        method: ``t``, ``BCa``, or None where there is no interval.
        best: the best single value; shown apart, never the headline.
    """

    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    method: str | None
    best: float | None


def interval(values: Sequence[float]) -> tuple[float, float, str] | None:
    """The 95 % interval of the mean: Student's t below ten values, BCa bootstrap from ten.

    A bootstrap of few values is too narrow: it divides by n in place of n - 1 and takes normal quantiles for those of
    t. Its level is raised for both (Hesterberg, "What teachers should know about the bootstrap", The American
    Statistician 69, 2015, expanded intervals), which brings that of normal scores to the width of Student's t.

    Returns:
        (low, high, method), or None below two values: one seed has no interval. Values that are all equal
        give an interval of width zero.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:
        return None
    mean = float(sample.mean())
    method = "t" if sample.size < BOOTSTRAP_FROM else "BCa"
    if np.ptp(sample) <= 1e-12 * np.abs(sample).max():  # of values that differ by rounding alone BCa is no number
        return mean, mean, method
    if method == "t":
        half = float(stats.t.ppf((1 + LEVEL) / 2, sample.size - 1) * stats.sem(sample))
        return mean - half, mean + half, method
    found = stats.bootstrap(
        (sample,),
        np.mean,
        confidence_level=_expanded(sample.size),
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high), method


def _expanded(n: int) -> float:
    """The level of a bootstrap of n values that has the width of Student's t at ``LEVEL``."""
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, n - 1))
    return float(2 * stats.norm.cdf(np.sqrt(n / (n - 1)) * quantile) - 1)


def describe(values: Sequence[float], metric: str = "", *, higher_is_better: bool) -> Spread:
    """Mean, standard deviation, interval and best of a sample over seeds.

    Args:
        values: a score a seed.
        metric: its name. Of one whose range is known the interval is cut there: what lies beyond covers no mean that
            could be, so what is left covers the true one as often.
        higher_is_better: which end is best.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not sample.size:
        return Spread(0, None, None, None, None, None, None)
    best = float(sample.max() if higher_is_better else sample.min())
    found = interval(values)
    if found is None:
        return Spread(1, float(sample[0]), None, None, None, None, best)
    low, high, method = found
    low, high = max(low, _RANGES.get(metric, _ANY)[0]), min(high, _RANGES.get(metric, _ANY)[1])
    return Spread(sample.size, float(sample.mean()), float(sample.std(ddof=1)), low, high, method, best)


def prediction_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where one further run is expected with 95 % confidence (normal scores): mean ± t·sd·sqrt(1 + 1/n).

    A published single run is compared with this; the interval of the mean is too narrow for that.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < 2:
        return None
    n = sample.size
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * sample.std(ddof=1) * np.sqrt(1 + 1 / n))
    return float(sample.mean()) - half, float(sample.mean()) + half


def probability_of_improvement(a: Sequence[float], b: Sequence[float], *, higher_is_better: bool) -> float:
    """How often a run of ``a`` beats a run of ``b``, over all pairs of runs; a tie counts half.

    A diverged run may be given as -inf (or +inf where lower is better): worse than any other.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not first.size or not second.size:
        raise ValueError("wanted at least one run on both sides")
    # Compared, not subtracted: inf - inf is no number, but two diverged runs are a tie.
    above, below = (first[:, None] > second[None]).mean(), (first[:, None] < second[None]).mean()
    better = above if higher_is_better else below
    return float(better + (1 - above - below) / 2)


def grain(scores: Sequence[float]) -> float:
    """How far apart two scores of equal runs may lie at most: records round to nine significant digits."""
    largest = max((abs(score) for score in scores), default=0.0)
    return float(10.0 ** (np.floor(np.log10(largest)) + 1 - DIGITS)) if largest > 0 else 0.0


def tied(values: Sequence[float], apart: float) -> list[float]:
    """The values, where those that lie no further than ``apart`` from the next smaller one are the same number."""
    same: dict[float, float] = {}
    first, last = 0.0, -np.inf
    for value in sorted(values):
        if value - last > apart:
            first = value
        same[value], last = first, value
    return [same[value] for value in values]


def sign_flip_p(differences: Sequence[float], *, grain: float = 0.0) -> float:
    """Two-sided permutation test of a zero mean: the signs of paired differences are flipped.

    Exact up to 13 pairs, 9,999 drawn flips above that (with the usual +1). Pairs that tie stay as they are.

    Args:
        differences: first score less second, one a pair.
        grain: of the scores (``grain``). Sums that their rounding may have parted are equal: accuracies are counts, of
            which many flips have the same sum, and missing those would make p too small.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = values.size
    if n == 0:
        raise ValueError("wanted at least one pair")
    observed = abs(values.sum())
    # Each score is off by half a grain at most, each difference by one, each of two sums by n; and float64's own part.
    tolerance = 2 * n * grain + 1e-12 * max(1.0, float(np.abs(values).sum()))
    if n <= EXACT_UP_TO:
        flips = np.array(list(product((1.0, -1.0), repeat=n)))
        return float((np.abs(flips @ values) >= observed - tolerance).mean())
    flips = np.random.default_rng(SEED).choice((1.0, -1.0), size=(RESAMPLES, n))
    return float((1 + (np.abs(flips @ values) >= observed - tolerance).sum()) / (RESAMPLES + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p values (Holm 1979); the order is kept."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for position, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted[index] = running
    return adjusted


def can_reach(pairs: int, comparisons: int) -> bool:
    """Whether the sign-flip test with ``pairs`` pairs can be significant at 5 % after Holm's first step."""
    return pairs > 0 and comparisons * 2.0 ** (1 - pairs) <= ALPHA
