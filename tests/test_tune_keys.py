"""`suite.tune` and the trainer's keys that a recipe leaves out where they change nothing."""

from __future__ import annotations

import tomllib

import pytest

from suite import recipes
from suite.errors import UsageError
from suite.names import resolve
from suite.plan import Request, expand
from suite.runs import LATER
from suite.store import Store
from suite.work.tuning import tuned
from suite.work.tuning.search import space
from suite.work.tuning.studies import search, studies
from tests.test_tune import MODEL, RECIPE, TASK, folder, train

BASE = RECIPE[: RECIPE.index("[search")]


def searched(place, results, *, trials, sets=()):
    request = Request(models=(MODEL,), tasks=(TASK,), recipes_dir=place, sets=sets)
    found = studies(request, seed=0)
    assert search(found, Store(results), trials=trials, run_grid=train) == 0
    return found[0]


@pytest.mark.parametrize(
    "axes",
    [
        "num_layers = { low = 1, high = 3 }",
        "sgd_nesterov = { choices = [true, false] }\nsgd_momentum = { choices = [0.0, 0.9] }",
        "optimizer = { choices = ['adam', 'sgd'] }\nsgd_momentum = { low = 0.0, high = 0.9 }",
    ],
)
def test_they_are_searched_and_kept_only_where_they_count(axes, tmp_path):
    optimizer = "" if "optimizer" in axes else "optimizer = 'sgd'\n"
    place = folder(tmp_path, f"{BASE}{optimizer}[search.default]\n{axes}\n")
    study = searched(place, tmp_path / "r", trials=8)
    assert len(study.trials) == 8 and all(trial.valid is not None for trial in study.trials)
    for trial in study.trials:
        recipe = trial.planned.run.recipe
        assert all(recipe.get(key, LATER.get(key)) == value for key, value in trial.values.items())
        assert not (recipe["optimizer"] == "adam" and "sgd_momentum" in trial.values)
    text = tuned.section(study, seed=0, command="x")
    (values,) = tomllib.loads(text)["tuned"].values()
    out = folder(tmp_path, f"{BASE}{optimizer}{text}\n")
    again = recipes.load(resolve("model", MODEL), TASK, track="tuned", extra=out).values
    assert again == {**study.best.planned.run.recipe, "epochs": 2, "test_every": 1} and "source" in values


def test_what_was_set_back_to_one_layer_is_written(tmp_path):
    place = folder(tmp_path, RECIPE.replace("[search", "num_layers = 2\n[search", 1))
    study = searched(place, tmp_path / "r", trials=2, sets=((None, "num_layers", 1),))
    assert "num_layers" not in study.best.planned.run.recipe
    out = folder(tmp_path, tuned.section(study, seed=0, command="x") + "\n")
    (one,) = expand(Request(models=(MODEL,), tasks=(TASK,), recipes_dir=out, track="tuned"))
    assert "num_layers" not in one.run.recipe


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("num_layers = { low = 0, high = 3 }", "num_layers: wanted >= 1, got 0"),
        ("sgd_momentum = { low = 0.9, high = 1.9 }", "sgd_momentum: wanted >= 0 and < 1, got 1.9"),
        ("sgd_nesterov = { choices = [true, 3] }", "sgd_nesterov: wanted bool, got 3"),
    ],
)
def test_a_range_beyond_the_keys_own_is_refused_before_a_trial(line, said, tmp_path):
    place = folder(tmp_path, f"{BASE}[search.default]\n{line}\n")
    with pytest.raises(UsageError) as error:
        space(resolve("model", MODEL), TASK, extra=place)
    assert said in str(error.value)


def test_lists_are_choices_and_none_by_hand_is_written(tmp_path):
    model = "tests.plugins.listed:Mixed"
    place = folder(tmp_path, f"{BASE}[search.default]\nxs = {{ choices = [[1, 2], [3]] }}\n")
    request = Request(models=(model,), tasks=(TASK,), recipes_dir=place, sets=((model, "cap", "none"),))
    (study,) = studies(request, seed=0)
    assert search([study], Store(tmp_path / "r"), trials=4, run_grid=train) == 0
    assert {str(trial.values["xs"]) for trial in study.trials} == {"[1, 2]", "[3]"}
    assert study.trials[0].values["xs"] == [1, 2] and study.best is not None
    out = folder(tmp_path, f"{BASE}{tuned.section(study, seed=0, command='x')}\n")
    again = recipes.load(resolve("model", model), TASK, track="tuned", extra=out).values
    assert again["cap"] is None and again["xs"] == study.best.values["xs"]
