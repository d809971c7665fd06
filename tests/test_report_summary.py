"""The summary that a run ends with."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from suite.report import summary
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.tables import leaderboard
from tests import report_records as make


def test_the_summary_fits_80_columns_and_names_the_variant():
    digits = {"data": "digits5k"}
    records = [make.record(make.run(m, "psmnist", seed, options=digits)) for m in make.MODELS for seed in (0, 1)]
    records += [make.record(make.run(model, "adding", 0)) for model in make.MODELS]
    records.append(make.record(make.run("tanh", "psmnist", 2, options=digits), status="diverged"))
    records.append(make.record(make.run("a.very.long.package.name:WithAModel", "psmnist", 0)))
    text = summary.table(records)
    assert max(map(len, text.splitlines())) <= 80
    assert "data=digits5k" in text
    assert "3-1" in text and "diverged or failed" in text
    for word in ("accuracy (%)", "loss", "seconds", "ms/step", "grad", "params"):
        assert word in text


def test_the_summarys_numbers():
    records = [make.record(make.run(seed=seed)) for seed in range(3)]
    for record, step in zip(records, (0.09, 0.01, 0.7)):
        record["seconds"]["step_median"] = step
    (row,) = summary.summary_rows(records)
    (section,) = sections([entry(record) for record in records])
    assert leaderboard.row(section.groups[0], section)["step_ms"] == pytest.approx(90.0)  # the median, not the mean
    scores = [record["metrics"]["test"] for record in records]
    assert row["mean"] == pytest.approx(np.mean(scores)) and row["sd"] == pytest.approx(np.std(scores, ddof=1))
    assert row["seconds"] == pytest.approx(132.0) and row["ms_per_step"] == pytest.approx(90.0)
    assert row["parameters"] == records[0]["size"]["parameters"]
    assert row["gradient_norm"] == pytest.approx(np.median([record["curve"][-1]["grad_norm"][2] for record in records]))
    assert summary.table([]) == "no records"


def test_a_diverged_run_is_not_in_the_mean():
    records = [make.record(make.run(seed=seed), status=status) for seed, status in enumerate(("done", "diverged"))]
    records[1]["metrics"]["test"] = 0.01
    (row,) = summary.summary_rows(records)
    assert row["mean"] == records[0]["metrics"]["test"] and (row["finished"], row["diverged"]) == (1, 1)


def test_the_summary_needs_no_heavy_library():
    code = (
        "import sys; from suite.report import summary; "
        "print([m for m in ('numpy','pandas','scipy','matplotlib','jinja2','torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
