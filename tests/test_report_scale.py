"""How long a rendering takes. Heavy: run by hand with ``pytest -m slow tests/test_report_scale.py -s``."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.record import dumps
from suite.runs import TRACKS
from suite.store import Store
from tests import report_records as make

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def render(results: Path, reports: Path) -> float:
    """Processor seconds of ``python -m suite.report`` in a process of its own and those that it starts to draw.

    Beside other work they tell more than wall-clock seconds.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [sys.executable, "-m", "suite.report", "--results-dir", str(results), "--reports-dir", str(reports)]
    subprocess.run(words, check=True, capture_output=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{seconds:.1f} processor seconds, {wall:.1f} s by the clock")
    return seconds


def test_the_records_of_this_repository_render_in_a_minute(tmp_path):
    """Real ones: a section holds fewer records than below, so more figures a record."""
    assert render(Path(__file__).parents[1] / "results", tmp_path / "reports") < 60


def test_all_models_and_tasks_with_five_seeds_render_in_20_seconds(tmp_path):
    """7 models x 8 tasks x 5 seeds = 280 records of 120 epochs."""
    make.fill(tmp_path / "results", tasks=make.TASKS, seeds=range(5), epochs=120)
    seconds = render(tmp_path / "results", tmp_path / "reports")
    assert seconds < 20


def test_ten_thousand_records_render_in_two_minutes(tmp_path):
    """7 models x 8 tasks x 4 tracks x 45 seeds = 10,080 records of 60 epochs, 32 tables of 7 rows."""
    store = Store(tmp_path / "results")
    count = 0
    for track in TRACKS:
        for task in make.TASKS:
            for model in make.MODELS:
                for seed in range(45):
                    seconds = 600.0 if track == "matched-time" else None
                    run = make.run(model, task, seed, epochs=60, track=track, max_seconds=seconds)
                    path = store.path(run)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(dumps(make.record(run)))
                    count += 1
    seconds = render(tmp_path / "results", tmp_path / "reports")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{count} records, peak {peak:.2f} GiB")
    assert count == 10_080 and seconds < 120 and peak < 4
