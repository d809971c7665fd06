"""Which records a report is of, and which pairs it compares."""

from __future__ import annotations

import csv
import json

import pytest

from suite.report.__main__ import main
from suite.report.evidence.entries import entry, read
from suite.report.evidence.sections import sections
from suite.report.render import Choice
from suite.report.tables import notes
from suite.store import Store
from tests import report_records as make

SEEDS = range(10)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All models with ten seeds on psMNIST, the first better than the others on every seed; two on HAR-2."""
    root = tmp_path_factory.mktemp("choice") / "results"
    store = Store(root)
    for place, model in enumerate((*make.MODELS, "my.pkg:Mine")):
        for seed in SEEDS:
            made = make.record(make.run(model, seed=seed))
            score = 0.9 - 0.01 * place + 0.0001 * ((7 * seed + 3 * place) % 10)
            made["metrics"] |= {"test": score, "valid": score}
            store.put(made)
    for model in ("cornn", "lstm"):
        store.put(make.record(make.run(model, "har2")))
    return root


def test_a_question_of_one_model_needs_fewer_seeds_than_one_of_all_pairs(results):
    held = [one for one in read(results) if one.run.task == "psmnist"]
    (every,), (mine,) = sections(held), sections(held, against="my.pkg:Mine")
    assert len(every.pairs) == 28 and not any(pair.p for pair in every.pairs)
    assert "No test of the 28 pairs: it takes 11 seeds" in notes.notes(every)
    assert len(mine.pairs) == 7 and {pair.a for pair in mine.pairs} == {"my.pkg:Mine"}
    assert all(pair.p is not None and pair.p < 0.05 and pair.verdict.endswith(" better") for pair in mine.pairs)
    assert "corrected for 7 pairs" in notes.notes(mine)
    assert "only those with my.pkg:Mine are compared" in notes.notes(mine)


def test_only_the_chosen_models_and_tasks_are_rendered(results, tmp_path, capsys):
    choice = ["--models", "my.pkg:Mine, lstm,cornn", "--tasks", "psmnist", "--against", "lstm"]
    folders = ["--results-dir", str(results), "--reports-dir", str(tmp_path)]
    assert main([*folders, "--format", "csv", "--json", *choice]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 30
    (path,) = tmp_path.glob("tables/pairs-*.csv")
    assert [(row["a"], row["b"]) for row in csv.DictReader(path.read_text().splitlines())] == [
        ("LSTM", "coRNN"), ("LSTM", "my.pkg:Mine"),
    ]  # fmt: skip
    text = (tmp_path / "leaderboard.md").read_text()
    assert "30 records, 3 models, 1 task" in text and "expRNN" not in text
    assert "only my.pkg:Mine, lstm, cornn; only psmnist; every model compared with lstm alone" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "lsmt"], "--models: unknown model among the records 'lsmt': did you mean lstm?"),
        (["--tasks", "imdb"], "--tasks: unknown task among the records 'imdb'"),
        (["--against", "mine"], "--against: unknown model among the chosen records 'mine'"),
        (["--models", "cornn", "--against", "lstm"], "--against: unknown model among the chosen records 'lstm'"),
        (["--models", ","], "--models: wanted at least one name"),
        (["--against", "cornn", "--readme", "README.md"], "--readme: wanted the summary of all results"),
        (["--models", "tanh", "--tasks", "har2"], "no records to render"),
    ],
)
def test_a_name_that_no_record_has_is_refused(results, tmp_path, capsys, arguments, words):
    assert main(["--results-dir", str(results), "--reports-dir", str(tmp_path / "r"), *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_section_without_the_model_has_no_pairs():
    made = [entry(make.record(make.run(model, seed=seed))) for model in ("lstm", "tanh") for seed in range(3)]
    (section,) = sections(made, against="cornn")
    assert section.pairs == [] and Choice().words == ""
