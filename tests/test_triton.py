"""When the Triton engine runs and when it refuses, and how it lays a scan out. No kernel runs here."""

from __future__ import annotations

import importlib.util
import itertools
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.cornn import CoRNNCell
from models.lstm import LSTMCell
from models.scan import engines
from models.scan.engines import EngineError
from models.scan.triton import plan as plans
from models.scan.triton import unavailable, why_not
from models.tanh import TanhCell

CUDA = torch.device("cuda")
FACTS = {"device": CUDA, "dtype": torch.float32, "hidden_size": 128, "precision": "float32"}
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


class StepOnly:
    states = recurrent = inputs = products = 1
    params = saved = 0
    add = True
    constants = ()

    def step(self, a, state, p):
        return torch.tanh(a)


class WrongFunctor(StepOnly):
    triton_functor = "models.scan.triton.cells:NOT_THERE"


@pytest.fixture
def no_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is at hand")
def test_without_a_gpu_one_clear_line(no_interpreter):
    assert "no GPU" in unavailable("cuda")
    assert "it runs on a GPU, not on cpu" in unavailable("cpu")
    assert "not on mps" in unavailable("mps")
    with pytest.raises(EngineError, match=r"^engine triton: it runs on a GPU, not on cpu[^\n]*$"):
        engines.choose("triton", TanhCell(), device=torch.device("cpu"), dtype=torch.float32, hidden_size=8)


def test_auto_on_the_cpu_never_takes_the_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    chosen = engines.choose("auto", StepOnly(), device=torch.device("cpu"), dtype=torch.float32, hidden_size=8)
    assert chosen == "reference"


@needs_triton
def test_too_old_a_gpu(monkeypatch):
    """An old one beside one that will do is refused alone."""
    of = {None: (9, 0), 0: (9, 0), 1: (7, 5)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda d=0: of[d.index if isinstance(d, torch.device) else d]
    )
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda d: SimpleNamespace(shared_memory_per_block_optin=232_448)
    )
    facts = {"dtype": torch.float32, "hidden_size": 8, "precision": "float32"}
    line = "the GPU is too old: wanted compute capability 8.0, got 7.5"
    monkeypatch.setattr("models.scan.triton._cannot_launch", lambda: "no compiler")
    assert unavailable("cuda") == "no compiler"
    monkeypatch.setattr("models.scan.triton._cannot_launch", lambda: None)
    assert unavailable("cuda") is None
    assert why_not(TanhCell(), device=torch.device("cuda:0"), **facts) is None
    assert why_not(TanhCell(), device=torch.device("cuda"), **facts) is None
    assert why_not(TanhCell(), device=torch.device("cuda:1"), **facts) == line
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda d=0: (7, 5))
    assert unavailable("cuda") == line


def test_no_triton(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "triton is not installed" in unavailable("cuda")


@needs_triton
@pytest.mark.parametrize(("shared", "refused"), [(101_376, True), (166_912, False), (232_448, False), (None, False)])
def test_a_gpu_with_little_shared_memory(monkeypatch, shared, refused):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    facts = SimpleNamespace() if shared is None else SimpleNamespace(shared_memory_per_block_optin=shared)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: facts)
    reason = why_not(TanhCell(), **{**FACTS, "device": torch.device("cuda")})
    assert ("wanted at least 163,840 bytes a block, got 101,376" in reason) if refused else reason is None


@needs_triton
@pytest.mark.parametrize(
    ("cell", "changed", "wanted"),
    [
        (TanhCell(), {}, None),
        (CoRNNCell(0.1, 1.0, 1.0), {"precision": "bf16", "hidden_size": 512}, None),
        (TanhCell(), {"dtype": torch.float64}, "it computes in float32, not in float64"),
        (TanhCell(), {"precision": "fp8"}, "it has no precision fp8: known are float32, tf32, bf16"),
        (LSTMCell(), {"hidden_size": 513}, "wanted at most 512 for LSTMCell with float32, got 513"),
        (LSTMCell(), {"hidden_size": 257, "precision": "tf32"}, "wanted at most 256 for LSTMCell with tf32, got 257"),
        (StepOnly(), {}, "StepOnly has no Triton functor"),
        (WrongFunctor(), {}, "the functor 'models.scan.triton.cells:NOT_THERE' cannot be loaded"),
    ],
    ids=lambda value: str(value) if isinstance(value, (str, dict, type(None))) else type(value).__name__,
)
def test_why_not(cell, changed, wanted):
    reason = why_not(cell, **{**FACTS, **changed})
    assert reason is None if wanted is None else (wanted in reason and "\n" not in reason)


@given(
    hidden_size=st.integers(1, 512), ins=st.integers(0, 4), outs=st.integers(0, 4), rows=st.integers(1, 5000),
    precision=st.sampled_from(plans.PRECISIONS),
)  # fmt: skip
def test_every_plan_is_one_that_triton_takes(hidden_size, ins, outs, rows, precision):
    plan = plans.choose(hidden_size=hidden_size, ins=ins, outs=outs, precision=precision, rows=rows)
    for number in (plan.tile, plan.block, plan.warps):
        assert number >= 1 and number & (number - 1) == 0
    assert 1 <= plan.rows <= plan.tile <= 16
    assert not (plan.dot and precision == "float32"), "tensor cores would round float32"
    assert not plan.dot or (plan.tile >= 8 and plan.block >= 16)
    if not plan.stream:
        held = (4 if not plan.dot or precision == "tf32" else 2) * ins * outs * plans.padded(hidden_size) ** 2
        assert held <= (plans.SHARED_WEIGHTS if plan.dot else plans.REGISTER_WEIGHTS)


@pytest.mark.parametrize(
    ("name", "hidden_size", "precision", "rows", "way", "owned"),
    [
        ("cornn", 128, "float32", 120, "vector", 1),  # the recurrent weight fills half the registers
        ("cornn", 128, "tf32", 120, "vector", 1),
        ("cornn", 128, "tf32", 1920, "dot", 16),  # sixteen seeds: one wave of tensor-core programs
        ("lstm", 128, "bf16", 120, "dot", 1),
        ("lstm", 128, "float32", 120, "vector-stream", 4),  # 256 KB do not fit
        ("cornn", 256, "bf16", 120, "dot-stream", 8),
        ("cornn", 64, "float32", 264, "vector", 2),
        ("lstm", 64, "float32", 264, "vector", 4),
    ],
)
def test_layouts_of_the_aims(name, hidden_size, precision, rows, way, owned):
    ins, outs = {"cornn": (2, 1), "lstm": (1, 4)}[name]
    plan = plans.choose(hidden_size=hidden_size, ins=ins, outs=outs, precision=precision, rows=rows)
    assert (plan.way, plan.rows) == (way, owned)


@needs_triton
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("rows", "chunk"), [(12, 12), (1023, 1023), (94_080, 3920), (2 * 4099, 2 * 4099), (4100, 2050)]
)
def test_weight_gradients_are_partial_sums_of_a_few_thousand_rows(rows, chunk, seeds):
    from models.scan.triton import launch

    assert launch._chunk(rows) == chunk
    generator = torch.Generator().manual_seed(rows)
    a, b = torch.randn(seeds, rows, 5, generator=generator), torch.randn(seeds, rows + 7, 4, generator=generator)
    got = launch._over_time(a[..., :3], b[:, :rows, 1:])
    wanted = a[..., :3].double().mT @ b[:, :rows, 1:].double()
    torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-5 * rows**0.5)


def test_a_forced_plan_ends_with_its_block():
    facts = {"hidden_size": 16, "ins": 1, "outs": 1, "precision": "float32", "rows": 4}
    before = plans.choose(**facts)
    with pytest.raises(KeyError), plans.forced(rows=2, tile=2):
        assert plans.choose(**facts).rows == 2
        raise KeyError
    assert plans.choose(**facts) == before


@needs_triton
def test_the_documented_table_is_of_these_layouts(project):
    """docs/gpu.md has every row, laid out as now: its figures come from `python -m models.scan.triton.resources`."""
    from models.scan.triton.launch import plan_for
    from models.scan.triton.resources import CELLS, ROWS, SIZES, cell_named

    lines = (project / "docs" / "gpu.md").read_text().splitlines()
    rows = [[field.strip() for field in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    found = {tuple(row[:4]): tuple(row[4:7]) for row in rows if len(row) == 11}
    for name, H, precision, count in itertools.product(CELLS, SIZES, plans.PRECISIONS, ROWS):
        facts = {"hidden_size": H, "precision": precision, "rows": count, "backward": False}
        plan = plan_for(cell_named(name), **facts, multiprocessors=plans.MULTIPROCESSORS)
        assert found[name, str(H), precision, str(count)] == (plan.way, str(plan.rows), str(plan.warps))
