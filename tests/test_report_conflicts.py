"""Second records of runs, which a merge keeps, are told in the report."""

from __future__ import annotations

import pytest

from suite.report.render import Choice, render
from suite.store import Store
from tests import report_records as make

ONE = "1 second record of a run is kept under conflicts/ of the results folder"
TWO = "2 second records of runs are kept under conflicts/ of the results folder"


def trained_twice(results, *models):
    """The first model's record alone, two different ones of each other."""
    store = Store(results)
    for seconds, chosen in ((1.0, ("tanh", *models)), (2.0, models)):
        for model in chosen:
            made = make.record(make.run(model))
            made["seconds"]["prepare"] = seconds
            store.put(made)
    assert len(list(store.conflict_paths())) == len(models)


def first_pages(results, reports, **choice):
    assert render(results, reports, formats=(), warn=pytest.fail, choice=Choice(**choice)) is not None
    return [(reports / name).read_text() for name in ("index.html", "leaderboard.md")]


@pytest.mark.parametrize(("models", "words"), [(("lstm",), ONE), (("lstm", "cornn"), TWO)])
def test_second_records_of_runs_are_counted_and_their_place_is_said(tmp_path, models, words):
    trained_twice(tmp_path / "results", *models)
    assert all(text.count(words) == 1 for text in first_pages(tmp_path / "results", tmp_path / "reports"))


def test_nothing_is_said_where_there_are_none(tmp_path):
    trained_twice(tmp_path / "results")
    assert not any("conflicts/" in text for text in first_pages(tmp_path / "results", tmp_path / "reports"))


def test_only_those_of_the_chosen_runs_are_counted_and_unreadable_ones(tmp_path):
    results, reports = tmp_path / "results", tmp_path / "reports"
    trained_twice(results, "lstm", "cornn")
    assert all(ONE in text for text in first_pages(results, reports, models=("lstm", "tanh")))
    next(Store(results).conflict_paths()).write_text("{")
    assert all(TWO in text for text in first_pages(results, reports))
