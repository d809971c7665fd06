"""Published figures beside ours: what stands beside what, differences, verdicts, curves."""

from __future__ import annotations

import csv
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from scipy import stats

from suite.report import wording
from suite.report.evidence import published
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.tables import beside, comparisons, leaderboard
from suite.report.tables.table import comma_separated
from tests import report_records as make

COMPARABLE = {"options": {"train_examples": None, "test_examples": None}, "recipe": {"hidden_size": 256}, "epochs": 120}


def entries(*records):
    return [entry(record) for record in records]


def group_of(scores, *, model="cornn", task="psmnist", last=None, sources=None, **changes):
    """One group whose runs have these test metrics."""
    made = []
    for seed, score in enumerate(scores):
        status = "diverged" if score is None else "done"
        record = make.record(make.run(model, task, seed, **(COMPARABLE | changes)), status=status, sources=sources)
        record["metrics"] |= {"test": score, "test_last": score if last is None else last}
        made.append(record)
    return sections(entries(*made))[0].groups[0]


def figure(**changes):
    """The published log of coRNN on psMNIST (one run, last epoch), changed."""
    (found,) = [f for f in published.figures() if f.task == "psmnist" and f.kind == "single"]
    return replace(found, **changes)


def test_the_cited_table_is_complete_and_of_our_models_and_tasks():
    figures = published.figures()
    assert len(figures) >= 40
    for item in figures:
        assert item.model in wording.MODEL_TITLES and item.task in wording.TASK_TITLES
        assert 0 < item.value < 1 and item.source and item.kind in ("single", "mean", "best", "unknown")
        assert "memory" not in item.source


def test_options_that_a_comparison_rests_on_exist():
    from suite.names import resolve

    for item in published.figures():
        plugin = resolve("task", item.task)
        assert set(item.requires) <= {*plugin.schema, *plugin.fixed}, item


def test_a_figure_of_the_best_epoch_on_test_data_is_not_comparable():
    found = beside.compare(group_of([0.972, 0.974, 0.976]), figure(selection="best_test"))
    assert found.verdict == "not comparable"
    assert found.reasons == "at the best test epoch there, at the best validation epoch here"


@pytest.mark.parametrize("kind", ["unknown", "best", "mean", "single"])
def test_equal_scores_are_a_range_of_no_width(kind):
    """At chance all seeds may have the same accuracy; four of 0.1 have no variance at all, three have by rounding."""
    theirs = figure(kind=kind, n=5 if kind == "mean" else None, sd=0.0 if kind == "mean" else None, value=0.1)
    found = beside.compare(group_of([0.1] * 4), theirs)
    assert found.verdict == ("within" if kind in ("mean", "single") else "not comparable")
    assert "None runs" not in found.reasons and "too far" not in found.reasons


@pytest.mark.parametrize(("name", "chance", "spread", "wide"), [
    ("accuracy", 0.1, 0.2, True), ("accuracy", 0.1, 0.17, False), ("mse", 0.5, 0.2, True), ("mse", 0.5, 0.05, False),
    ("MAE", 0.5, 9.0, False), ("accuracy", None, 0.9, False)])  # fmt: skip
def test_how_wide_a_range_may_be(name, chance, spread, wide):
    group = group_of([0.5, 0.5, 0.5])
    for one in group.entries:
        one.record["metrics"] |= {"name": name, "chance": chance}
    assert beside._too_wide(0.4, 0.4 + spread, group) is wide


def test_a_verdict_names_the_range_that_it_rests_on():
    scores = [0.972, 0.974, 0.976, 0.973]
    half = stats.t.ppf(0.975, 3) * np.std(scores, ddof=1) * (1 + 1 / 4) ** 0.5
    ends = " to ".join(f"{100 * (np.mean(scores) + sign * half):.2f}" for sign in (-1, 1))
    found = beside.compare(group_of(scores), figure(selection="best_valid"))
    assert found.reasons == f"{ends}, 95 % prediction interval for one run from 4 seeds"
    found = beside.compare(group_of(scores), figure(selection="unknown"))
    assert found.verdict == "within" and found.reasons.endswith("; which epoch's score is not stated there")


@pytest.mark.parametrize("scores", [(0.972, 0.973, 0.33), (0.93, 0.95, 0.97)])
def test_seeds_so_far_apart_that_nearly_everything_lies_within_give_no_verdict(scores):
    """One that fell makes a range from below 0 to above 1."""
    found = beside.compare(group_of(list(scores)), figure())
    assert found.verdict == "not comparable" and "our seeds are too far apart for a verdict: " in found.reasons
    mean = figure(kind="mean", n=10, sd=0.01, value=0.961, selection="best_valid")
    assert ("too far apart" in beside.compare(group_of(list(scores)), mean).reasons) is (min(scores) < 0.5)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([0.972, 0.974, 0.976, 0.973], "within"),
        ([0.92, 0.921, 0.922, 0.923], "below"),
        ([0.99, 0.991, 0.992, 0.993], "above"),
    ],
)
def test_verdicts_against_a_single_run(scores, verdict):
    found = beside.compare(group_of(scores), figure())
    assert found.verdict == verdict
    assert found.difference == pytest.approx(np.mean(scores) - 0.9734)
    assert "prediction interval" in found.reasons


def test_a_verdict_against_a_mean_is_welchs_test():
    theirs = figure(kind="mean", n=10, sd=0.01, value=0.961, selection="best_valid")
    rng = np.random.default_rng(0)
    for shift in (-0.03, -0.012, -0.008, 0.0, 0.009, 0.03):
        scores = list(0.961 + shift + rng.normal(0, 0.004, 6))
        p = stats.ttest_ind_from_stats(
            np.mean(scores), np.std(scores, ddof=1), 6, 0.961, 0.01, 10, equal_var=False
        ).pvalue
        verdict = beside.compare(group_of(scores), theirs).verdict
        assert (verdict == "within") == (p >= 0.05)
        assert verdict in ("within", "above" if shift > 0 else "below")


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ({"recipe": {"hidden_size": 64}}, {}, "other hidden size (64 here, 256 there)"),
        ({}, {"hidden_units": None}, "hidden size not stated there"),
        ({"options": {"data": "digits5k"}}, {}, "data=digits5k here, mnist there"),
        ({"options": {"permutation_seed": 7}}, {}, "permutation_seed=7 here, 12008 there"),
        ({"options": {"train_examples": 100}}, {}, "train_examples=100 here, none there"),
        ({"epochs": 12}, {}, "fewer epochs (12 here, 120 there)"),
        ({"epochs": 1000}, {}, "more epochs (1000 here, 120 there)"),
        ({"sources": {"lr": "tuned: 12 trials"}}, {}, "tuned here"),
        ({"sources": {"dt": "tuned: 12 trials"}}, {}, "tuned here"),
        ({"sources": {"gamma": "adapted: another task"}}, {}, "published for another task or size here"),
        ({"track": "tuned"}, {}, "track tuned here"),
        ({"precision": "float64"}, {}, "precision float64 here"),
        ({}, {"kind": "mean", "n": None, "sd": 0.01}, "spread or number of runs not stated"),
        ({"max_seconds": 5.0}, {}, "stopped by time here"),
        ({}, {"kind": "best", "n": 10}, "best of 10 runs there, a mean here"),
        ({}, {"kind": "unknown"}, "not stated there whether best"),
        ({}, {"kind": "mean", "sd": None}, "spread or number of runs not stated"),
        ({}, {"differs": "other split there"}, "other split there"),
        ({"sources": {"lr": "set: on the command line"}}, {}, "set by hand here: lr"),
        ({"sources": {"lr": "default: untuned, of the suite"}}, {}, "untuned recipe here"),
        ({"sources": {"lr": "adapted: another task"}}, {}, "published for another task or size here"),
    ],
)
def test_what_makes_figures_incomparable_is_said(ours, theirs, reason):
    found = beside.compare(group_of([0.97, 0.971, 0.972], **ours), figure(**theirs))
    assert found.verdict == "not comparable" and reason in found.reasons
    assert found.difference is not None


@pytest.mark.parametrize(
    ("sources", "kind"),
    [
        ({}, "published"),
        ({"lr": "tuned: 12 trials"}, "tuned here"),
        ({"hidden_size": "set: on the command line"}, "adapted"),
        ({"epsilon": "set: on the command line"}, "published, changed by hand"),
        ({"lr": "set: on the command line"}, "set by hand"),
    ],
)
def test_the_column_recipe_says_what_was_changed(sources, kind):
    assert leaderboard.recipe_kind(group_of([0.97], sources=sources)) == kind


def test_one_seed_and_diverged_seeds_get_no_verdict():
    assert beside.compare(group_of([0.97]), figure()).reasons == "1 seed here, a verdict needs 3"
    assert beside.compare(group_of([0.97, 0.971]), figure()).reasons == "2 seeds here, a verdict needs 3"
    found = beside.compare(group_of([0.97, 0.971, None]), figure())
    assert found.verdict == "not comparable" and found.reasons == "2 seeds here, a verdict needs 3"
    found = beside.compare(group_of([0.97, 0.971, 0.972, None]), figure())
    assert found.verdict == "not comparable" and found.reasons == "1 diverged here"


def test_a_last_epoch_figure_stands_beside_our_last_epoch():
    found = beside.compare(group_of([0.97, 0.971], last=0.95), figure(selection="last"))
    assert found.ours == pytest.approx(0.95)
    assert beside.compare(group_of([0.97, 0.971], last=0.95), figure(selection="best_valid")).ours == pytest.approx(
        0.9705
    )


def test_cornn_on_psmnist_at_128_units_has_a_value_but_no_verdict():
    (section,) = sections(entries(*[make.record(make.run(seed=seed)) for seed in range(4)]))
    found = beside.beside(section)
    assert found and {comparison.verdict for comparison in found} == {"not comparable"}
    (headline,) = beside.headlines(section).values()
    assert headline.published.value == 0.966 and "recipe not published" in headline.reasons


def test_a_figure_of_unknown_training_gets_no_verdict():
    group = group_of([0.972, 0.974, 0.976, 0.973])
    assert beside.compare(group, figure()).verdict == "within"
    unknown = beside.compare(group, figure(epochs=None))
    assert (unknown.verdict, unknown.reasons) == ("not comparable", "epochs not stated there (120 here)")


@pytest.mark.parametrize("options", [{"data": "digits5k"}, {"train_examples": 1000}])
def test_other_data_has_no_published_figure_beside_it(options):
    made = [make.record(make.run("lstm", seed=seed, options=options)) for seed in (0, 1)]
    (section,) = sections(entries(*made))
    assert beside.beside(section) == [] and beside.headlines(section) == {}
    (full,) = sections(entries(*[make.record(make.run("lstm", seed=seed)) for seed in (0, 1)]))
    assert beside.beside(full) != []


@pytest.mark.parametrize(
    ("model", "task", "options"),
    [("lstm", "imdb", {"max_length": 200}), ("lstm", "imdb", {"train_examples": 1000}),
     ("cornn", "noisy_cifar", {"length": 40})],
)  # fmt: skip
def test_shortened_data_has_no_published_figure_beside_it(model, task, options):
    (short,) = sections(entries(make.record(make.run(model, task, options=options))))
    (full,) = sections(entries(make.record(make.run(model, task))))
    assert beside.beside(short) == [] and beside.beside(full) != []


def test_another_split_is_named_as_a_reason():
    (section,) = sections(entries(make.record(make.run("lstm", "har2", options={"split": "pooled"}))))
    assert all("split=pooled here, random there" in one.reasons for one in beside.beside(section))


def test_of_an_ablation_one_recipe_stands_beside_published_figures():
    def made(epsilon):
        run = make.run(task="har2", recipe={"hidden_size": 64, "epsilon": epsilon})
        return make.record(run, sources={"epsilon": "set: by hand"})

    ablated = [made(epsilon) for epsilon in (2.0, 8.0, 32.0)]
    (section,) = sections(entries(*ablated))
    (first,) = {comparison.group.label for comparison in beside.beside(section)}
    assert first == section.primaries[0].label and len(beside.unheld(section)) == 2
    table = comparisons.published_table(section)
    assert "2 further recipes of the same model, set by hand, left out." in table.note
    (alone,) = sections(entries(ablated[0]))
    assert beside.unheld(alone) == [] and "set by hand here: epsilon" in beside.beside(alone)[0].reasons


def test_the_leaderboards_figure_is_the_one_of_the_same_size():
    group = group_of([0.9, 0.91], model="lstm")
    (section,) = sections(group.entries)
    (headline,) = beside.headlines(section).values()
    assert headline.published.hidden_units == 256


def test_published_curves_lie_over_runs_of_the_same_size_on_full_data_only():
    def curves(**changes):
        return published.curves_for(sections(entries(make.record(make.run(**changes))))[0])

    big = {"hidden_size": 256}
    assert curves() == [] and curves(recipe=big, options={"data": "digits5k"}) == []
    (curve,) = curves(recipe=big)
    assert curve.epoch.tolist() == list(range(1, 25)) and curve.valid[0] == pytest.approx(0.1027)
    (full,) = curves(recipe=big, task="smnist", epochs=120)
    assert full.valid.size == 120 and full.valid[:2].tolist() == [0.5223, 0.6043]


def test_the_interval_beside_a_figure_of_the_last_epoch_is_of_our_last_epochs():
    group = group_of([0.97, 0.971, 0.972])
    for shift, one in zip((-0.01, 0.0, 0.01), group.entries):
        one.record["metrics"]["test_last"] = 0.9 + shift
    found = beside.compare(group, figure(selection="last"))
    assert found.scores == pytest.approx((0.89, 0.90, 0.91))
    (section,) = sections(group.entries)
    rows = [row for row in comparisons.published_table(section).rows if row["ours"] == pytest.approx(0.9)]
    half = stats.t.ppf(0.975, 2) * 0.01 / 3**0.5
    assert rows and all(row["low"] == pytest.approx(0.9 - half) for row in rows)


def test_values_and_spreads_have_the_unit_that_their_row_names():
    text = files("suite.report").joinpath("published.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    spread = [(row, figure) for row, figure in zip(rows, published.figures(), strict=True) if row["sd"]]
    assert spread
    for row, item in spread:
        assert item.sd / item.value == pytest.approx(float(row["sd"]) / float(row["value"]))
        assert comparisons.printed(item).count("±") == 1


def test_the_leaderboards_figure_is_a_comparable_one_where_there_is_one(monkeypatch):
    others = [figure(hidden_units=256, kind="best", value=0.99), figure(value=0.97)]
    monkeypatch.setattr(beside, "figures", lambda: tuple(others))
    group = group_of([0.97, 0.971, 0.972])
    (section,) = sections(group.entries)
    (headline,) = beside.headlines(section).values()
    assert headline.verdict != "not comparable" and headline.published.value == 0.97


def test_the_list_of_published_figures_keeps_their_standard_deviations_as_numbers():
    figures = published.figures()
    table = comparisons.cited(figures, name="cited", title="All")
    assert table is not None
    read = list(csv.DictReader(comma_separated(table).splitlines()))
    assert [row["sd"] or None for row in read] == [None if one.sd is None else str(one.sd) for one in figures]
    assert any(row["sd"] for row in read)
