"""Records as pandas tables."""

from __future__ import annotations

import json

import numpy as np
import pytest

from suite.report import load_curves, load_pairs, load_profiles, load_runs, load_scores, load_targets
from suite.report.evidence import frames
from suite.report.evidence.entries import entry
from suite.report.render import render
from suite.runs import canonical
from suite.store import Store
from tests import report_records as make


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Three models, two tasks, five seeds."""
    root = tmp_path_factory.mktemp("frames") / "results"
    make.fill(root, models=("cornn", "lstm", "tanh"))
    return root


def test_runs_curves_and_profiles_load_as_tables(grid):
    runs, curves, profiles = load_runs(grid), load_curves(grid), load_profiles(grid)
    assert len(runs) == 30 and set(runs["run.model"]) == {"cornn", "lstm", "tanh"}
    assert len(curves) == 30 * 12
    one = next(Store(grid).records())
    mine = curves[curves["id"] == one["id"]]
    assert mine["valid"].tolist() == [row["valid"] for row in one["curve"]]
    assert mine["grad_norm.q0.5"].tolist() == [row["grad_norm"][2] for row in one["curve"]]
    run = one["run"]
    assert {key: set(mine[key]) for key in ("track", "hidden_size", "epochs", "options")} == {
        "track": {run["track"]}, "hidden_size": {run["recipe"]["hidden_size"]}, "epochs": {run["budget"]["epochs"]},
        "options": {canonical(run["task_options"])},
    }  # fmt: skip
    got = profiles[(profiles["id"] == one["id"]) & (profiles["epoch"] == 0) & (profiles["block"] == 0)]
    assert got["t"].tolist() == one["profiles"][0]["t"] and got["t"].dtype == np.int64
    assert got["norm"].tolist() == one["profiles"][0]["norms"][0]
    assert runs.loc[runs["id"] == one["id"], "run.recipe.lr"].item() == one["run"]["recipe"]["lr"]


def test_all_three_tables_begin_with_the_same_columns(grid):
    runs, curves, profiles = load_runs(grid), load_curves(grid), load_profiles(grid)
    named = ["id", "group", "model", "task", "seed", "track", "options", "hidden_size", "epochs", "status"]
    for table in (runs, curves, profiles):
        assert list(table.columns[: len(named)]) == named
    assert not runs.columns.has_duplicates and {"error", "machine", "run.model", "run.seed"} <= set(runs.columns)
    assert runs.groupby("model").size().to_dict() == {"cornn": 10, "lstm": 10, "tanh": 10}
    first = curves.groupby("id")[named[1:]].first()
    assert first.equals(runs.set_index("id")[named[1:]].loc[first.index])


def test_a_folder_that_is_not_there_is_said(tmp_path):
    for read_them in (load_runs, load_curves, load_profiles):
        with pytest.raises(FileNotFoundError, match=r"wanted a results folder, got .*resluts"):
            read_them(tmp_path / "resluts")
        assert read_them(tmp_path).columns[:3].tolist() == ["id", "group", "model"] and read_them(tmp_path).empty


def test_null_in_a_curve_is_a_missing_number():
    made = make.record(status="diverged")
    found = frames.curves([entry(made)])
    assert found["valid"].isna().sum() == 1 and found["valid"].dtype == np.float64


def test_blocks_have_the_names_that_the_model_gave_them():
    """Records of before names were kept have numbers alone."""
    named = make.record(make.run("cornn"), blocks=["y", "z"])
    found = frames.profiles([entry(named), entry(make.record(make.run("lstm"), blocks=[]))])
    names = found.groupby(["model", "block"])["block_name"].unique().map(list).to_dict()
    assert names[("cornn", 0)] == ["y"] and names[("cornn", 1)] == ["z"] and names[("lstm", 0)] == ["block 0"]


@pytest.mark.parametrize(
    ("load", "stem", "key"),
    [(load_scores, "leaderboard-", "mean"), (load_pairs, "pairs-", "p"), (load_targets, "targets-", "steps")],
)
def test_what_is_loaded_is_what_the_tables_of_the_report_hold(grid, tmp_path, load, stem, key):
    render(grid, tmp_path, formats=("json",), warn=pytest.fail)
    table, seen = load(grid), 0
    for section, mine in table.groupby("section"):
        full = "-full" if stem == "leaderboard-" else ""
        written = json.loads((tmp_path / "tables" / f"{stem}{section}{full}.json").read_text())["rows"]
        known = [name for name in written[0] if name in mine.columns]
        assert {key, "label"} <= set(known) or {"a", "b", key} <= set(known)
        for name in known:
            assert [None if value != value else value for value in mine[name]] == [row[name] for row in written], name
        seen += len(written)
    assert seen == len(table) > 0
    assert list(table.columns[:5]) == ["section", "task", "options", "variant", "track"]
    assert not [name for name in table.columns if name.endswith("_text")] and not table.columns.has_duplicates


def test_pairs_name_models_and_may_be_of_one_alone(grid):
    pairs = load_pairs(grid)
    assert set(zip(pairs["model_a"], pairs["model_b"])) == {("cornn", "lstm"), ("cornn", "tanh"), ("lstm", "tanh")}
    mine = load_pairs(grid, against="tanh")
    assert set(zip(mine["model_a"], mine["model_b"])) == {("tanh", "cornn"), ("tanh", "lstm")}
    with pytest.raises(ValueError, match=r"against: unknown model among the records 'tahn'.*tanh"):
        load_pairs(grid, against="tahn")


def test_recipes_of_one_model_are_pairs_too(tmp_path):
    for lr in (0.1, 0.01, 0.001):
        for seed in range(6):
            record = make.record(make.run("lstm", seed=seed, recipe={"lr": lr}))
            record["metrics"]["test"] = 0.9 - lr + 0.001 * seed
            Store(tmp_path).put(record)
    assert load_pairs(tmp_path).empty, "one model has no pair"
    found = load_pairs(tmp_path, recipes="lstm")
    assert len(found) == 3 and set(found["model_a"]) == set(found["model_b"]) == {"lstm"}
    rates = [[float(label.split("lr=")[1].rstrip("]")) for label in found[side]] for side in ("a", "b")]
    assert found["difference"].tolist() == pytest.approx([b - a for a, b in zip(*rates)])
    assert found["wins"].tolist() == [6 if a < b else 0 for a, b in zip(*rates)]
    assert load_pairs(tmp_path, recipes="lstm")["p"].isna().all(), "three pairs take seven seeds"
    with pytest.raises(ValueError, match="recipes: unknown model among the records 'gru'"):
        load_pairs(tmp_path, recipes="gru")
    with pytest.raises(ValueError, match="wanted against or recipes, got both"):
        load_pairs(tmp_path, recipes="lstm", against="lstm")


def test_scores_and_targets_join_the_runs_by_group(grid):
    runs, scores, targets = load_runs(grid), load_scores(grid), load_targets(grid)
    means = runs[runs["status"] == "done"].groupby("group")["metrics.test"].mean()
    assert scores.set_index("group")["mean"].to_dict() == pytest.approx(means.to_dict())
    assert set(targets["group"]) <= set(scores["group"])


def test_computed_tables_without_rows_have_their_columns(grid, tmp_path):
    for load in (load_pairs, load_targets):
        assert list(load(tmp_path).columns) == list(load(grid).columns)
    Store(tmp_path).put(make.record(make.run()))
    assert load_pairs(tmp_path)["p"].empty and not load_scores(tmp_path)["mean"].empty


def test_computed_tables_of_no_records_are_empty(tmp_path):
    for load in (load_scores, load_pairs, load_targets):
        assert load(tmp_path).empty and load(tmp_path).columns[0] == "section"
        with pytest.raises(FileNotFoundError, match=r"wanted a results folder, got .*resluts"):
            load(tmp_path / "resluts")
