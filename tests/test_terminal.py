"""What is told while a grid runs and stderr is no terminal; and of runs that failed before."""

from __future__ import annotations

import io
import json
import sys

from suite import run
from suite.record import load
from suite.store import Store
from suite.work import provenance, terminal
from suite.work.failures import MOST, of_earlier
from suite.work.job import Progress
from suite.work.terminal import Terminal
from tests.harness.grids import planned

BROKEN = """
from tests.plugins.tiny import Leaky

class Mine(Leaky):
    def forward(self, x, *, profile=None):
        raise RuntimeError("no {luck}")
"""
MENDED = """
from tests.plugins.tiny import Leaky

class Mine(Leaky):
    pass
"""
SMALL = ["--tasks", "adding", "--preset", "quick", "--epochs", "1", "--executor", "inline", "--set", "adding.length=5"]
SMALL += ["--set", "adding.epoch_steps=2", "--device", "cpu"]


def test_a_long_epoch_is_told_of_once_a_minute(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    (one,) = planned("tests.plugins.tiny:Leaky", seeds=(0,))
    stream = io.StringIO()
    watcher = Terminal(stream=stream, live=False)
    watcher.begin([one], [])
    watcher.progress(Progress(one.run.id, "start", 1, 2, engine="reference", metric="mse"))
    for second in range(10, 200, 10):
        clock[0] = second
        watcher.progress(Progress(one.run.id, "step", 1, 2, step=second, steps=200, seconds=second))
    told = [line.split(": ")[1] for line in stream.getvalue().splitlines()[2:]]
    assert told == ["epoch 1/2  step 70/200  left 5m30s", "epoch 1/2  step 140/200  left 4m20s"]


def test_short_epochs_are_told_of_by_their_lines_alone(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    (one,) = planned("tests.plugins.tiny:Leaky", seeds=(0,))
    stream = io.StringIO()
    watcher = Terminal(stream=stream, live=False)
    watcher.begin([one], [])
    watcher.progress(Progress(one.run.id, "start", 1, 9, engine="reference", metric="mse"))
    for epoch in range(1, 5):
        clock[0] += 40
        watcher.progress(Progress(one.run.id, "step", epoch, 9, step=1, steps=2, seconds=clock[0]))
        clock[0] += 10
        watcher.progress(Progress(one.run.id, "epoch", epoch, 9, row={"valid": 0.1, "train_loss": 0.1}, best=0.1))
    assert "step" not in stream.getvalue() and stream.getvalue().count("epoch ") == 4


def test_what_failed_before_is_told_and_tried_again_once_it_is_mended(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "mended_net.py"
    file.write_text(BROKEN)
    command = ["--models", "mended_net:Mine", *SMALL, "--results-dir", str(tmp_path / "r")]
    assert run.main([*command, "--seeds", "0,1"]) == 1
    assert capsys.readouterr().err.endswith("--rerun failed tries them again\n")
    file.write_text(MENDED)
    sys.modules.pop("mended_net")  # another call is another process
    for cached in (provenance._module, provenance._hash):
        cached.cache_clear()
    assert run.main([*command, "--seeds", "0-2"]) == 1
    said = capsys.readouterr().err
    why = "RuntimeError: no {luck} (mended_net.py:6)"
    assert f"mended_net:Mine adding seeds 0, 1: failed earlier: {why} (its code has changed since)\n" in said
    assert "--rerun failed tries them again\n1 done, 2 failed earlier; records" in said
    assert run.main([*command, "--seeds", "0-2", "--rerun", "failed"]) == 0
    assert "2 done, 1 skipped; records" in capsys.readouterr().err


def test_many_reasons_are_cut_short(tmp_path, monkeypatch):
    runs = planned("tests.plugins.tiny:Leaky", seeds=tuple(range(MOST + 2)))
    store = Store(tmp_path)
    for one in runs:
        path = store.path(one.run)
        broken = tmp_path / "failures" / path.relative_to(tmp_path / "records").parent
        broken.mkdir(parents=True, exist_ok=True)
        (broken / f"seed{one.run.seed}-{one.run.id}-1.json").write_text("{")
    count, lines = of_earlier(runs, store)
    assert count == MOST + 2 and len(lines) == MOST + 1
    assert lines[-2:] == ["and 3 more reasons of runs that failed earlier", "--rerun failed tries them again"]


def test_json_prints_each_record_as_its_file_has_it(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "spoilt.py").write_text(BROKEN)
    words = ["--models", "cornn,spoilt:Mine", *SMALL, "--results-dir", str(tmp_path / "r"), "--json"]
    assert run.main(words) == 1
    done, failed = map(json.loads, capsys.readouterr().out.splitlines())
    store = Store(tmp_path / "r")
    assert done == load(next(store.paths())) and done["profiles"] and done["curve"]
    (path,) = store.failure_paths()
    assert failed == {**load(path), "path": str(path)} and failed["error"]["message"] == "no {luck}"
    assert run.main(words) == 1  # what failed earlier is left alone, and told on stderr
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [done["id"]]
