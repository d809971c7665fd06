"""suite.speed: what cannot be timed, or must not be, is told, and the rest goes on."""

from __future__ import annotations

import json

import pytest
import torch

from models.scan.engines import EngineError
from suite import speed
from suite.benchmark import contenders, judge, session
from suite.benchmark.shapes import SHAPES
from tests.test_speed import SMALL


def failing(monkeypatch, error, *, shape="har2", engine="fused", after=0):
    """From now on the check of this engine at this shape raises, after as many that pass."""
    check, seen = judge.Judge.check, []

    def checked(self, name, step):
        if (step.shape.name, name) == (shape, engine):
            seen.append(name)
            if len(seen) > after:
                raise error
        check(self, name, step)

    monkeypatch.setattr(judge.Judge, "check", checked)


@pytest.mark.parametrize(
    "error",
    [
        judge.Unequal("fused gives loss 2, loop 1: they do not compute the same"),
        torch.OutOfMemoryError("CUDA out of memory\nmore lines"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
    ],
    ids=["unequal", "torch", "triton"],
)
def test_what_cannot_be_timed_is_told_and_the_rest_goes_on(error, tmp_path, monkeypatch, capsys):
    failing(monkeypatch, error)
    two = [word.replace("har2", "har2,adding") for word in SMALL]
    assert speed.main([*two, "--results-dir", str(tmp_path), "--json", "--save-baseline"]) == 1
    seen = capsys.readouterr()
    assert f"not timed: har2 tanh fused: {str(error).splitlines()[0]}\n" in seen.err
    rows = [json.loads(line) for line in seen.out.splitlines()]
    assert [(r["shape"], r["engine"]) for r in rows] == [("har2", "loop"), ("adding", "loop"), ("adding", "fused")]
    assert "no baseline is stored" in seen.err and not (tmp_path / "speed" / "baselines").exists()


def test_after_a_recording_that_failed_nothing_more_is_timed(tmp_path, monkeypatch, capsys):
    """Before torch 2.13 the GPU's generator then believes that the recording goes on, and random numbers raise."""
    from models.scan import graph

    def recording(self, name, step):
        if name == "fused":
            graph.broken = "TanhCell"
            raise EngineError("engine graph: this model cannot be recorded as a CUDA graph: it looks at a value")

    monkeypatch.setattr(graph, "broken", "")
    monkeypatch.setattr(judge.Judge, "check", recording)
    two = [word.replace("har2", "har2,adding") for word in SMALL]
    assert speed.main([*two, "--results-dir", str(tmp_path), "--json"]) == 1
    seen = capsys.readouterr()
    assert not seen.out and "adding" not in seen.err
    assert "left out: har2 tanh fused: this model cannot be recorded" in seen.err
    assert "stopped: TanhCell could not be recorded as a CUDA graph; go on without engine graph\n" in seen.err


WORDS = ["--shapes", "har2", "--engines", "loop,fused", "--threads", "1", "--seconds", "0.1", "--json"]


@pytest.mark.parametrize(
    ("model", "engines", "line"),
    [
        ("tests.plugins.broken:Raises", "loop", "RuntimeError: no luck"),
        ("tests.plugins.broken:Unbuilt", "loop fused", "ZeroDivisionError: no model today"),
        ("tests.plugins.broken:Wordless", "loop", "AssertionError"),
        ("tests.plugins.broken:Leaves", "loop", "SystemExit: 3"),
        ("tests.plugins.broken:RaisesLater", "loop", "RuntimeError: no luck"),
        ("tests.plugins.broken:BackwardRaises", "fused", "KeyError: 'no gradient'"),
    ],
)
def test_a_model_that_raises_is_told_and_the_others_are_measured(model, engines, line, tmp_path, capsys):
    assert speed.main([*WORDS, "--models", f"{model},lstm", "--results-dir", str(tmp_path)]) == 1
    seen = capsys.readouterr()
    assert [said for said in seen.err.splitlines() if said.startswith("not timed")] == [
        f"not timed: har2 {model} {engine}: {line}" for engine in engines.split()
    ]
    rows = [json.loads(line) for line in seen.out.splitlines()]
    other = [(model, "loop")] if engines == "fused" else []
    assert [(row["model"], row["engine"]) for row in rows] == [*other, ("lstm", "loop"), ("lstm", "fused")]
    (stored,) = (tmp_path / "speed").glob("*.json")
    assert json.loads(stored.read_text())["rows"] == rows


def test_one_that_raises_while_it_is_timed_is_taken_out_and_the_others_are_timed(tmp_path, monkeypatch, capsys):
    """Two rows of the table and the products: with the loop go the ratios alone."""
    call, calls = contenders.Step.__call__, []

    def third(self):
        calls.append(self.engine)
        if calls.count("loop") == 3 and self.engine == "loop":
            raise ValueError("\nfirst words\nmore")
        return call(self)

    monkeypatch.setattr(contenders.Step, "__call__", third)
    assert speed.main([*SMALL, "--results-dir", str(tmp_path), "--json"]) == 1
    seen = capsys.readouterr()
    assert "not timed: har2 tanh loop: ValueError: first words\n" in seen.err
    (row,) = (json.loads(line) for line in seen.out.splitlines())
    assert (row["engine"], row["ratio_to_loop"]) == ("fused", None) and row["gemm_ms"] > 0


def test_products_that_raise_cost_no_row(tmp_path, monkeypatch, capsys):
    def raises(*_):
        raise LookupError("no cell today")

    monkeypatch.setattr(contenders, "gemms", raises)
    assert speed.main([*SMALL, "--results-dir", str(tmp_path), "--json"]) == 1
    seen = capsys.readouterr()
    assert "not timed: har2 tanh gemm: LookupError: no cell today\n" in seen.err
    assert [json.loads(line)["gemm_ms"] for line in seen.out.splitlines()] == [None, None]


def test_an_interruption_passes(tmp_path, monkeypatch, capsys):
    failing(monkeypatch, KeyboardInterrupt())
    assert speed.main([*SMALL, "--results-dir", str(tmp_path)]) == 130
    assert "not timed" not in capsys.readouterr().err


def test_after_an_error_that_the_gpu_does_not_survive_nothing_more_is_timed(monkeypatch):
    """A GPU's part is played: from the second model on every call to it raises."""
    told: list[str] = []

    def able(shape, model, *_):
        told.append(model)
        return {}

    def answers(device):
        if told[-1] == "lstm":
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(session, "_able", able)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", answers)
    pairs = tuple((SHAPES["har2"], model) for model in ("tanh", "lstm", "cornn"))
    wanted = session.Wanted(pairs, (contenders.Contender("fused"),), (1,), torch.device("cuda"), 0.1, 1)
    said, wrong = list[str](), list[str]()
    assert not list(session.measure(wanted, said.append, wrong))
    assert told == ["tanh", "lstm"] and said == wrong == ["stopped: the GPU failed under har2 lstm"]


def test_memory_that_several_seeds_do_not_find_is_told(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(contenders.SideBySideStep, "forward_only", full)
    assert speed.main([*SMALL, "--results-dir", str(tmp_path), "--seeds", "1,2"]) == 1
    assert "not timed: har2 tanh fused-x2: CUDA out of memory\n" in capsys.readouterr().err


def test_what_fell_and_is_not_measured_again_stays_fallen(tmp_path, monkeypatch, capsys):
    folder = ["--results-dir", str(tmp_path)]
    assert speed.main([*SMALL, *folder, "--save-baseline"]) == 0
    (baseline,) = (tmp_path / "speed" / "baselines").glob("*.json")
    content = json.loads(baseline.read_text())
    content["rows"][1]["ratio_to_loop"] *= 1000
    baseline.write_text(json.dumps(content))
    failing(monkeypatch, judge.Unequal("they do not compute the same"), after=1)
    assert speed.main([*SMALL, *folder, "--gate"]) == 3
    assert "regression: har2 tanh fused" in capsys.readouterr().err


def test_what_fell_and_has_no_ratio_the_second_time_stays_fallen(tmp_path, monkeypatch, capsys):

    folder = ["--results-dir", str(tmp_path)]
    assert speed.main([*SMALL, *folder, "--save-baseline"]) == 0
    (baseline,) = (tmp_path / "speed" / "baselines").glob("*.json")
    content = json.loads(baseline.read_text())
    content["rows"][1]["ratio_to_loop"] *= 1000
    baseline.write_text(json.dumps(content))
    measure, calls = session.measure, []

    def second_without_the_loop(*args):
        calls.append(1)
        return [row | ({"ratio_to_loop": None} if len(calls) > 1 else {}) for row in measure(*args)]

    monkeypatch.setattr(session, "measure", second_without_the_loop)
    assert speed.main([*SMALL, *folder, "--gate"]) == 3
    assert "regression: har2 tanh fused" in capsys.readouterr().err and len(calls) == 2


def test_a_gate_with_nothing_to_compare_because_of_that_is_no_misuse(tmp_path, monkeypatch, capsys):
    folder = ["--results-dir", str(tmp_path)]
    assert speed.main([*SMALL, *folder, "--save-baseline"]) == 0
    failing(monkeypatch, judge.Unequal("they do not compute the same"), shape="adding")
    other = [word.replace("har2", "adding") for word in SMALL]
    assert speed.main([*other, *folder, "--gate"]) == 1
    assert "has no ratio for what was measured" not in capsys.readouterr().err
