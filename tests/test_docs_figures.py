"""Figures in docs that are of the committed records: they follow when records are added."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from suite.record import load

ROOT = Path(__file__).resolve().parent.parent


def eta() -> dict[str, list[list[float]]]:
    """η over √Δt after each epoch of each run of coRNN, by the words of docs/theory.md."""
    found: dict[str, list[list[float]]] = {}
    for path in sorted((ROOT / "results" / "records" / "cornn").rglob("*.json")):
        record = load(path)
        said = [row["diagnostics"] for row in record["curve"] if row["diagnostics"].get("eta") is not None]
        task, options = record["run"]["task"], record["run"]["task_options"]
        words = {"imdb": "on IMDB", "noisy_cifar": "one or two" if len(record["curve"]) < 3 else "four"}
        if task.startswith("adding"):
            words[task] = "T=100 and 500" if options["length"] <= 500 else "T=1000 to 5000"
        found.setdefault(words.get(task, "sMNIST, psMNIST and HAR-2"), []).append([r["eta"] / r["dt_r"] for r in said])
    return found


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sMNIST, psMNIST and HAR-2", r"it is ([\d.]+) to ([\d.]+) times as large on sMNIST, psMNIST and HAR-2"),
        ("four", r"([\d.]+) times on CIFAR-10 after four"),
        ("one or two", r"\(([\d.]+) to ([\d.]+) after one or two\)"),
        ("T=100 and 500", r"([\d.]+) to ([\d.]+) times on the adding problem at T=100 and 500"),
        ("T=1000 to 5000", r"([\d.]+) to ([\d.]+) at T=1000 to 5000"),
        ("on IMDB", r"([\d.]+) to ([\d.]+) on IMDB"),
    ],
)
def test_the_weight_assumption_in_trained_networks(name, wanted):
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "theory.md").read_text())
    said = re.search(wanted, text)
    assert said, wanted
    last = [run[-1] for run in eta()[name]]
    for number, value in zip(said.groups(), (min(last), max(last))):
        digits = len(number.partition(".")[2])
        assert round(value, digits) == float(number)


def test_in_no_epoch_is_it_met():
    assert min(value for runs in eta().values() for run in runs for value in run) > 1
