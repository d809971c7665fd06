"""What a table says of runs that differ in engine, data or epochs, and where no row beats a constant guess."""

from __future__ import annotations

import pytest

from suite.report import style, summary, wording
from suite.report.evidence import facts
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.plots import learning
from suite.report.tables import across, beside, leaderboard, notes, targets
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
    ("scores", "told"), [((0.51, 0.49, 0.5), True), ((0.531, 0.53, 0.532), False), ((0.4, 0.41, 0.42), True)]
)
def test_where_no_row_is_better_than_a_constant_guess_that_is_told(scores, told):
    records = [make.record(make.run(seed=seed)) for seed in range(3)]
    for record, score in zip(records, scores):
        record["metrics"] |= {"test": score, "chance": 0.5}
    assert ("A constant guess has 50.00: no row is shown to be better." in notes.notes(section(*records))) is told
    assert "constant guess has" not in notes.notes(section(records[0])), "one seed shows nothing either way"


def test_errors_at_chance_are_told_where_lower_is_better():
    records = [make.record(make.run(task="adding", seed=seed)) for seed in range(3)]
    for record, score in zip(records, (0.166, 0.17, 0.168)):
        record["metrics"]["test"] = score
    assert facts.at_chance(section(*records))
    records[0]["metrics"]["test"] = 0.001  # solved with one seed, which the interval of the mean does not show
    assert not facts.at_chance(section(*records))
    for record in records:
        record["metrics"]["test"] = 0.07
    assert not facts.at_chance(section(*records))


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
    assert not facts.at_chance(section(*records)) and across.suites([section(*records)]) == {}


def test_an_error_of_zero_is_no_guess():
    records = [make.record(make.run(task="adding", seed=seed)) for seed in range(3)]
    for record, score in zip(records, (0.166, 0.9, 0.0)):
        record["metrics"]["test"] = score
    assert not facts.at_chance(section(*records))
