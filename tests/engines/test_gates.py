"""The gates of every engine with a hand-written backward: see tests/oracles/gates.py."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import MODELS, build
from models.scan import buffers, engines, fused, native
from models.scan.cell import ScanError, scan
from tests.engines.conftest import ENGINES
from tests.oracles import gates

MODEL_NAMES = tuple(MODELS)
SIZES = [(B, H) for B in (1, 3, 50) for H in (1, 7, 64, 128, 130)]


@pytest.mark.parametrize("T", [1, 2, 17])
def test_end_to_end(engine, model, T):
    misses = [miss for B, H in SIZES if B * H < 2000 or T == 2 for miss in gates.end_to_end(engine, model, T, B, H)]
    assert not misses


@pytest.mark.slow
def test_end_to_end_large(engine, model):
    misses = [miss for B, H in SIZES for miss in gates.end_to_end(engine, model, 17, B, H)]
    assert not misses


def test_along_a_long_run(engine, model):
    assert not gates.along_the_run(engine, model, 784, 3, 7)


@pytest.mark.slow
@pytest.mark.parametrize("B", [1, 3, 50])
@pytest.mark.parametrize("H", [1, 7, 64, 128, 130])
def test_along_a_long_run_everywhere(engine, model, B, H):
    assert not gates.along_the_run(engine, model, 784, B, H)


@pytest.mark.slow
def test_end_to_end_long_where_the_reference_is_accurate(engine, model):
    if gates.reference_error(model, 784, 3, 64) > 1e-4:
        pytest.skip("the reference itself is less accurate than 1e-4 here: chaotic weights or masks")
    assert not gates.end_to_end(engine, model, 784, 3, 64)


@given(
    name=st.sampled_from(MODEL_NAMES), T=st.integers(1, 12), B=st.integers(1, 40), H=st.integers(1, 70),
    threads=st.integers(1, 3), seed=st.integers(0, 1000), which=st.sampled_from(ENGINES),
)  # fmt: skip
def test_any_shape(name, T, B, H, threads, seed, which):
    if which == "native" and native.unavailable("cpu"):
        return
    torch.set_num_threads(threads)
    assert not gates.end_to_end(which, name, T, B, H, seed)


def test_memory_never_written_is_never_read(engine, model, monkeypatch):
    """Every buffer starts as NaN; nothing may change."""
    problem = gates.problem(model, 9, 5, 35)
    want = gates.run(engine, problem)
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(buffers, "poison", True)
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, *a, **k: new_empty(self, *a, **k).fill_(float("nan")))
    with native.poisoned():
        got = gates.run(engine, problem)
    assert all(torch.equal(got[n], want[n]) for n in want)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["x", "W", "s0"])
def test_nan_and_inf_pass_through(engine, model, bad, where):
    problem = gates.problem(model, 6, 4, 20)
    tensors = {n: None if t is None else t.clone() for n, t in problem.tensors.items()}
    tensors[where][(2, 1, 0) if where == "x" else (1, 3)] = bad
    changed = gates.Problem(problem.cell, tensors, problem.g_h, problem.g_final)
    got, want = gates.run(engine, changed), gates.run("reference", changed)
    for n in ("h", "final"):
        assert torch.equal(got[n].isnan(), want[n].isnan()), n
        torch.testing.assert_close(got[n], want[n], rtol=1e-4, atol=1e-5, equal_nan=True)
    for n in want:  # a gradient may be NaN where the reference's relu hides it (expRNN's bias), never the other way
        assert bool((got[n].isfinite() <= want[n].isfinite()).all()), n


def test_nan_in_an_output_gradient(engine, model):
    problem = gates.problem(model, 6, 4, 20)
    g_h = problem.g_h.clone()
    g_h[3, 2, 5] = float("nan")
    changed = gates.Problem(problem.cell, problem.tensors, g_h, problem.g_final)
    got, want = gates.run(engine, changed), gates.run("reference", changed)
    for n in want:
        assert torch.equal(got[n].isnan(), want[n].isnan()), n


def test_fused_gradcheck(model):
    problem = gates.problem(model, 4, 3, 5)
    leaves = [None if t is None else t.double().requires_grad_() for t in problem.tensors.values()]
    assert torch.autograd.gradcheck(lambda *a: scan(problem.cell, *a, engine="fused"), leaves)


def test_fused_runs_in_chunks(model):
    """More rows than a chunk holds: the seam between chunks shows nowhere."""
    assert not gates.end_to_end("fused", model, 17, 50, 7)


def test_reference_and_torch_agree():
    torch.manual_seed(0)
    for name in ("lstm", "tanh"):
        network, x = build(name, input_size=3, hidden_size=11), torch.randn(9, 4, 3)
        results = []
        for engine in ("torch", "reference"):
            network.engine = engine
            network.zero_grad()
            h, final = network(x)
            (h.square().sum() + final.sum()).backward()
            results.append([h, final, *(p.grad.clone() for p in network.parameters())])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_float64_goes_to_fused_and_native_refuses_it():
    problem = gates.problem("tanh", 3, 2, 4)
    tensors = [None if t is None else t.double() for t in problem.tensors.values()]
    with pytest.raises(engines.EngineError, match="float32, not in float64"):
        scan(problem.cell, *tensors, engine="native")
    facts = {"device": torch.device("cpu"), "dtype": torch.float64, "hidden_size": 4}
    assert engines.choose("auto", problem.cell, **facts) == "fused"


def test_mixed_dtypes_are_refused_by_native():
    problem = gates.problem("tanh", 3, 2, 4)
    tensors = {**problem.tensors, "W": problem.tensors["W"].double()}
    with pytest.raises(ScanError, match="W: wanted float32 on cpu"):
        scan(problem.cell, *tensors.values(), engine="native")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seeds", [(), (2,)])
def test_small_terms_are_summed_before_they_are_added_to_a_large_one(threads, seeds):
    """As in the gradient along a long run, at every number of rows."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    right = torch.randn(*seeds, 128, 128) / 128**0.5
    worst = 0.0
    for n in range(1, 65):
        out, left = torch.randn(*seeds, n, 128), 0.01 * torch.randn(*seeds, n, 128)
        want = out.double() + left.double() @ right.double()
        fused._product_(out, left, right, beta=1)
        worst = max(worst, gates.error(out, want))
    assert worst < 6e-8  # float32's unit roundoff
