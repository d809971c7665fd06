"""Tracks: matched parameter counts, equal training time, tuned recipes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from models import MODELS
from suite import recipes
from suite.errors import DataMissing, UsageError
from suite.names import resolve
from suite.plan import UNBOUNDED, Request, expand
from suite.record import load
from suite.run import main
from suite.store import Store
from suite.work.driver import run_grid
from suite.work.estimates.matched import TOLERANCE, Matched, solve
from suite.work.estimates.sizes import Tasks, bare_model
from suite.work.executors.inline import InlineExecutor
from suite.work.job import Settings
from tests.harness.grids import Silent

DIGITS = (("psmnist", "data", "digits5k"),)


def matched(models, task="adding", **changes):
    return expand(Request(models=models, tasks=(task,), track="matched-params", **changes), match=Matched())


def count(one):
    return bare_model(one.run, Tasks().get(one.run.task, one.run.task_options)).sizes()["parameters"]


@pytest.mark.parametrize(("task", "wanted"), [("adding", 33_281), ("psmnist", 134_154)])
def test_counts_agree_within_two_percent_with_the_published_cornn(task, wanted):
    runs = matched(tuple(MODELS), task, sets=DIGITS if task == "psmnist" else ())
    counts = {one.run.model: count(one) for one in runs}
    assert counts["cornn"] == wanted
    assert all(abs(n - wanted) <= 0.02 * wanted for n in counts.values()), counts
    matched_to = f"set: matched to {wanted} parameters of cornn"
    assert all(one.sources["hidden_size"] == matched_to for one in runs if one.run.model != "cornn")
    own = [one.sources["hidden_size"].partition(":")[0] for one in runs if one.run.model == "cornn"]
    assert own == ["published"]  # its size is not changed, nor where it comes from
    assert all(one.run.track == "matched-params" for one in runs)


def test_the_solved_size_is_the_nearest_by_brute_force():
    (one,) = matched(("fastrnn",))
    task = Tasks().get("adding", one.run.task_options)

    def parameters(size):
        run = replace(one.run, recipe={**one.run.recipe, "hidden_size": size})
        return bare_model(run, task).sizes()["parameters"]

    counts = {size: parameters(size) for size in range(1, 80)}
    for wanted in (7, 100, 1_234, 5_000):
        best = min(abs(count - wanted) for count in counts.values())
        assert abs(counts[solve(one.run, task, wanted)] - wanted) == best


def test_seeds_share_the_size_and_the_rest_of_the_recipe_stays():
    paper = expand(Request(models=("lstm",), tasks=("adding",)))[0].run.recipe
    runs = matched(("lstm",), seeds=(0, 1))
    assert runs[0].run.group == runs[1].run.group
    assert {k: v for k, v in runs[0].run.recipe.items() if v != paper[k]} == {"hidden_size": 89}


def test_a_given_size_is_checked_and_not_changed():
    (one,) = matched(("lstm",), sets=(("lstm", "hidden_size", 89),))
    assert one.run.id == matched(("lstm",))[0].run.id
    assert one.sources["hidden_size"] == "set: on the command line, within 2 % of 33281 parameters of cornn"
    with pytest.raises(UsageError, match=r"wanted 33281 parameters, those of cornn, within 2 %; 40 units have 7081"):
        matched(("lstm",), sets=(("lstm", "hidden_size", 40),))


def test_a_reference_too_small_to_match_is_one_line(tmp_path):
    (tmp_path / "adding.toml").write_text(
        '[default]\nsource = "default: a test"\nhidden_size = 1\nbatch_size = 4\nepochs = 1\nlr = 0.1\n'
    )
    with pytest.raises(UsageError, match=r"lstm on adding: wanted 7 parameters.*1 units have 2\d"):
        matched(("lstm",), recipes_dir=tmp_path)
    assert abs(7 - 22) > TOLERANCE * 7


def test_missing_data_and_a_missing_matcher_are_one_line(tmp_path, capsys):
    request = Request(models=("lstm",), tasks=("har2",), track="matched-params")
    with pytest.raises(DataMissing, match="wants the sizes of har2"):
        expand(request, match=Matched(tmp_path))
    with pytest.raises(UsageError, match="wanted a matcher"):
        expand(request)
    words = ["--models", "lstm", "--tasks", "har2", "--track", "matched-params", "--data-dir", str(tmp_path)]
    assert main([*words, "--dry-run"]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_matched_params_through_the_command(tmp_path, capsys):
    words = ["--models", "tanh,cornn", "--tasks", "adding", "--track", "matched-params", "--results-dir", str(tmp_path)]
    assert main([*words, "--dry-run", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["parameters"] for row in listed] == [33_301, 33_281]


def test_matched_time_trains_until_the_time_is_used(tmp_path):
    options = {"length": 4, "epoch_steps": 2, "valid_examples": 4, "test_examples": 4}
    sets = ((None, "hidden_size", 4), *(("adding", key, value) for key, value in options.items()))
    request = Request(models=("tanh",), tasks=("adding",), track="matched-time", max_seconds=0.3, sets=sets)
    (one,) = expand(request)
    assert one.run.budget.epochs == UNBOUNDED and one.run.budget.max_seconds == 0.3
    assert not one.sources["epochs"].startswith("set:")  # the command that repeats a run names no epochs
    outcome = run_grid([one], Store(tmp_path), Settings(engine="fused"), InlineExecutor(), Silent())
    (record,) = map(load, outcome.paths)
    assert record["stop_reason"] == "max_seconds" and len(record["curve"]) > 1
    assert 0.3 <= record["seconds"]["train"] < 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "wanted --max-seconds"),
        ({"max_seconds": 9.0, "epochs": 3}, "got --epochs"),
        ({"max_seconds": 9.0, "sets": ((None, "lr_decay", "cosine"),)}, "lr_decay: wanted none on track matched-time"),
    ],
)
def test_matched_time_asks_for_seconds_and_takes_no_epochs(change, said):
    with pytest.raises(UsageError, match=said):
        expand(Request(models=("tanh",), tasks=("adding",), track="matched-time", **change))


def write(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "adding.toml").write_text(text)
    recipes.read.cache_clear()
    return folder


TUNED = '[{name}]\nsource = "tuned: 4 trials, 1 epochs each, seed 0, python -m suite.tune --models tanh"\nlr = {lr}\n'


def test_a_tuned_section_lies_over_the_packaged_recipe(tmp_path):
    extra = write(tmp_path, TUNED.format(name="tuned.tanh", lr=0.25))
    (one,) = expand(Request(models=("tanh",), tasks=("adding",), track="tuned", recipes_dir=extra))
    (paper,) = expand(Request(models=("tanh",), tasks=("adding",)))
    assert dict(one.run.recipe) == {**paper.run.recipe, "lr": 0.25}
    assert one.sources["lr"].startswith("tuned: 4 trials") and one.sources["hidden_size"].startswith("published:")
    assert one.run.id != paper.run.id


def test_without_the_track_a_tuned_section_changes_nothing(tmp_path):
    extra = write(tmp_path, TUNED.format(name="tuned.tanh", lr=0.25))
    (one,) = expand(Request(models=("tanh",), tasks=("adding",), recipes_dir=extra))
    assert one.run.id == expand(Request(models=("tanh",), tasks=("adding",)))[0].run.id


def test_a_preset_has_tuned_sections_of_its_own(tmp_path):
    both = TUNED.format(name="tuned.tanh", lr=0.25) + TUNED.format(name="quick.tuned.tanh", lr=0.5)
    extra = write(tmp_path, both)
    request = Request(models=("tanh",), tasks=("adding",), track="tuned", preset="quick", recipes_dir=extra)
    (one,) = expand(request)
    assert one.run.recipe["lr"] == 0.5 and one.run.recipe["hidden_size"] == 64
    assert one.run.task_options["length"] == 100
    write(tmp_path, TUNED.format(name="tuned.tanh", lr=0.25))
    with pytest.raises(UsageError, match=r"no \[quick.tuned.tanh\] in the recipe"):
        expand(request)


def test_a_model_that_was_not_tuned_is_one_line(tmp_path):
    extra = write(tmp_path, TUNED.format(name="tuned.tanh", lr=0.25))
    with pytest.raises(UsageError, match=r"no \[tuned.lstm\].*python -m suite.tune"):
        expand(Request(models=("lstm",), tasks=("adding",), track="tuned", recipes_dir=extra))


def test_a_file_with_a_default_of_its_own_stands_alone(tmp_path):
    extra = write(
        tmp_path, '[default]\nsource = "default: mine"\nhidden_size = 3\nbatch_size = 4\nepochs = 1\nlr = 0.1\n'
    )
    assert "cornn" not in recipes.tables("adding", extra)[1]
    assert recipes.load(resolve("model", "cornn"), "adding", extra=extra).values["lr"] == 0.1
