"""Hyperparameters that are lists, tuples or none: checked, recorded as JSON has them, handed over as annotated."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from suite import recipes
from suite.check import main as checked
from suite.errors import UsageError
from suite.names import Plugin, resolve
from suite.plan import Request, expand, parse_set
from suite.record import load
from suite.run import main
from suite.runs import Run, canonical
from suite.tune import seen_tests
from suite.values import coerce, handed
from suite.work.building import recurrence_for
from suite.work.estimates.sizes import Tasks

PLUGINS = "tests.plugins.listed"
MODEL, TASK = f"{PLUGINS}:Mixed", "tests.plugins.tiny:Parity"
WORDS = ("--models", MODEL, "--tasks", TASK, "--epochs", "1", "--executor", "inline")


def planned(*sets: str, model: str = MODEL) -> Run:
    request = Request(models=(model,), tasks=(TASK,), sets=tuple(map(parse_set, sets)))
    return expand(request)[0].run


def given(run: Run) -> dict[str, Any]:
    """What the constructor got."""
    task = Tasks().get(run.task, run.task_options)
    return recurrence_for(run, task.spec, engine="auto").given


def test_defaults_that_are_lists_stand_in_the_record_as_json_has_them():
    run = planned()
    assert {key: run.recipe[key] for key in ("xs", "ls", "sizes", "rates", "pair", "bare")} == {
        "xs": [1, 2], "ls": [1, 2], "sizes": [3], "rates": [0.5, 1.0], "pair": [1, "a"], "bare": [1, 2],
    }  # fmt: skip
    again = Run.from_identity(json.loads(canonical(run.identity())))
    assert again == run and again.id == run.id


def test_the_constructor_gets_the_annotated_types_each_time_anew():
    run = planned("deep=[[1, 2], [3]]", "num_layers=2")
    task = Tasks().get(run.task, run.task_options)
    for layer in recurrence_for(run, task.spec, engine="auto").layers:
        found = layer.given
        assert found["deep"] == [(1, 2), (3,)] and found["xs"] == (1, 2) and found["pair"] == (1, "a")
        assert found["ls"] == [1, 2, 0]  # what one layer appends no other one sees
    assert planned().recipe["ls"] == [1, 2]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("xs=[]", "xs", ()),
        ("xs=['a', 0.5]", "xs", ("a", 0.5)),
        ("sizes=[4.0, 5]", "sizes", [4, 5]),
        ("rates=[1]", "rates", (1.0,)),
        ("pair=[2, 'b']", "pair", (2, "b")),
        ("cap=none", "cap", None),
        ("cap='none'", "cap", None),
        ("cap=3", "cap", 3),
        ("deep=none", "deep", None),
        ("deep=[[1]]", "deep", [(1,)]),
    ],
)
def test_the_command_line_sets_them(text, key, value):
    assert given(planned(text))[key] == value


def test_equal_values_are_one_run():
    assert planned("sizes=[3.0]").id == planned().id == planned("rates=[0.5, 1]", "xs=[1,2]").id
    assert planned("xs=[2, 1]").id != planned().id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("xs=(1, 2)", "xs: wanted a list such as [1, 2], got '(1, 2)'"),
        ("ls=3", "ls: wanted a list such as [1, 2], got 3"),
        ("sizes=1,2", "sizes: wanted a list [int, ...], got '1,2'"),
        ("sizes=[1, 2.5]", "sizes[1]: wanted int, got 2.5"),
        ("rates=[1, nan]", "rates[1]: wanted a finite number, got nan"),
        ("pair=[1]", "pair: wanted a list [int, str], got [1]"),
        ("deep=[1]", "deep[0]: wanted a list [int, ...], got 1"),
        ("xs=[2020-01-01]", "xs[0]: wanted a number, text, true, false or a list of these"),
        ("cap=nine", "cap: wanted int or none, got 'nine'"),
        ("rate=none", "rate: wanted float, got 'none'"),
    ],
)
def test_what_does_not_fit_is_one_line(text, said, tmp_path, capsys):
    assert main([*WORDS, "--results-dir", str(tmp_path), "--set", text]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1 and ".toml" not in err


def test_none_stays_a_word_where_words_are_allowed():
    assert planned("word=none").recipe["word"] == "none"
    assert planned("mode=none", model=f"{PLUGINS}:Named").recipe["mode"] == "none"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Wrong", f"model {PLUGINS}:Wrong: default of sizes[0]: wanted int, got 'a'"),
        ("Shaded", f"model {PLUGINS}:Shaded: default of shade: wanted a number, text, true, false or a list of these"),
    ],
)
def test_a_bad_default_is_the_classs_and_no_recipes(name, said, capsys):
    assert main(["--models", f"{PLUGINS}:{name}", "--tasks", TASK, "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1 and "recipe" not in err and ".toml" not in err


def test_a_run_with_lists_is_recorded_replayed_and_not_done_twice(tmp_path, capsys):
    words = [*WORDS, "--results-dir", str(tmp_path), "--set", "xs=[3, 4]", "--set", "cap=none"]
    assert main(words) == 0
    (path,) = (tmp_path / "records").rglob("*.json")
    record = load(path)
    assert record["run"]["recipe"]["xs"] == [3, 4] and record["run"]["recipe"]["cap"] is None
    assert main(words) == 0 and "1 skipped" in capsys.readouterr().err
    assert main(["--replay", str(path)]) == 0 and "agrees" in capsys.readouterr().out


def test_a_recipe_file_holds_lists_and_none(tmp_path: Path):
    lines = "hidden_size = 4\nbatch_size = 2\nepochs = 1\nlr = 0.1\nxs = [5]\ncap = 'none'\n"
    (tmp_path / "adding.toml").write_text(f'[default]\nsource = "default: x"\n{lines}')
    values = recipes.load(resolve("model", MODEL), "adding", extra=tmp_path).values
    assert values["xs"] == [5] and values["cap"] is None


def test_a_dataclass_with_a_factory_has_its_lists():
    @dataclasses.dataclass(kw_only=True)
    class Made:
        ls: list[int] = dataclasses.field(default_factory=lambda: [1, 2])

    from suite.names import _made

    parameter = _made(inspect.signature(Made, eval_str=False).parameters["ls"], Made)
    assert Plugin("model", "m:Made", Made, {}, {"ls": parameter}).options({}) == {"ls": [1, 2]}


def test_annotations_that_are_not_known_take_what_json_has():
    def f(*, a: Sequence[int] | float = 1, b: dict = {}, c: Any = 1, d: Sequence[int] | None = None): ...  # noqa: B006

    p = inspect.signature(f, eval_str=True).parameters
    assert coerce("a", 1, p["a"]) == 1.0 and isinstance(coerce("a", 1, p["a"]), float)
    assert coerce("a", (1, 2), p["a"]) == [1, 2] and handed([1, 2], p["a"]) == [1, 2]
    assert coerce("b", {"x": 1}, p["b"]) == {"x": 1} and coerce("c", "x", p["c"]) == "x"
    assert coerce("d", None, p["d"]) is None and coerce("d", "none", p["d"]) is None and coerce("d", [1], p["d"]) == [1]


def test_a_union_of_lists_takes_the_one_that_fits():
    def f(*, a: list[int] | tuple[str, ...] = (), b: list[int | None] = []): ...  # noqa: B006

    p = inspect.signature(f, eval_str=True).parameters
    assert handed(coerce("a", ["x"], p["a"]), p["a"]) == ("x",) and handed(coerce("a", [1], p["a"]), p["a"]) == [1]
    assert coerce("b", [1, "none"], p["b"]) == [1, None]
    with pytest.raises(UsageError, match=r"b\[0\]: wanted int or none, got 'x'"):
        coerce("b", ["x"], p["b"])


def test_a_task_gets_them_too(tmp_path, capsys):
    task = f"{PLUGINS}:Parts"
    words = ["--models", "tests.plugins.tiny:Leaky", "--tasks", task, "--epochs", "1", "--executor", "inline"]
    assert main([*words, "--set", f"{task}.parts=[3]", "--results-dir", str(tmp_path)]) == 0, capsys.readouterr().err
    (path,) = (tmp_path / "records").rglob("*.json")
    assert load(path)["run"]["task_options"]["parts"] == [3]
    assert checked(["--tasks", task]) == 0 and "0 faults" in capsys.readouterr().out
    assert len(seen_tests(expand(Request(models=("lstm",), tasks=(task,))))) == 1


def test_a_literal_and_a_sequence_are_the_same_run_however_they_are_written():
    def f(*, k: Literal[1, 2] = 1, d: Sequence[float] = (1.0,), flag: Literal[True] = True): ...

    p = inspect.signature(f, eval_str=True).parameters
    assert [repr(coerce("k", value, p["k"])) for value in (1, 1.0)] == ["1", "1"]
    with pytest.raises(UsageError, match="wanted 1 or 2, got True"):
        coerce("k", True, p["k"])
    with pytest.raises(UsageError, match="got 1"):
        coerce("flag", 1, p["flag"])
    assert [repr(coerce("d", value, p["d"])) for value in ([1, 2], (1.0, 2.0))] == ["[1.0, 2.0]"] * 2


def test_a_path_reaches_the_constructor_as_one():
    def f(*, a: Path = Path("x"), b: Path | None = None, c: str | Path = "y"): ...

    p = inspect.signature(f, eval_str=True).parameters
    assert coerce("a", "a/b", p["a"]) == "a/b" and handed("a/b", p["a"]) == Path("a/b")
    assert handed("a/b", p["b"]) == Path("a/b") and handed(None, p["b"]) is None and handed("a/b", p["c"]) == "a/b"
