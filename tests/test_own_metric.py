"""A task with a metric of its own: trained, ranked in its direction, told and drawn under its name."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from suite.report import style
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.plots import common, learning
from suite.report.render import render
from suite.report.tables import across, targets
from suite.store import Store
from tasks.contract import Spec
from tasks.errors import TaskError

TASKS = ("tests.plugins.metrics:Sum", "tests.plugins.metrics:Likely")


@pytest.fixture(scope="module")
def results(zygote, tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics") / "results"
    words = ["--models", "lstm,tanh", "--tasks", ",".join(TASKS), "--epochs", "3", "--seeds", "0-1"]
    words += ["--set", "hidden_size=8", "--executor", "inline", "--results-dir", str(folder)]
    driver = zygote.start(words, folder.parent)
    assert driver.wait() == 0, driver.err.read_text()
    assert " MAE " in driver.out.read_text() and " log likeliho… " in driver.out.read_text()
    return folder


@pytest.fixture(scope="module")
def found(results):
    return {s.variant.task: s for s in sections([entry(json.loads(p.read_text())) for p in Store(results).paths()])}


@pytest.mark.parametrize(("task", "sign"), [(TASKS[0], -1), (TASKS[1], 1)])
def test_it_is_ranked_in_its_direction(found, task, sign):
    section = found[task]
    means = [sign * group.spread.mean for group in sorted(section.groups, key=lambda group: group.rank)]
    assert means == sorted(means, reverse=True) and len(means) == 2
    assert all((entry.score > 0) == (sign < 0) for group in section.groups for entry in group.done)


@pytest.mark.parametrize(("task", "scale"), [(TASKS[0], "log"), (TASKS[1], "linear")])
def test_its_axis(found, task, scale, monkeypatch):
    section, figures = found[task], []
    monkeypatch.setattr(common, "finish", lambda figure, **words: figures.append((figure, words)))
    with style.drawing():
        looks = style.looks(["lstm", "tanh"])
        learning.learning(section, looks)
        learning.against_seconds(section, looks, section.groups[0].entries[0].machine)
        learning.costs(section, looks)
    assert {figure.axes[0].get_yscale() for figure, _ in figures} == {scale}
    assert [words["title"] for _, words in figures][1] == f"{section.metric} against seconds"
    assert all(section.metric in figure.axes[0].get_ylabel() for figure, _ in figures)


def test_where_no_perfect_score_is_known_nothing_is_measured_by_it(found):
    """No target half the way to it, no seed that fell, no place among normalised scores."""
    assert [targets.target(section) for section in found.values()] == [None, None]
    assert not any(e.fell for section in found.values() for group in section.groups for e in group.entries)
    assert across.suites(list(found.values())) == {}


def test_its_pages(results, tmp_path):
    assert render(results, tmp_path, warn=pytest.fail)
    board = (tmp_path / "leaderboard.md").read_text()
    assert "| MAE |" in board and "| log likelihood |" in board and "%" not in board.split("tests.plugins")[1][:400]
    assert "Test score (log likelihood, MAE): mean" in board or "Test score (MAE, log likelihood): mean" in board
    assert "Solved" not in board  # no seed can be counted so


def test_suite_check_takes_it(project):
    words = [sys.executable, "-m", "suite.check", "--tasks", ",".join(TASKS)]
    assert subprocess.run(words, cwd=project, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 41, 3, None, "Accuracy", "acuracy", "MSE", "Mse"])
def test_names_that_are_refused(name):
    with pytest.raises(TaskError, match=r"spec\.metric: wanted"):
        Spec(1, 1, 6, name, True)


@pytest.mark.parametrize("name", ["MAE", "RMSE", "bits per character", "f1", "top-5 accuracy"])
def test_names_that_are_taken(name):
    assert Spec(1, 1, 6, name, True).metric == name
    with pytest.raises(TaskError, match=f"wanted True or False for {name}, got None"):
        Spec(1, 1, 6, name, None)
