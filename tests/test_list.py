"""`suite.list`: names without torch, the schema, recipes with their sources, records with their status."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from models import MODELS
from suite import fields
from suite.list import main
from suite.store import Store
from tasks import TASKS
from tests import report_records
from tests.report_records import fill


def rows(capsys, *words: str) -> list[dict]:
    assert main([*words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_models_and_tasks_are_those_of_the_tables(capsys):
    listed = rows(capsys)
    assert {row["name"]: row["class"] for row in listed if row["kind"] == "model"} == {
        k: v[0] for k, v in MODELS.items()
    }
    assert {row["name"]: row["fixed"] for row in listed if row["kind"] == "task"} == {k: v[1] for k, v in TASKS.items()}


@pytest.mark.parametrize("words", [[], ["--schema"], ["--records"], ["--recipes"], ["--models", "--json"]])
def test_listing_needs_no_torch(words, project, tmp_path):
    code = f"""
import sys
from suite.list import main
code = main({[*words, "--results-dir", str(tmp_path)]!r})
assert not {{"torch", "numpy", "rich", "pandas"}} & set(sys.modules)
sys.exit(code)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project, check=False)
    assert out.returncode == 0, out.stderr
    assert out.stdout


def test_every_model_and_task_says_where_it_comes_from(capsys):
    for row in rows(capsys, "--models", "--tasks", "--sources"):
        assert len(row["source"]) > 10 and row["version"] >= 1
        assert not set(row["options"]) & set(row["fixed"])
    (cornn,) = (row for row in rows(capsys, "--models", "--sources") if row["name"] == "cornn")
    assert {"dt", "gamma", "epsilon"} <= set(cornn["options"])


def test_engines_that_cannot_run_say_why(capsys):
    listed = rows(capsys, "--engines")
    named = {(row["name"], row["device"]): row for row in listed}
    assert named["reference", "cpu"]["available"] and named["fused", "cpu"]["available"]
    assert all(row["available"] == (row["reason"] is None) for row in listed)
    assert "GPU" in named["triton", "cpu"]["reason"]


def test_a_recipe_lists_every_value_with_its_source(capsys):
    listed = {(row["model"], row["key"]): row for row in rows(capsys, "--recipes", "har2")}
    assert listed["cornn", "dt"]["value"] == 0.1 and listed["cornn", "dt"]["source"].startswith("published: coRNN")
    assert {model for model, _ in listed} == set(MODELS)
    quick = {(row["model"], row["key"]): row["value"] for row in rows(capsys, "--recipes", "har2", "--preset", "quick")}
    assert quick["cornn", "hidden_size"] == 32


OWN = """
["tests.plugins.tiny:Leaky"]
source = "set: by me"
lr = 0.25

["gone.pkg:Net"]
source = "set: by me"
lr = 0.3

[tuned.lstm]
source = "tuned: 2 trials"
lr = 0.007

[quick.tuned.tanh]
source = "tuned: 3 trials"
lr = 0.009
"""


@pytest.fixture
def folder(tmp_path):
    """Recipes of one's own, as a person and ``suite.tune --out`` write them."""
    (tmp_path / "har2.toml").write_text(OWN)
    return ["--recipes-dir", str(tmp_path), "--recipes", "har2"]


def test_a_folders_plugins_and_tuned_values_are_listed(folder, capsys):
    listed = rows(capsys, *folder)
    found = {(row["model"], row["track"], row["key"]): row for row in listed if "key" in row}
    assert {model for model, _, _ in found} == {*MODELS, "tests.plugins.tiny:Leaky"}
    assert found["tests.plugins.tiny:Leaky", "paper", "lr"]["value"] == 0.25
    assert found["tests.plugins.tiny:Leaky", "paper", "hidden_size"]["source"].startswith("published:")
    tuned = {key: row["value"] for key, row in found.items() if key[1] == "tuned"}
    assert tuned == {("lstm", "tuned", "lr"): 0.007} and found["lstm", "paper", "lr"]["value"] != 0.007
    (gone,) = (row for row in listed if "key" not in row)
    assert gone["model"] == "gone.pkg:Net" and "cannot be imported" in gone["error"]
    assert main(folder) == 0
    out = capsys.readouterr().out
    assert "lstm (tuned)" in out and "cannot be used: model 'gone.pkg:Net' cannot be imported" in out
    quick = [row for row in rows(capsys, *folder, "--preset", "quick") if row.get("track") == "tuned"]
    assert [(row["model"], row["key"], row["value"]) for row in quick] == [("tanh", "lr", 0.009)]


def test_models_and_track_choose_recipes(folder, capsys):
    own = "tests.plugins.tiny:Leaky"
    assert {(row["model"], row["track"]) for row in rows(capsys, *folder, "--models", f"{own},lstm")} == {
        (own, "paper"), ("lstm", "paper"), ("lstm", "tuned"),
    }  # fmt: skip
    tuned = rows(capsys, *folder, "--track", "tuned")
    assert {row["model"] for row in tuned} == {"lstm"} and {"lr", "hidden_size"} <= {row["key"] for row in tuned}
    assert {row["track"] for row in rows(capsys, *folder, "--track", "paper", "--models", "lstm")} == {"paper"}
    for words, said in (
        ([*folder, "--models", "gone.pkg:Net"], "cannot be imported"),
        ([*folder, "--models", own, "--track", "tuned"], f"no [tuned.{own}]"),
        ([*folder, "--models", "lsmt"], "did you mean lstm?"),
        ([*folder, "--track", "matched-params"], "wanted paper or tuned"),
        (["--models", "--track", "tuned"], "--recipes TASK or --records"),
    ):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    files = rows(capsys, *folder[:2], "--recipes", "--models", "lstm")
    assert files[0]["sections"] == ["tuned.lstm"] and all("lstm" in row["sections"] for row in files[1:])


def test_models_that_are_named_are_listed_alone(capsys, tmp_path):
    own = "tests.plugins.tiny:Leaky"
    assert [(row["name"], row["class"]) for row in rows(capsys, "--models", f"lstm,{own}")] == [
        ("lstm", MODELS["lstm"][0]), (own, own),
    ]  # fmt: skip
    assert {row["name"] for row in rows(capsys, "--models")} == set(MODELS)
    fill(tmp_path, models=("cornn", "lstm"), tasks=("har2",), seeds=(0, 1))
    records = ["--records", "--results-dir", str(tmp_path)]
    assert {row["model"] for row in rows(capsys, *records, "--models", "lstm")} == {"lstm"}
    assert not rows(capsys, *records, "--track", "tuned") and rows(capsys, *records, "--track", "paper")


def test_the_schema_is_the_records_own(capsys):
    listed = {row["name"]: row for row in rows(capsys, "--schema")}
    assert set(listed) == {
        *fields.FIELDS,
        *(f"curve[].{name}" for name in fields.CURVE),
        *(f"profiles[].{name}" for name in fields.PROFILE),
        *(f"where.{name}" for name in fields.WHERE),
    }
    assert listed["metrics.test"]["null"] is True and listed["metrics.test"]["type"] == "number"


def test_records_of_one_model_and_task_are_told_apart(capsys, tmp_path):
    store = Store(tmp_path)
    store.put(report_records.record(report_records.run("cornn", "adding")))
    hand = {"dt": "set: on the command line"}
    store.put(report_records.record(report_records.run("cornn", "adding", recipe={"dt": 0.5}), sources=hand))
    store.put(report_records.record(report_records.run("cornn", "adding", options={"length": 100}, track="tuned")))
    settings = [row["settings"] for row in rows(capsys, "--records", "--results-dir", str(tmp_path))]
    assert {"H": 128, "dt": 0.5, "length": 500} in settings and {"H": 128, "track": "tuned", "length": 100} in settings
    assert len({json.dumps(one) for one in settings}) == 3


def test_every_command_knows_its_version(project):
    from importlib.metadata import version

    for words in (["suite.list"], ["suite.run"], ["suite"]):
        done = subprocess.run([sys.executable, "-m", *words, "--version"], cwd=project, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"rnnbench {version('rnnbench')}\n"), done.stderr


def test_a_terminal_gets_lines_of_its_width_and_a_pipe_whole_ones(capsys, monkeypatch):
    assert main(["--recipes", "har2"]) == 0
    whole = capsys.readouterr().out
    assert max(map(len, whole.splitlines())) > 120
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["--recipes", "har2"]) == 0
    cut = capsys.readouterr().out
    assert max(map(len, cut.splitlines())) == 80 and len(cut.splitlines()) == len(whole.splitlines())


def test_an_empty_folder_has_one_line(capsys, tmp_path):
    assert main(["--records", "--results-dir", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_records_with_status_and_a_broken_one_is_named(capsys, tmp_path):
    fill(tmp_path, models=("cornn", "lstm"), tasks=("har2",), seeds=(0, 1))
    paths = sorted((tmp_path / "records").rglob("*.json"))
    paths[0].write_text(paths[0].read_text().replace('"schema": 1', '"schema": 99'))
    listed = rows(capsys, "--records", "--results-dir", str(tmp_path))
    assert len(listed) == len(paths)
    (broken,) = (row for row in listed if row["status"] == "broken")
    assert broken["path"] == str(paths[0]) and "schema" in broken["reason"]
    assert main(["--records", "--results-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "broken" in text and "done" in text


def test_an_unknown_task_answers_with_the_near_one(capsys):
    assert main(["--recipes", "har3"]) == 2
    said = capsys.readouterr().err
    assert "did you mean har2?" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("command", ["run", "list", "tune", "theory"])
def test_help_takes_less_than_three_tenths_of_a_second(command, project: Path):
    def spent() -> float:  # processor time: other work on the machine does not count
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before, words = spent(), [sys.executable, "-m", f"suite.{command}", "--help"]
    out = subprocess.run(words, capture_output=True, text=True, cwd=project, check=False)
    assert out.returncode == 0, out.stderr
    assert spent() - before < 0.3
