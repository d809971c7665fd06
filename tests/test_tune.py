"""`suite.tune`: the search space, equal trials, repeatable and resumable, on validation data alone."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tomllib
from argparse import Namespace
from dataclasses import replace

import pytest

from models import MODELS
from suite import recipes
from suite.errors import UsageError
from suite.names import resolve
from suite.plan import Request, expand
from suite.record import load
from suite.store import Store
from suite.tune import main, seen_tests
from suite.work.driver import Outcome, run_grid
from suite.work.executors.inline import InlineExecutor
from suite.work.job import Settings
from suite.work.tuning import tuned
from suite.work.tuning.search import Axis, space
from suite.work.tuning.studies import ROUND, RUN_SEED, search, studies
from tests.harness.grids import Silent

MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"
RECIPE = """
[default]
source = "default: a test"
hidden_size = 4
batch_size = 40
epochs = 2
lr = 0.01
[search.default]
lr = { low = 1e-3, high = 1.0, log = true }
batch_size = { low = 20, high = 60 }
"""


def folder(tmp_path, text=RECIPE, task="parity"):
    place = tmp_path / "recipes"
    place.mkdir(exist_ok=True)
    (place / f"{task}.toml").write_text(text)
    (place / f"{TASK}.toml").write_text(text)
    recipes.read.cache_clear()
    return place


def request(tmp_path, **changes):
    return Request(models=(MODEL,), tasks=(TASK,), recipes_dir=folder(tmp_path), **changes)


def train(planned, store):
    return run_grid(planned, store, Settings(), InlineExecutor(), Silent())


def searched(tmp_path, results, *, trials, seed=0, run=train, **changes):
    found = studies(request(tmp_path, **changes), seed=seed)
    assert search(found, Store(results), trials=trials, run_grid=run) == 0
    return found[0]


def tried(study):
    return [(trial.number, dict(trial.values), trial.valid) for trial in study.trials]


# ---- the space ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["har2", "adding"])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_has_a_space_around_its_recipe(model, task):
    plugin = resolve("model", model)
    axes = space(plugin, task)
    assert "lr" in axes and len(axes) >= 2
    values = recipes.load(plugin, task).values
    assert all(axis.holds(values[key]) for key, axis in axes.items())


def test_a_models_section_lies_over_the_default_and_set_keys_are_left_out():
    axes = space(resolve("model", "cornn"), "har2", fixed={"dt"})
    assert set(axes) == {"lr", "gamma", "epsilon"}
    assert axes["lr"].low == 1e-3 and space(resolve("model", "lstm"), "har2")["lr"].low == 1e-4


def test_a_space_of_ones_own_leaves_the_packaged_ones(tmp_path):
    """A file without ``[default]`` is laid over the packaged one, search spaces too."""
    place = folder(tmp_path, '[search."tests.plugins.tiny:Leaky"]\nrate = { low = 0.1, high = 0.9 }\n', "har2")
    mine = space(resolve("model", MODEL), "har2", extra=place)
    assert set(mine) == {"lr", "rate"} and mine["lr"] == space(resolve("model", MODEL), "har2", fixed=())["lr"]
    assert space(resolve("model", "lstm"), "har2", extra=place) == space(resolve("model", "lstm"), "har2")


def test_none_lies_in_no_range():
    assert not Axis("k", whole=True, low=1, high=4).holds(None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lr = 3", "wanted { low, high, log } or"),
        ("lr = { low = 1.0 }", "wanted { low, high, log } or"),
        ("lr = { low = 2.0, high = 1.0 }", "wanted low < high, got 2.0 and 1.0"),
        ("clip_norm = { low = 0.0, high = 1.0, log = true }", "both > 0 for log"),
        ("lr = { low = 0.1, high = 1.0, log = 3 }", "wanted bool"),
        ("lr = { choices = [1.0] }", "two choices or more"),
        ("optimizer = { choices = ['adam', 3] }", "wanted str, got 3"),
        ("learning = { low = 0.1, high = 1.0 }", "unknown key 'learning'"),
        ("", "no search space"),
    ],
)
def test_a_space_that_makes_no_sense_is_one_line(tmp_path, line, said):
    text = RECIPE[: RECIPE.index("[search")] + (f"[search.default]\n{line}\n" if line else "")
    place = folder(tmp_path, text, "adding")
    with pytest.raises(UsageError) as error:
        space(resolve("model", "tanh"), "adding", extra=place)
    assert said in str(error.value)


class Proposal:
    def suggest_float(self, key, low, high, log):
        return 0.0123456789

    def suggest_int(self, key, low, high, log):
        return 7


def test_values_have_four_digits_and_stay_inside():
    assert Axis("lr", 1e-3, 1.0, log=True).suggest(Proposal()) == 0.01235
    assert Axis("lr", 1e-3, 0.012346, log=True).suggest(Proposal()) == 0.012346
    assert Axis("batch_size", 5, 9, whole=True).suggest(Proposal()) == 7


# ---- the search --------------------------------------------------------------------------------------------------


def test_the_first_trial_is_the_recipe_and_the_best_is_chosen_on_validation(tmp_path):
    study = searched(tmp_path, tmp_path / "r", trials=6)
    assert len(study.trials) == 6
    assert study.trials[0].values == {"lr": 0.01, "batch_size": 40}
    assert study.best.valid == max(trial.valid for trial in study.trials)
    assert all(20 <= trial.values["batch_size"] <= 60 for trial in study.trials)
    runs = [trial.planned.run for trial in study.trials]
    assert {run.seed for run in runs} == {RUN_SEED} and {run.track for run in runs} == {"paper"}
    assert study.trials[3].planned.sources["lr"] == "set: trial 3 of suite.tune"


def test_the_same_seed_tries_the_same_and_another_seed_another(tmp_path):
    first, again = (searched(tmp_path, tmp_path / name, trials=12) for name in "ab")
    assert tried(first) == tried(again)
    other = searched(tmp_path, tmp_path / "c", trials=3, seed=1)
    assert [t.values for t in other.trials[1:]] != [t.values for t in first.trials[1:3]]


def test_what_is_tried_does_not_hang_on_the_order_in_which_trials_end(tmp_path):
    backwards = searched(
        tmp_path, tmp_path / "b", trials=16, run=lambda planned, store: train(list(planned)[::-1], store)
    )
    assert tried(backwards) == tried(searched(tmp_path, tmp_path / "a", trials=16))


def test_a_killed_study_goes_on_and_trains_nothing_twice(tmp_path):
    whole = searched(tmp_path, tmp_path / "a", trials=10)

    def killed(planned, store):
        train(planned[:2], store)
        return Outcome(exit_code=130)

    found = studies(request(tmp_path), seed=0)
    assert search(found, Store(tmp_path / "b"), trials=10, run_grid=killed) == 130
    assert found[0].trials == []
    done = len(list(Store(tmp_path / "b").paths()))
    trained = []

    def noted(planned, store):
        trained.extend(one for one in planned if not store.has(one.run))
        return train(planned, store)

    assert tried(searched(tmp_path, tmp_path / "b", trials=10, run=noted)) == tried(whole)
    assert done == 2 and len(trained) == 8
    assert tried(searched(tmp_path, tmp_path / "b", trials=12, run=noted))[:10] == tried(whole)
    assert len(trained) == 10


def test_every_model_gets_as_many_trials_side_by_side(tmp_path):
    asked = []

    def noted(planned, store):
        asked.append([one.run.model for one in planned])
        return train(planned, store)

    both = replace(request(tmp_path), models=(MODEL, "tanh"), sets=((None, "hidden_size", 2),))
    found = studies(both, seed=0)
    search(found, Store(tmp_path / "r"), trials=ROUND + 1, run_grid=noted)
    assert [len(study.trials) for study in found] == [ROUND + 1] * 2
    assert [{name: names.count(name) for name in names} for names in asked] == [
        {MODEL: ROUND, "tanh": ROUND}, {MODEL: 1, "tanh": 1},
    ]  # fmt: skip


def test_test_figures_do_not_touch_the_search(tmp_path):
    honest = searched(tmp_path, tmp_path / "a", trials=8)

    def doctored(planned, store):
        outcome = train(planned, store)
        for one in planned:
            record = load(store.path(one.run))
            record["metrics"] |= {"test": 0.0 if record["metrics"]["test"] > 0.5 else 1.0, "test_last": 1.0}
            store.path(one.run).write_text(json.dumps(record))
        return outcome

    assert tried(searched(tmp_path, tmp_path / "b", trials=8, run=doctored)) == tried(honest)


def test_diverged_and_failed_trials_are_never_the_best(tmp_path):
    def some(planned, store):
        outcome = train(planned, store)
        for one in planned[::2]:
            path = store.path(one.run)
            path.write_text(path.read_text().replace('"status": "done"', '"status": "diverged"'))
        store.path(planned[-1].run).unlink()  # as after a failure
        return outcome

    study = searched(tmp_path, tmp_path / "r", trials=4, run=some)
    assert [trial.valid is None for trial in study.trials] == [True, False, True, True]
    assert study.best.number == 1 and math.isinf(study.trials[0].cost)


def test_on_an_error_the_best_trial_is_the_lowest(tmp_path):
    def errors(planned, store):
        outcome = train(planned, store)
        for one in planned:
            record = load(store.path(one.run))
            record["metrics"] |= {"name": "mse", "higher_is_better": False, "valid": one.run.recipe["lr"]}
            store.path(one.run).write_text(json.dumps(record))
        return outcome

    study = searched(tmp_path, tmp_path / "r", trials=4, run=errors)
    assert study.best.valid == min(trial.valid for trial in study.trials) < max(trial.valid for trial in study.trials)


def test_a_trial_whose_record_is_damaged_is_told_and_left_out(tmp_path, capsys):
    def cut(planned, store):
        outcome = train(planned, store)
        path = store.path(planned[0].run)
        path.write_text(path.read_text()[:100])
        return outcome

    study = searched(tmp_path, tmp_path / "r", trials=2, run=cut)
    assert [trial.valid is None for trial in study.trials] == [True, False]
    assert "trial 0 left out: " in capsys.readouterr().err


def test_a_study_without_a_finished_trial_has_no_best(tmp_path):
    study = searched(tmp_path, tmp_path / "r", trials=2, run=lambda planned, store: Outcome(exit_code=1))
    assert study.best is None and len(study.trials) == 2


# ---- the command and its file ------------------------------------------------------------------------------------


def test_the_written_section_is_what_track_tuned_trains(tmp_path, capsys):
    words = ["--models", "tanh,fastrnn", "--tasks", "adding", "--trials", "3", "--epochs", "1", "--executor", "inline",
             "--engine", "fused", "--results-dir", str(tmp_path / "r"), "--out", str(tmp_path / "my")]  # fmt: skip
    sets = [
        "adding.length=4",
        "adding.epoch_steps=2",
        "adding.valid_examples=8",
        "adding.test_examples=8",
        "hidden_size=3",
    ]
    for one in sets:
        words += ["--set", one]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "tanh adding trial 2 (lr=" in err and "seed 1000" not in err
    assert "done, valid " in err and "test" not in err  # nobody is tempted to pick by the test score
    table = tomllib.loads(out)
    path = tmp_path / "my" / "adding.toml"
    assert tomllib.loads(path.read_text()) == table
    assert table["tuned"]["tanh"]["source"].startswith("tuned: 3 trials, 1 epoch each, seed 0, python -m suite.tune ")
    assert "--set adding.length=4" in table["tuned"]["tanh"]["source"]
    recipes.read.cache_clear()
    (one,) = expand(Request(models=("tanh",), tasks=("adding",), track="tuned", recipes_dir=tmp_path / "my"))
    assert one.run.recipe["lr"] == table["tuned"]["tanh"]["lr"]
    assert one.sources["clip_norm"] == table["tuned"]["tanh"]["source"]
    assert one.run.recipe["hidden_size"] == 3 and one.sources["hidden_size"] == "set: by hand in that search"
    assert not (tmp_path / "r" / "records").exists()
    assert len(list((tmp_path / "r" / "tuning" / "records").rglob("*.json"))) == 6
    assert main([*words, "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["values"]["lr"] for row in listed] == [table["tuned"][m]["lr"] for m in ("tanh", "fastrnn")]
    assert [len(row["trials"]) for row in listed] == [3, 3]


def test_a_section_tuned_over_a_recipe_of_ones_own_holds_that_recipe_too(tmp_path, capsys):
    """It is read without that folder, and over the packaged recipe it would be another one."""
    words = ["--models", MODEL, "--tasks", TASK, "--trials", "2", "--epochs", "1", "--executor", "inline"]
    folders = ["--recipes", str(folder(tmp_path)), "--out", str(tmp_path / "my"), "--results-dir", str(tmp_path / "r")]
    assert main([*words, *folders]) == 0
    section = tomllib.loads(capsys.readouterr().out)["tuned"][MODEL]
    assert (section["hidden_size"], section["epochs"]) == (4, 2)
    assert section["sources"] == {"hidden_size": "default: a test", "epochs": "default: a test"}
    assert f"--recipes {tmp_path / 'recipes'}" in section["source"]
    recipes.read.cache_clear()
    (one,) = expand(Request(models=(MODEL,), tasks=(TASK,), track="tuned", recipes_dir=tmp_path / "my"))
    assert (one.run.recipe["hidden_size"], one.run.budget.epochs) == (4, 2)
    assert {key: one.run.recipe[key] for key in ("lr", "batch_size")} == {k: section[k] for k in ("lr", "batch_size")}


def test_a_file_keeps_the_sections_of_other_models(tmp_path):
    path = tmp_path / "adding.toml"
    tuned.write(path, {"tanh": "# a\n[tuned.tanh]\nlr = 1", "lstm": "[tuned.lstm]\nlr = 2"})
    tuned.write(path, {"tanh": "# b\n[tuned.tanh]\nlr = 3", "cornn": '[quick.tuned."a:b"]\nlr = 4'})
    assert tomllib.loads(path.read_text()) == {
        "tuned": {"tanh": {"lr": 3}, "lstm": {"lr": 2}}, "quick": {"tuned": {"a:b": {"lr": 4}}},
    }  # fmt: skip
    assert "# a" not in path.read_text() and "# b" in path.read_text()


@pytest.mark.parametrize("text", ["[default]\nlr = 1\n", "[tuned", "[quick.cornn]\nlr = 1\n", "quick = 5\n", "# \xff"])
def test_a_file_that_holds_more_is_refused_before_anything_is_trained(tmp_path, capsys, text):
    path = tmp_path / "x.toml"
    path.write_text(text, encoding="latin-1")
    words = ["--models", "tanh", "--tasks", "adding", "--trials", "1"]
    assert main([*words, "--out", str(path), "--results-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "--out" in said and len(said.splitlines()) == 1
    assert path.read_text(encoding="latin-1") == text and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "adding", "--trials", "0"], "wanted a whole number >= 1"),
        (
            ["--tasks", "psmnist", "--trials", "1"],
            "no search space for tanh: wanted in psmnist.toml of a folder given with --recipes a table",
        ),
        (["--tasks", "adding", "--trials", "1", "--epochs", "1", "--max-seconds", "3"], "not allowed with"),
        (["--tasks", "adding", "--trials", "1", "--seed", "-1"], "--seed: wanted"),
        (["--tasks", "adding,har2", "--trials", "1", "--out", "x.toml"], "wanted a folder for 2 tasks"),
        (["--tasks", "adding", "--trials", "1", "--set", "lr=1", "--set", "clip_norm=0"], "is set by hand"),
        (["--tasks", "adding", "--trials", "1", "--set", "lstm.lr=1"], "wanted a model or task of this call"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, words, said):
    assert main(["--models", "tanh", *words, "--results-dir", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1


def test_without_optuna_one_line_and_exit_code_2(tmp_path, project):
    code = f"""
import sys
sys.modules["optuna"] = None
from suite.tune import main, seen_tests
sys.exit(main(["--models", "tanh", "--tasks", "adding", "--trials", "1", "--results-dir", r"{tmp_path}"]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project, check=False)
    assert out.returncode == 2, out.stderr
    assert "pip install 'rnnbench[tune]'" in out.stderr and len(out.stderr.strip().splitlines()) == 1


def test_what_was_tuned_for_a_plug_in_is_found_again(tmp_path):
    from suite.tune import places

    written = places(Namespace(out=tmp_path / "my"), (TASK,))[TASK]
    assert written.name == "tests.plugins.tiny-Parity.toml"
    written.parent.mkdir()
    written.write_text(RECIPE)
    assert recipes.file_for(TASK, tmp_path / "my") == written
    by_name = tmp_path / "my" / f"{TASK}.toml"
    by_name.write_text(RECIPE)
    assert recipes.file_for(TASK, tmp_path / "my") == by_name


@pytest.mark.parametrize(
    ("task", "sets", "said"),
    [("psmnist", (("psmnist", "data", "digits5k"),), True), ("psmnist", (), False),
     ("har2", (("har2", "split", "pooled"),), True), ("har2", (), False), (TASK, (), False)],
)  # fmt: skip
def test_trials_that_see_test_examples_are_told(task, sets, said):
    lines = seen_tests(expand(Request(models=("lstm",), tasks=(task,), sets=sets)))
    assert [line.startswith(f"suite.tune: {task}: every seed draws its own test part") for line in lines] == [
        True
    ] * said
