"""Names, recipes and plans: what was asked for becomes runs, or one clear line."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import MODELS
from suite import recipes
from suite.errors import UsageError
from suite.keys import TRAINER
from suite.names import resolve
from suite.plan import Request, expand, parse_seeds, parse_set
from suite.runs import LATER, Run, canonical, seed_for
from suite.values import coerce
from tasks import TASKS


@pytest.mark.parametrize("preset", [None, "quick"])
@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_pair_has_a_recipe_with_a_source_for_every_number(model, task, preset):
    recipe = recipes.load(resolve("model", model), task, preset=preset)
    assert set(recipe.sources) == set(recipe.values)
    assert all(s.partition(":")[0] in recipes.KINDS for s in recipe.sources.values())
    assert recipe.values["batch_size"] >= 1 and recipe.values["lr"] > 0


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ("psmnist", {"lr": 0.0054, "dt": 0.076, "gamma": 0.4, "epsilon": 8.0, "hidden_size": 256, "batch_size": 120}),
        ("smnist", {"lr": 0.0021, "dt": 0.042, "gamma": 2.7, "epsilon": 4.7, "hidden_size": 256, "epochs": 120}),
        ("noisy_cifar", {"lr": 0.0075, "dt": 0.034, "gamma": 1.3, "epsilon": 12.7, "layout": "separate"}),
        ("har2", {"lr": 0.017, "dt": 0.1, "gamma": 0.2, "epsilon": 6.4, "hidden_size": 64, "epochs": 250}),
        ("imdb", {"lr": 0.0006, "dt": 0.054, "gamma": 4.9, "epsilon": 4.8, "layout": "joint", "batch_size": 64}),
        ("adding", {"lr": 0.02, "dt": 0.06, "gamma": 66.0, "epsilon": 15.0, "hidden_size": 128, "batch_size": 50}),
    ],
)
def test_the_published_cornn_recipes(task, wanted):
    recipe = recipes.load(resolve("model", "cornn"), task)
    assert {key: recipe.values[key] for key in wanted} == wanted
    assert all(recipe.sources[key].startswith("published:") for key in wanted)


def plan(**changes):
    return expand(Request(**{"models": ("cornn",), "tasks": ("adding",), **changes}))


def test_integers_and_floats_of_equal_value_make_the_same_id():
    (a,), (b,) = (plan(sets=((None, "gamma", v),)) for v in (66, 66.0))
    assert a.run.id == b.run.id
    (c,) = plan(sets=((None, "gamma", 66.5),))
    assert c.run.id != a.run.id


def test_seconds_and_zeros_of_equal_value_make_the_same_id():
    def id_of(zero, **changes):
        (one,) = expand(Request(("tanh",), ("adding",), sets=(("tanh", "clip_norm", zero),), **changes))
        return one.run.id

    assert id_of(0, max_seconds=60) == id_of(-0.0, max_seconds=60.0) == id_of(0.0, max_seconds=60)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 4}, "give one of them"),
        ({"track": "matched-time", "max_seconds": 9.0}, "as many epochs as the time"),
    ],
)
def test_epochs_said_twice_or_in_vain_are_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        expand(Request(("tanh",), ("adding",), sets=(("tanh", "epochs", 7),), **changes))


def test_a_recipe_folder_without_a_preset_leaves_the_packaged_preset(tmp_path: Path):
    (tmp_path / "psmnist.toml").write_text('[default]\nsource = "default: a test"\nhidden_size = 7\n')
    (one,) = expand(Request(("tanh",), ("psmnist",), preset="quick", recipes_dir=tmp_path))
    (packaged,) = expand(Request(("tanh",), ("psmnist",), preset="quick"))
    assert one.run == packaged.run and one.run.task_options["data"] == "digits5k"


def test_what_makes_an_id_and_what_does_not():
    (base,) = plan()
    for change in ({"seeds": (1,)}, {"epochs": 3}, {"max_seconds": 5.0}, {"precision": "float64"},
                   {"device_kind": "cuda"}, {"preset": "quick"}, {"sets": (("adding", "length", 9),)}):  # fmt: skip
        (other,) = plan(**change)
        assert other.run.id != base.run.id, change
    assert Run.from_identity(base.run.identity()).id == base.run.id
    (seed1,) = plan(seeds=(1,))
    assert seed1.run.group == base.run.group


def test_grid_order_and_sizes():
    runs = plan(models=("cornn", "lstm"), tasks=("adding", "har2"), seeds=(0, 1))
    assert [(p.run.task, p.run.model, p.run.seed) for p in runs][:3] == [
        ("adding", "cornn", 0), ("adding", "cornn", 1), ("adding", "lstm", 0),
    ]  # fmt: skip
    assert len({p.run.id for p in runs}) == 8


def test_data_seeds_leave_the_model_out():
    assert seed_for("data", "psmnist", 0) == seed_for("data", "psmnist", 0) != seed_for("data", "psmnist", 1)
    assert seed_for("init", "cornn", "psmnist", 0) != seed_for("init", "lstm", "psmnist", 0)


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (((None, "dtt", 1.0),), "unknown key of cornn's recipe 'dtt': did you mean dt"),
        ((("lstm", "lr", 1.0),), "wanted a model or task of this call (cornn, adding)"),
        (((None, "lr", "fast"),), "cornn.lr: wanted float, got 'fast'"),
        (((None, "lr", -1.0),), "cornn.lr: wanted > 0, got -1.0"),
        (((None, "hidden_size", 0),), "cornn.hidden_size: wanted >= 1, got 0"),
        (((None, "hidden_size", 6.5),), "cornn.hidden_size: wanted int, got 6.5"),
        (((None, "optimizer", "adamm"),), "did you mean adam"),
        (((None, "rmsprop_alpha", 0.5),), "cornn.rmsprop_alpha: has no effect with optimizer adam"),
        (((None, "sgd_momentum", 0.5),), "cornn.sgd_momentum: has no effect with optimizer adam: wanted sgd"),
        (
            ((None, "optimizer", "sgd"), (None, "sgd_nesterov", True)),
            "cornn.sgd_nesterov: has no effect without sgd_momentum",
        ),
        (((None, "optimizer", "sgd"), (None, "sgd_momentum", 1.0)), "cornn.sgd_momentum: wanted >= 0 and < 1, got 1.0"),
        (
            ((None, "optimizer", "sgd"), (None, "sgd_momentum", 0.9), (None, "sgd_nesterov", 1)),
            "cornn.sgd_nesterov: wanted bool, got 1",
        ),
        (((None, "lr_drop_factor", 3),), "cornn.lr_drop_factor: has no effect without lr_drop_epoch"),
        ((("adding", "lenght", 6),), "unknown option of task adding 'lenght': did you mean length"),
    ],
)
def test_bad_settings_are_named(sets, words):
    with pytest.raises(UsageError) as error:
        plan(sets=sets)
    assert words in str(error.value)


def test_options_fixed_by_the_table_cannot_be_set():
    with pytest.raises(UsageError, match="antisymmetric fixes gated"):
        plan(models=("antisymmetric",), sets=((None, "gated", True),))
    with pytest.raises(UsageError, match="psmnist fixes permuted"):
        plan(tasks=("psmnist",), sets=(("psmnist", "permuted", False),))


@pytest.mark.parametrize(("text", "seeds"), [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("3,1,1-2", (3, 1, 2))])
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "4-0", "-1", "a", "1-", "0-9999999999", "1,,2", "0x1"])
def test_bad_seeds(text):
    with pytest.raises(UsageError, match="--seeds: wanted"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("lr=1e-3", (None, "lr", 1e-3)), ("cornn.dt=0.05", ("cornn", "dt", 0.05)), ("x=true", (None, "x", True)),
        ("noise=independent", (None, "noise", "independent")), ("my.pkg:RNN.rate=2", ("my.pkg:RNN", "rate", 2)),
        ('x="a b"', (None, "x", "a b")),
    ],
)  # fmt: skip
def test_set(text, wanted):
    assert parse_set(text) == wanted


@given(st.text(max_size=40))
def test_set_parses_or_says_so(text):
    try:
        name, key, _ = parse_set(text)
    except UsageError as error:
        assert "--set: wanted [NAME.]KEY=VALUE" in str(error)
    else:
        assert key.isidentifier() and (name is None or name)


def test_a_recipe_with_a_syntax_error_names_file_and_line(tmp_path: Path):
    (tmp_path / "adding.toml").write_text("[default]\nlr = = 3\n")
    with pytest.raises(UsageError, match=r"adding.toml: .*line 2"):
        plan(recipes_dir=tmp_path)


def test_a_number_without_a_source_is_refused(tmp_path: Path):
    (tmp_path / "adding.toml").write_text("[default]\nlr = 3e-3\n")
    with pytest.raises(UsageError, match="wanted a source that starts with one of published:"):
        plan(recipes_dir=tmp_path)


def test_unused_recipe_keys_are_refused(tmp_path: Path):
    (tmp_path / "adding.toml").write_text(
        '[default]\nsource = "default: x"\nlr = 3e-3\n[cornn]\nsource = "default: x"\ngama = 1\n'
    )
    with pytest.raises(UsageError, match=r"\[cornn\]: unknown key 'gama': did you mean gamma"):
        plan(recipes_dir=tmp_path)


@pytest.mark.parametrize(
    ("section", "said"),
    [("conrn", r"\[conrn\]: unknown .* model 'conrn': did you mean cornn"),
     ("quick.tnah", r"\[quick.tnah\]: unknown .* model 'tnah': did you mean tanh"),
     ("tuned.lsmt", r"\[tuned.lsmt\]: unknown .* model 'lsmt': did you mean lstm"),
     ("quick.search.defalt", r"\[quick.search.defalt\]: .* did you mean default")],
)  # fmt: skip
def test_a_section_of_no_model_is_refused(tmp_path: Path, section, said):
    """Passed over in silence it would leave the model with other numbers than the person thinks."""
    base = '[default]\nsource = "default: x"\nhidden_size = 4\nbatch_size = 2\nepochs = 1\nlr = 3e-3\n'
    (tmp_path / "adding.toml").write_text(
        f'{base}["my.pkg:Other"]\nsource = "default: x"\nlr = 1.0\n[{section}]\nlr = 0.1\n'
    )
    with pytest.raises(UsageError, match=said):
        plan(recipes_dir=tmp_path)


def test_a_recipe_key_without_effect_is_refused_where_it_stands(tmp_path: Path):
    """A section's alpha goes unused once the command line takes Adam: that is no mistake of anybody's."""
    base = '[default]\nsource = "default: x"\nhidden_size = 4\nbatch_size = 2\nepochs = 1\nlr = 3e-3\n[lstm]\n'
    section = 'source = "default: x"\nrmsprop_alpha = 0.9\n'
    (tmp_path / "adding.toml").write_text(base + section)
    with pytest.raises(UsageError, match=r"\[lstm\] rmsprop_alpha: has no effect with optimizer adam"):
        plan(models=("lstm",), recipes_dir=tmp_path)
    (tmp_path / "adding.toml").unlink()
    recipes.read.cache_clear()
    (tmp_path / "adding.toml").write_text(base + section + 'optimizer = "rmsprop"\n')
    (one,) = plan(models=("lstm",), recipes_dir=tmp_path, sets=((None, "optimizer", "adam"),))
    assert one.run.recipe["optimizer"] == "adam"


def test_a_later_key_is_in_a_recipe_only_where_it_changes_something(tmp_path: Path):
    """The ids of runs made before there was such a key stay."""
    sgd = ((None, "optimizer", "sgd"),)
    plain, zero, moving, nesterov = (
        plan(sets=sets)[0].run
        for sets in (
            sgd,
            (*sgd, (None, "sgd_momentum", 0)),
            (*sgd, (None, "sgd_momentum", 0.9)),
            (*sgd, (None, "sgd_momentum", 0.9), (None, "sgd_nesterov", True)),
        )
    )
    assert plain.id == zero.id and "sgd_momentum" not in plain.recipe and len({plain.id, moving.id, nesterov.id}) == 3
    assert (moving.recipe["sgd_momentum"], "sgd_nesterov" in moving.recipe) == (0.9, False)
    assert set(LATER) <= set(TRAINER) and not set(LATER) & set(plan()[0].run.recipe)
    base = '[default]\nsource = "default: x"\nhidden_size = 4\nbatch_size = 2\nepochs = 1\nlr = 3e-3\n'
    (tmp_path / "adding.toml").write_text(f'{base}optimizer = "sgd"\nsgd_momentum = 0.9\nsgd_nesterov = true\n')
    for key, value, left in (
        ("optimizer", "adam", set()),
        ("sgd_momentum", 0.0, set()),
        ("lr", 0.1, {"sgd_momentum", "sgd_nesterov"}),
    ):
        (one,) = plan(recipes_dir=tmp_path, sets=((None, key, value),))
        assert (
            {"sgd_momentum", "sgd_nesterov"} & set(one.run.recipe)
            == left
            == {"sgd_momentum", "sgd_nesterov"} & set(one.sources)
        )


@pytest.mark.parametrize("sets", [(("sgd_nesterov", False),), (("optimizer", "sgd"), ("sgd_nesterov", False))])
def test_a_later_key_at_its_default_may_be_said(sets):
    (one,) = plan(sets=tuple((None, key, value) for key, value in sets))
    assert "sgd_nesterov" not in one.run.recipe


def test_setting_what_the_recipe_has_anyway_changes_nothing():
    plain, said, other = (plan(sets=sets)[0] for sets in ((), ((None, "hidden_size", 128),), ((None, "dt", 0.5),)))
    assert (plain.run.id, plain.sources) == (said.run.id, said.sources)
    assert other.sources["dt"].startswith("set:")


def test_matched_time_needs_a_time():
    with pytest.raises(UsageError, match="wanted --max-seconds"):
        plan(track="matched-time")


LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.recursive(LEAVES, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=10))
def test_canonical_json_is_stable_under_key_order(value):
    shuffled = dict(reversed(list(value.items()))) if isinstance(value, dict) else value
    assert canonical(value) == canonical(shuffled)


def test_coercion_knows_unions_and_literals():
    def f(*, a: int | None = None, b: Literal["x", "y"] = "x", c: float = 1, d: bool = False): ...

    p = inspect.signature(f, eval_str=True).parameters
    assert coerce("a", None, p["a"]) is None and coerce("a", 3.0, p["a"]) == 3
    assert coerce("b", "y", p["b"]) == "y"
    with pytest.raises(UsageError, match="b: wanted 'x' or 'y', got 'z'"):
        coerce("b", "z", p["b"])
    with pytest.raises(UsageError, match="c: wanted float, got True"):
        coerce("c", True, p["c"])
