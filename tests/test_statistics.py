"""The report's statistics against independent oracles, and properties that must hold for any sample."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from suite.report.evidence import pairs, statistics
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.tables import across, targets
from suite.work.training.measure import digits
from tests import report_records as make

finite = st.floats(-1e3, 1e3, allow_nan=False, width=32)


def samples(low=2, high=14):
    return st.lists(finite, min_size=low, max_size=high)


def test_t_interval_is_scipys():
    values = [0.951, 0.962, 0.948, 0.957, 0.955]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    low, high, method = statistics.interval(values)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert method == "t"


def test_nine_seeds_take_t_and_ten_take_bca():
    values = list(np.random.default_rng(0).normal(0.9, 0.02, 10))
    assert statistics.interval(values[:9])[2] == "t"
    assert statistics.interval(values)[2] == "BCa"


def bca_by_hand(values, resamples, rng):
    """Efron's bias-corrected and accelerated interval, written out from its definition, expanded as Hesterberg says."""
    sample = np.asarray(values)
    n = sample.size
    means = sample[rng.integers(0, n, (resamples, n))].mean(axis=1)
    bias = stats.norm.ppf(((means < sample.mean()).mean() + (means <= sample.mean()).mean()) / 2)
    left_out = np.array([np.delete(sample, i).mean() for i in range(n)])
    gap = left_out.mean() - left_out
    acceleration = (gap**3).sum() / (6 * (gap**2).sum() ** 1.5)
    ends = []
    for z in stats.t.ppf([0.025, 0.975], n - 1) * (n / (n - 1)) ** 0.5:
        shifted = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        ends.append(np.quantile(means, shifted))
    return ends


def test_bca_agrees_with_a_brute_force_one():
    values = np.random.default_rng(3).gamma(2.0, 1.0, 16)  # skewed, so that the correction matters
    low, high, _ = statistics.interval(values)
    expected = bca_by_hand(values, 200_000, np.random.default_rng(5))
    plain = np.quantile(np.random.default_rng(6).choice(values, (200_000, 16)).mean(axis=1), [0.025, 0.975])
    width = expected[1] - expected[0]
    assert (low, high) == pytest.approx(expected, abs=0.02 * width)
    assert abs(expected[1] - plain[1]) > 0.03 * width  # else the test could not tell BCa from percentiles


def test_from_nine_seeds_to_ten_the_interval_does_not_shrink_for_a_reason_of_method():
    samples = np.random.default_rng(8).normal(size=(40, 10))
    ratios = []
    for values in samples:
        low, high, method = statistics.interval(list(values))
        students = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        ratios.append((high - low) / (students.high - students.low))
        assert method == "BCa"
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)  # at 95 % a bootstrap of ten has 0.83 of that width


def test_intervals_repeat_exactly():
    values = list(np.random.default_rng(1).normal(size=20))
    assert statistics.interval(values) == statistics.interval(values)


@pytest.mark.parametrize("size", [2, 9, 10, 30])
def test_equal_scores_have_an_interval_of_no_width(size):
    low, high, _ = statistics.interval([0.25] * size)
    assert low == high == 0.25


def test_one_seed_has_neither_spread_nor_interval():
    one = statistics.describe([0.9], higher_is_better=True)
    assert (one.n, one.mean, one.best) == (1, 0.9, 0.9)
    assert one.sd is one.low is one.high is one.method is None
    assert statistics.describe([], higher_is_better=True).mean is None


def test_best_follows_the_metrics_direction():
    assert statistics.describe([1.0, 2.0], higher_is_better=True).best == 2.0
    assert statistics.describe([1.0, 2.0], higher_is_better=False).best == 1.0


def test_coverage_of_the_t_interval():
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(2000):
        low, high, _ = statistics.interval(rng.normal(3.0, 2.0, 5))
        hits += low <= 3.0 <= high
    assert 0.935 < hits / 2000 < 0.965


def test_coverage_of_the_prediction_interval():
    rng = np.random.default_rng(12)
    hits = 0
    for _ in range(2000):
        low, high = statistics.prediction_interval(rng.normal(3.0, 2.0, 5))
        hits += low <= rng.normal(3.0, 2.0) <= high
    assert 0.935 < hits / 2000 < 0.965


@given(samples())
def test_mean_lies_in_its_interval(values):
    found = statistics.describe(values, higher_is_better=True)
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert found.low - slack <= found.mean <= found.high + slack
    assert found.sd == pytest.approx(np.std(values, ddof=1))


@given(samples(2, 9), st.floats(0.1, 10), finite)
def test_t_interval_moves_with_scale_and_shift(values, scale, shift):
    low, high, _ = statistics.interval(values)
    moved = statistics.interval([scale * value + shift for value in values])
    slack = 1e-6 * (1 + abs(shift) + scale * max(map(abs, values)))
    assert moved[:2] == pytest.approx((scale * low + shift, scale * high + shift), abs=slack)


@given(samples(1, 8), samples(1, 8))
def test_probability_of_improvement_is_mann_whitneys_u(a, b):
    expected = stats.mannwhitneyu(a, b, method="asymptotic").statistic / (len(a) * len(b))
    got = statistics.probability_of_improvement(a, b, higher_is_better=True)
    assert got == pytest.approx(expected)
    assert statistics.probability_of_improvement(b, a, higher_is_better=True) == pytest.approx(1 - got)
    assert statistics.probability_of_improvement(a, b, higher_is_better=False) == pytest.approx(1 - got)


def test_diverged_runs_lose_and_tie_with_each_other():
    worst = -math.inf
    assert statistics.probability_of_improvement([0.5], [worst], higher_is_better=True) == 1.0
    assert statistics.probability_of_improvement([worst], [worst], higher_is_better=True) == 0.5


def sign_flips_by_hand(values):
    total = abs(sum(values))
    sums = [abs(sum(s * v for s, v in zip(signs, values))) for signs in itertools.product((1, -1), repeat=len(values))]
    return sum(value >= total for value in sums) / len(sums)


@given(st.lists(st.integers(-60, 60), min_size=1, max_size=9))  # whole numbers: ties are ties on both sides
def test_sign_flip_test_agrees_with_brute_force(values):
    assert statistics.sign_flip_p(values) == pytest.approx(sign_flips_by_hand(values))


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=9), st.integers(300, 3000))
def test_sign_flips_of_stored_accuracies_agree_with_the_test_on_counts(counts, examples):
    """Records round an accuracy to nine digits: flips whose sums are equal on whole numbers stay equal."""
    first, second = ([digits(right[k] / examples) for right in counts] for k in (0, 1))
    named = {name: dict(enumerate(side)) for name, side in (("a", first), ("b", second))}
    exact = sign_flips_by_hand([a - b for a, b in counts])
    step = statistics.grain([*first, *second])
    assert statistics.sign_flip_p([a - b for a, b in zip(first, second)], grain=step) == pytest.approx(exact)
    (found,) = pairs.compare(named, higher_is_better=True)
    assert found.p is None or found.p == pytest.approx(exact)


@pytest.mark.parametrize("size", [1e-4, 0.3, 1.0, 7e5])
def test_a_grain_is_no_less_than_what_rounding_moves(size):
    for value in np.random.default_rng(1).uniform(-size, size, 200):
        assert 2 * abs(digits(value) - value) <= statistics.grain([value, size]) <= 2e-8 * size


def test_means_that_differ_by_rounding_tie():
    thirds = [digits(part / 7) for part in (1, 2, 4)], [digits(1 / 3)] * 3
    means = [float(np.mean(runs)) for runs in thirds] + [0.5001]
    assert len(set(means)) == 3
    assert statistics.tied(means, statistics.grain(means)) == [min(means)] * 2 + [0.5001]
    assert statistics.tied([], 0.1) == [] and statistics.tied([2.0, 1.0], 0.0) == [2.0, 1.0]
    assert statistics.grain([]) == statistics.grain([0.0]) == 0.0


def test_sign_flip_test_agrees_with_scipys_permutation_test():
    a, b = np.random.default_rng(4).normal(0.3, 1, (2, 10)) * [[1], [0.5]]
    expected = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert statistics.sign_flip_p(a - b) == pytest.approx(expected)


def test_many_pairs_are_drawn_and_close_to_exact():
    values = np.random.default_rng(8).normal(0.4, 1, 14)
    exact = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False
    ).pvalue
    assert statistics.sign_flip_p(values) == pytest.approx(exact, abs=0.01)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p_values):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert statistics.holm(p_values) == pytest.approx(list(expected))


def test_reach_is_what_the_smallest_adjusted_p_says():
    for n in range(1, 14):
        for comparisons in (1, 3, 21):
            best = statistics.holm([statistics.sign_flip_p([1.0] * n)] + [1.0] * (comparisons - 1))[0]
            assert statistics.can_reach(n, comparisons) == (best <= 0.05)


def scores(values, start=0):
    return dict(enumerate(values, start))


def test_five_seeds_are_too_few_for_a_verdict():
    found = pairs.compare({"a": scores([0.9] * 5), "b": scores([0.1] * 5)}, higher_is_better=True)
    assert found[0].verdict == "too few seeds with different scores"
    assert found[0].p is None
    assert found[0].difference == pytest.approx(0.8)


def test_ten_seeds_can_decide_and_the_direction_counts():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.9, 0.01, 10), rng.normal(0.8, 0.01, 10)
    up = pairs.compare({"a": scores(a), "b": scores(b)}, higher_is_better=True)[0]
    down = pairs.compare({"a": scores(a), "b": scores(b)}, higher_is_better=False)[0]
    assert up.verdict == "a better" and down.verdict == "b better"
    assert up.p == pytest.approx(2 / 2**10)
    assert up.improvement == 1.0 and down.improvement == 0.0
    assert (up.wins, down.wins) == (10, 0)


def test_only_shared_seeds_are_compared():
    found = pairs.compare({"a": scores([0.9, 0.8, 0.7]), "b": scores([0.5, 0.4], 2)}, higher_is_better=True)[0]
    assert (found.shared, found.pairs) == (1, 1)
    assert found.difference == pytest.approx(0.2)
    assert found.verdict == "one shared seed: no verdict"
    none = pairs.compare({"a": scores([0.9]), "b": scores([0.5], 7)}, higher_is_better=True)[0]
    assert none.verdict == "no shared seeds" and none.difference is None and none.improvement is None


def test_a_diverged_seed_takes_the_verdict_away():
    a = scores([*[0.9] * 9, None])
    found = pairs.compare({"a": a, "b": scores([0.1] * 10)}, higher_is_better=True)[0]
    assert found.verdict.startswith("no verdict: diverged")
    assert found.improvement == pytest.approx(0.9)
    assert (found.pairs, found.wins) == (9, 9)  # the diverged run is worse than its partner


def test_what_is_told_apart_is_a_sentence():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.9, 0.001, 12), rng.normal(0.8, 0.001, 12)
    three = {"A": scores(a), "B": scores(b), "C": scores(b + 1e-5 * rng.normal(size=12))}
    said = pairs.told_apart(pairs.compare(three, higher_is_better=True))
    assert said == "A test over seeds, corrected for 3 pairs, tells apart: A better than B and C."
    equal = {"A": three["B"], "B": three["C"]}
    assert pairs.told_apart(pairs.compare(equal, higher_is_better=True)).endswith("for 1 pair, tells apart: none.")
    few = {name: scores(rng.normal(size=5)) for name in "abcdefg"}
    said = pairs.told_apart(pairs.compare(few, higher_is_better=True))
    assert said == "No test of the 21 pairs: it takes 10 seeds that both models finish, with different scores."
    ten = {name: scores(rng.normal(size=10)) for name in "abcdefg"}
    assert pairs.told_apart(pairs.compare(ten, higher_is_better=True)).startswith("A test over seeds, corrected for 21")


def test_what_a_test_cannot_say_is_told():
    tied = {"A": scores([0.5] * 10), "B": scores([0.5] * 10)}
    assert pairs.told_apart(pairs.compare(tied, higher_is_better=True)).startswith("No test of the 1 pair: it takes 6")
    lost = {"A": scores([0.9] * 9 + [0.8]), "B": scores([0.1] * 9 + [None]), "C": scores([0.5] * 10)}
    said = pairs.told_apart(pairs.compare(lost, higher_is_better=True))
    assert said.endswith(
        "tells apart: A better than C. Not tested: 2 (diverged runs, or too few seeds with different scores)."
    )


def test_a_seeds_partner_is_its_own():
    """Where data moves with the seed, A may lead on every seed and still not in every pair of runs."""
    found = pairs.compare({"a": scores([0.9, 0.5, 0.7]), "b": scores([0.8, 0.4, 0.7])}, higher_is_better=True)[0]
    assert (found.wins, found.shared) == (2, 3)
    assert found.improvement == pytest.approx((3 + 1 + 1 + 0.5) / 9)  # of nine pairs of runs


def test_pairs_are_corrected_over_the_whole_table():
    rng = np.random.default_rng(2)
    groups = {name: scores(rng.normal(mean, 0.05, 12)) for name, mean in (("a", 0.9), ("b", 0.86), ("c", 0.5))}
    found = pairs.compare(groups, higher_is_better=True)
    raw = [statistics.sign_flip_p([groups[x.a][s] - groups[x.b][s] for s in range(12)]) for x in found]
    assert [pair.p for pair in found] == pytest.approx(statistics.holm(raw))


@given(st.lists(finite, min_size=4, max_size=40))
def test_interquartile_mean_by_hand(values):
    ordered = sorted(values)
    cut = int(0.25 * len(ordered))
    assert across.interquartile_mean(np.array(values)) == pytest.approx(np.mean(ordered[cut : len(ordered) - cut]))


def test_normalised_scores():
    assert across.normalised(0.1, chance=0.1, higher_is_better=True) == 0.0
    assert across.normalised(1.0, chance=0.1, higher_is_better=True) == pytest.approx(1.0)
    assert across.normalised(1 / 6, chance=1 / 6, higher_is_better=False) == 0.0
    assert across.normalised(0.0, chance=1 / 6, higher_is_better=False) == 1.0


def test_a_lost_run_is_no_better_than_a_finished_one_across_tasks():
    records = []
    for model, values in {"cornn": [0.9, None], "lstm": [0.05, 0.5], "tanh": [0.3, 0.2]}.items():
        for seed, value in enumerate(values):
            records.append(make.record(make.run(model, seed=seed), status="diverged" if value is None else "done"))
            records[-1]["metrics"]["test"] = value
    (section,) = sections([entry(one) for one in records])
    assert across._scores(section, "cornn", 2)[1] == across._scores(section, "lstm", 2)[0] < 0


def test_stratified_interval_agrees_with_a_plain_loop():
    rng = np.random.default_rng(1)
    tasks = [rng.normal(0.7, 0.1, 5), rng.normal(0.4, 0.2, 7)]
    low, high = across.stratified_interval(tasks)
    means = []
    for _ in range(4000):
        drawn = np.sort(np.concatenate([rng.choice(task, task.size) for task in tasks]))
        means.append(drawn[3:-3].mean())
    assert (low, high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.02)


def test_critical_difference_agrees_with_scikit_posthocs():
    posthocs = pytest.importorskip("scikit_posthocs")
    models, tasks = 4, 12
    rng = np.random.default_rng(9)
    table = rng.normal(size=(tasks, models)) + np.array([0, 0.6, 1.2, 2.0])
    p_values = posthocs.posthoc_nemenyi_friedman(table).to_numpy()
    ranks = stats.rankdata(table, axis=1).mean(axis=0)
    limit = across.critical_difference(models, tasks)
    apart = {(i, j) for i in range(models) for j in range(models) if abs(ranks[i] - ranks[j]) > limit}
    significant = {(i, j) for i in range(models) for j in range(models) if p_values[i, j] < 0.05 and i != j}
    assert apart == significant
    assert significant  # else nothing was told apart


def test_critical_difference_of_demsars_table():
    # Demšar 2006, table 5: q = 1.960, 2.343, 2.569, 2.728 for 2 to 5 classifiers.
    for models, q in ((2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728)):
        expected = q * math.sqrt(models * (models + 1) / (6 * 10))
        assert across.critical_difference(models, 10) == pytest.approx(expected, rel=1e-3)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), min_size=1, max_size=15))
def test_censored_median(values):
    got = targets.censored_median(values)
    ordered = sorted(math.inf if value is None else value for value in values)
    n = len(ordered)
    expected = ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2
    assert got == (None if math.isinf(expected) else pytest.approx(expected))


def test_a_drawn_test_is_never_certain():
    """Forty equal differences: no drawn flip is as extreme, and the one that was observed counts."""
    assert statistics.sign_flip_p([0.5] * 40) == pytest.approx(1 / (statistics.RESAMPLES + 1))


def test_a_tie_is_no_evidence():
    """Six differences can reach 5 %, five and a tie cannot."""
    base, better = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    (six,) = pairs.compare({"a": scores(better), "b": scores(base)}, higher_is_better=True)
    (five,) = pairs.compare({"a": scores([*better[:5], 0.6]), "b": scores(base)}, higher_is_better=True)
    assert six.p == pytest.approx(2**-5) and six.verdict == "a better"
    assert five.pairs == 6 and five.p is None and five.verdict == "too few seeds with different scores"
