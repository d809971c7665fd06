"""What a table says of runs that differ in engine, data or epochs, and of runs no better than a constant guess."""

from __future__ import annotations

import math
import re

import pytest

from suite.plan import Request, expand
from suite.report import style, summary, wording
from suite.report.evidence import facts
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.evidence.statistics import describe
from suite.report.plots import learning
from suite.report.tables import across, beside, comparisons, leaderboard, notes, targets
from suite.runs import UNBOUNDED
from suite.work import failures
from tests import report_records as make

LOOKS = style.looks([])


def section(*records):
    (found,) = sections([entry(record) for record in records])
    return found


def test_times_of_different_engines_are_told():
    runs = make.run("cornn"), make.run("lstm")
    same = section(*(make.record(run, engine="native") for run in runs))
    other = section(*(make.record(run, engine=name) for run, name in zip(runs, ("native", "reference"))))
    said = "Engines differ (native, reference): times are theirs as much as the models'."
    assert said in notes.notes(other) and "Engines" not in notes.notes(same)
    assert said in targets.table(other).note and "Engines" not in targets.table(same).note
    with style.drawing():
        captions = [learning.against_seconds(one, LOOKS, "Example CPU 2.5 GHz, 1 thread") for one in (same, other)]
    assert [said in plot.caption for plot in captions] == [False, True]


def test_other_data_under_the_same_options_is_told():
    """Within a row and between rows: what ``Task.facts`` says is no part of a run's id."""
    then, now = ({"data": "mine", "sha256": digest} for digest in ("aa", "bb"))
    records = [make.record(make.run(seed=seed), data=data) for seed, data in ((0, then), (1, then), (2, now))]
    assert "Runs report different data" in notes.notes(section(*records))
    assert "different data" not in notes.notes(section(*records[:2]))
    assert failures.other_data(records) == ["psmnist"] and failures.other_data(records[:2]) == []
    elsewhere = make.record(make.run(task="har2"), data=now)
    assert failures.other_data([records[0], elsewhere]) == []


def test_where_time_ends_a_run_its_epochs_are_those_it_did():
    run = make.run(epochs=UNBOUNDED, max_seconds=8.0, track="matched-time")
    records = []
    for seed, length in enumerate((3, 5, 4)):
        made = make.record(make.run(epochs=length, seed=seed))
        own = make.run(epochs=UNBOUNDED, max_seconds=8.0, track="matched-time", seed=seed)
        records.append(made | {"id": own.id, "run": own.identity()})
    found = section(*records)
    (group,) = found.groups
    assert facts.epochs(group) == 4 and group.run.budget.epochs == run.budget.epochs
    assert found.length == "8 s" and wording.budget(12, 8.0) == "8 s (at most 12 epochs)"
    assert leaderboard.row(group, found)["epochs"] == 4 and targets.table(found).rows[0]["epochs"] == 4
    reasons = [reason for one in beside.headlines(found).values() for reason in one.reasons.split("; ")]
    assert not any(str(UNBOUNDED) in reason for reason in reasons)
    assert str(UNBOUNDED) not in summary.table(records)


@pytest.mark.parametrize(
    ("scores", "near"), [((0.51, 0.49, 0.5), True), ((0.53, 0.54, 0.56), False), ((0.4, 0.41, 0.54), True)]
)
def test_a_table_says_what_a_constant_guess_has_and_whether_any_run_got_away_from_it(scores, near):
    records = [make.record(make.run(seed=seed)) for seed in range(3)]
    for record, score in zip(records, scores):
        record["metrics"] |= {"test": score, "chance": 0.5}
    told = "A constant guess has 50.00: no run went a tenth of the way from there to a perfect score."
    assert (told in notes.notes(section(*records))) is near
    assert ("A constant guess has 50.00." in notes.notes(section(*records))) is not near
    assert told in notes.notes(section(records[0])), "one seed alone too"


def test_errors_at_chance_are_told_where_lower_is_better():
    records = [make.record(make.run(task="adding", seed=seed)) for seed in range(3)]
    for record, score in zip(records, (0.166, 0.17, 0.168)):
        record["metrics"]["test"] = score
    assert facts.near_chance(section(*records))
    records[0]["metrics"]["test"] = 0.001  # solved with one seed, which the interval of the mean does not show
    assert not facts.near_chance(section(*records))
    for record in records:
        record["metrics"]["test"] = 0.07
    assert not facts.near_chance(section(*records))


def test_a_score_is_held_against_its_own_seeds_guess():
    """Each data seed of the adding problem draws its own test examples: a constant guess has another error there."""
    records = [make.record(make.run(task="adding", seed=seed)) for seed in range(3)]
    for record, score, guess in zip(records, (0.150, 0.166, 0.176), (0.155, 0.168, 0.178)):
        record["metrics"] |= {"test": score, "chance": guess}
    found = section(*records)
    assert found.chance == pytest.approx(0.167) and found.groups[0].guesses == {0: 0.155, 1: 0.168, 2: 0.178}
    said = "A constant guess has 0.167 (0.155 to 0.178, by the test examples of the seed): no run went a tenth"
    assert facts.near_chance(found) and said in notes.notes(found)
    records[2]["metrics"]["test"] = 0.157  # beside the mean of the guesses it would not be a tenth of the way
    assert not facts.near_chance(section(*records))


def test_a_constant_guess_does_not_depend_on_the_order_of_rows():
    """Older records of the adding problem hold what it is expected to be."""
    made = [make.record(make.run(model, "adding")) for model in ("cornn", "lstm")]
    for order in (1, -1):
        for record, guess in zip(made[::order], (0.155, 0.167)):
            record["metrics"]["chance"] = guess
        assert section(*made).chance == pytest.approx(0.161)


@pytest.mark.parametrize("parameters", [9, 134_154, 2_009_004, 99_999_999, 2_500_000_000])
@pytest.mark.parametrize("score", [(0.0533, 0.0921), (1.234e-7, 2.2e-8), (0.000123456, 0.0000219)])
def test_columns_of_the_summary_stay_apart(parameters, score):
    records = [make.record(make.run("antisymmetric-gated", "adding", seed)) for seed in range(2)]
    for sign, record in zip((1, -1), records):
        record["size"]["parameters"] = parameters
        record["metrics"]["test"] = score[0] + sign * score[1] / 2**0.5
    lines = summary.table(records).splitlines()
    assert max(map(len, lines)) <= summary.WIDTH
    head, row = lines[-2:]
    assert len(row.split()) == len(head.replace("test MSE", "MSE").split()) == 8


def test_a_chance_that_is_perfect_costs_no_table():
    """A test set of one class: a constant guess is always right there."""
    records = [make.record(make.run(model, "har2", seed)) for model in ("cornn", "lstm") for seed in range(2)]
    for record in records:
        record["metrics"]["chance"] = 1.0
    assert not facts.near_chance(section(*records)) and across.suites([section(*records)]) == {}


def test_an_error_of_zero_is_no_guess():
    records = [make.record(make.run(task="adding", seed=seed)) for seed in range(3)]
    for record, score in zip(records, (0.166, 0.9, 0.0)):
        record["metrics"]["test"] = score
    assert not facts.near_chance(section(*records))


def test_an_interval_ends_where_no_score_can_be():
    wide = describe([0.1, 0.2, 0.7], "accuracy", higher_is_better=True)
    assert (wide.low, wide.high) == (0.0, pytest.approx(1.0, abs=0.2)) and wide.high <= 1.0
    error = describe([1e-4, 2e-4, 0.16], "mse", higher_is_better=False)
    assert error.low == 0.0 and error.high > 0.16
    own = describe([1e-4, 2e-4, 0.16], "MAE", higher_is_better=False)
    assert own.low < 0 and own.high == error.high  # of a metric whose range is not known


def test_values_that_rounding_alone_parts_have_an_interval_of_no_width():
    found = describe([*[0.7] * 9, math.nextafter(0.7, 1)], "accuracy", higher_is_better=True)
    assert found.low == found.high == pytest.approx(0.7)  # the bootstrap alone gives no number there


def test_a_recipe_is_set_by_hand_where_every_seed_says_so():
    run = [make.run(seed=seed) for seed in range(2)]
    said, silent = ({"lr": text} for text in ("set: on the command line", "default: of the suite"))
    one = section(make.record(run[0], sources=said), make.record(run[1], sources=silent))
    both = section(*(make.record(each, sources=said) for each in run))
    assert [found.groups[0].by_hand for found in (one, both)] == [[], ["lr"]]


def test_a_default_that_is_written_out_keeps_its_source():
    sets = ((None, "lr_drop_epoch", 0), (None, "clip_norm", 1.0))
    (plain,), (set_,) = (expand(Request(models=("tanh",), tasks=("imdb",), seeds=(0,), sets=s)) for s in ((), sets))
    assert set_.sources["lr_drop_epoch"] == plain.sources["lr_drop_epoch"] == "default: of the suite"
    assert set_.sources["clip_norm"] == "set: on the command line"


def test_verdicts_are_counted_with_what_stands_in_their_way():
    made = section(*(make.record(make.run(seed=seed, recipe={"hidden_size": 64})) for seed in range(2)))
    said = comparisons.verdicts([comparisons.published_table(made)])
    assert re.match(r"Comparisons: \d+; \d+ not comparable\. What most often stands in the way of a verdict: ", said)
    assert "other hidden size (" in said
