"""The Triton kernels through the gates: interpreted on the CPU with TRITON_INTERPRET=1, on the GPU without.

Run by tests/test_triton_interpreted.py and tests/test_triton_gpu.py in a process of their own, because the variable
must be set before Triton is imported.
"""

from __future__ import annotations

import os
from dataclasses import replace

import gates
import pytest
import torch
from gates import Problem, problem
from ownkernels import LeakyCell

from models.antisymmetric import AntisymmetricCell, GatedAntisymmetricCell
from models.cornn import CoRNNCell
from models.exprnn import ExpCell
from models.fastrnn import FastRNNCell
from models.lstm import LSTMCell
from models.scan.cell import scan
from models.scan.function import Needs
from models.scan.rounding import rounded
from models.scan.triton import launch, plan
from models.tanh import TanhCell

# numpy's, in the interpreter: tanh takes exp past the largest number and divides by the infinity
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp:RuntimeWarning")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
CELLS = {
    "tanh": TanhCell(),
    "cornn": CoRNNCell(0.2, 0.7, 1.3),
    "cornn-implicit": CoRNNCell(0.2, 0.7, 1.3, implicit=True),
    "antisymmetric": AntisymmetricCell(0.3),
    "gated": GatedAntisymmetricCell(0.3),
    "lstm": LSTMCell(),
    "fastrnn": FastRNNCell(),
    "exprnn": ExpCell(),
    "leaky": LeakyCell(0.3),
}
WAYS = {
    "vector": {"rows": 2, "tile": 2, "dot": False, "stream": False},
    "vector-stream": {"rows": 3, "tile": 4, "dot": False, "stream": True, "block": 16, "stages": 2},
    "dot": {"rows": 2, "tile": 16, "dot": True, "stream": False},
    "dot-stream": {"rows": 3, "tile": 8, "dot": True, "stream": True, "block": 16, "stages": 2},
}
# With float32 the ways of the tensor cores are for the interpreter alone: no plan takes them, they would round.
EXACT = {k: v for k, v in WAYS.items() if INTERPRETED or not v["dot"]}
SHAPES = [(1, 1, 1), (2, 1, 33), (2, 3, 16), (17, 3, 7)]
MORE_SHAPES = [(1, 3, 16), (2, 3, 1), (17, 1, 1), (17, 1, 16), (17, 3, 33), (3, 2, 130)]
KINDS = ("cornn", "lstm", "gated", "fastrnn")  # two blocks in, four blocks out, a = [u | m], parameters


def quick(values, chosen):
    """All values as parameters; those not chosen are slow."""
    return [pytest.param(v, marks=() if v in chosen else pytest.mark.slow, id=str(v)) for v in values]


def assert_same(got, wanted, what="", *, exact=INTERPRETED):
    """Bit for bit in the interpreter; on a GPU another shape may take another product of cuBLAS."""
    got, wanted = got.cpu(), wanted.cpu()
    if exact:
        assert torch.equal(got, wanted), what
    else:
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6, msg=lambda text: f"{what}: {text}")


def on_device(q: Problem) -> Problem:
    return q.map(lambda t: t.to(DEVICE))


def run(q: Problem, precision: str = "float32", **options) -> dict[str, torch.Tensor]:
    """The engine as a user calls it: outputs and gradients, on the CPU."""
    return {k: v.cpu() for k, v in run_there(on_device(q), precision, **options).items()}


def run_there(q: Problem, precision: str = "float32", **options) -> dict[str, torch.Tensor]:
    """The same where the problem is."""
    leaves = {k: v.detach().requires_grad_() for k, v in q.tensors().items()}
    none = {k: None for k in gates.TENSORS}
    h, final = scan(q.cell, **{**none, **leaves}, engine="triton", precision=precision, **options)
    ((h * q.w_h).sum() + (final * q.w_final).sum()).backward()
    out = {"h": h, "final": final, **{f"grad {k}": v.grad for k, v in leaves.items()}}
    return {k: v.detach() for k, v in out.items()}


def assert_along(q: Problem, precision: str, monkeypatch) -> None:
    """Gates (b) and (c), the kernels called directly for every state and for dL/da."""
    caught = []

    def outer(cell, x, V, before, grad_a, needs, has_bias, original=launch._outer):
        caught.append(grad_a)
        return original(cell, x, V, before, grad_a, needs, has_bias)

    monkeypatch.setattr(launch, "_outer", outer)
    d = on_device(q)
    _, _, states, saved = launch.forward(d.cell, d.x, d.V, d.b, d.W, d.p, d.s0, keep=True, precision=precision)
    grads = launch.backward(
        d.cell, d.x, d.V, d.W, d.p, states, saved, d.w_h, d.w_final,
        needs=Needs(*(True,) * 6), has_bias=d.b is not None, profile=None, precision=precision,
    )  # fmt: skip
    named = {f"grad {k}": v.cpu() for k, v in grads._asdict().items() if v is not None}
    MH = q.cell.products * q.w_h.shape[-1]
    grad_m = caught[0].cpu().view(q.x.shape[0], q.x.shape[1], -1)[..., slice(0, MH) if q.cell.add else slice(-MH, None)]
    outside = {} if INTERPRETED or precision == "float32" else {"grad W": 2**-10}  # cuBLAS's TF32, which rounds too
    gates.assert_along(q, states.cpu(), named, grad_m, precision, outside)


@pytest.mark.parametrize("shape", quick(SHAPES + MORE_SHAPES, SHAPES))
@pytest.mark.parametrize("name", CELLS)
def test_end_to_end(name, shape):
    q = problem(CELLS[name], *shape)
    with plan.forced(rows=2 if shape[0] < 17 else 4, tile=2 if shape[0] < 17 else 4, dot=False, stream=False):
        got = run(q)
    gates.compare(got, gates.reference(q, torch.float64), gates.float32_runs(q), "triton")


@pytest.mark.parametrize("way", [w for w in EXACT if w != "vector"])
@pytest.mark.parametrize("name", quick(CELLS, KINDS))
def test_every_way_to_multiply(name, way):
    q = problem(CELLS[name], 3, 3, 33)
    with plan.forced(**WAYS[way]):
        got = run(q)
    gates.compare(got, gates.reference(q, torch.float64), gates.float32_runs(q), way)


@pytest.mark.parametrize("way", quick(WAYS, ("vector", "dot-stream")))
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("name", quick(CELLS, KINDS))
def test_rounded_operands(name, precision, way, monkeypatch):
    q = problem(CELLS[name], 4, 2, 17, projected=False)
    with plan.forced(**WAYS[way]):
        assert_along(q, precision, monkeypatch)


@pytest.mark.parametrize("name", quick([c for c in CELLS if c != "leaky"], KINDS))
def test_precisions_differ(name):
    """The option does something: tf32 and bf16 lie apart from float32 and from each other, at their own distance."""
    q = problem(CELLS[name], 3, 2, 16, projected=False)
    results = {p: run(q, p)["h"] for p in plan.PRECISIONS}
    tf32, bf16 = (gates.distance(results[p], results["float32"]) for p in ("tf32", "bf16"))
    assert 1e-6 < tf32 < 1e-3 and 4 * tf32 < bf16 < 1e-2


@pytest.mark.parametrize("name", quick(CELLS, KINDS))
def test_along_its_own_states(name, monkeypatch):
    with plan.forced(rows=2, tile=2):
        assert_along(problem(CELLS[name], 32, 2, 16), "float32", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("precision", plan.PRECISIONS)
@pytest.mark.parametrize("name", CELLS)
def test_along_its_own_states_long(name, precision, monkeypatch):
    with plan.forced(rows=2, tile=2):
        assert_along(problem(CELLS[name], 784, 2, 64, projected=precision == "float32"), precision, monkeypatch)


@pytest.mark.parametrize("way", quick(EXACT, ("vector", "dot-stream")))
@pytest.mark.parametrize("name", quick(KINDS, ("cornn", "fastrnn")))
def test_seeds_side_by_side(name, way):
    q = problem(CELLS[name], 3, 3, 7, seeds=2)
    with plan.forced(**WAYS[way]):
        got = run(q)
        for s in range(2):
            alone = run(one_seed(q, s))
            for key, tensor in alone.items():
                # what the kernels alone make; the rest goes through torch's products, batched here and not there
                exact = INTERPRETED and key in ("h", "final", "grad s0")
                assert_same(got[key][:, s] if key in ("h", "grad x") else got[key][s], tensor, key, exact=exact)


def one_seed(q: Problem, s: int) -> Problem:
    timed = {"x": q.x[:, s], "w_h": q.w_h[:, s]}
    rest = {k: getattr(q, k) for k in ("V", "b", "W", "p", "s0", "w_final")}
    return replace(q, **timed, **{k: None if v is None else v[s] for k, v in rest.items()})


def test_vmap_is_the_seed_axis():
    q = on_device(problem(CELLS["fastrnn"], 4, 3, 7, seeds=2))

    def loss(x, V, b, W, p, s0, w_h, w_final):
        h, final = scan(q.cell, x, V, b, W, p, s0, engine="triton")
        return (h * w_h).sum() + (final * w_final).sum()

    leaves = {k: v.detach().requires_grad_() for k, v in q.tensors().items()}
    dims = (1, 0, 0, 0, 0, 0, 1, 0)
    torch.vmap(loss, in_dims=dims)(*leaves.values(), q.w_h, q.w_final).sum().backward()
    direct = run(q)
    for key, leaf in leaves.items():
        assert_same(leaf.grad, direct[f"grad {key}"], key)


@pytest.mark.parametrize("seeds", [None, 2])
@pytest.mark.parametrize("name", ["cornn", "exprnn"])
def test_profile(name, seeds):
    q = problem(CELLS[name], 5, 3, 7, seeds=seeds)
    shape = (*(() if seeds is None else (seeds,)), q.cell.states, 5)
    got, wanted = torch.full(shape, torch.nan, device=DEVICE), torch.full(shape, torch.nan)
    with plan.forced(**WAYS["vector"]):  # two programs a seed: their sums meet
        run(q, profile=got)
    leaf = q.s0.clone().requires_grad_()
    h, final = scan(q.cell, q.x, q.V, q.b, q.W, q.p, leaf, engine="reference", profile=wanted)
    ((h * q.w_h).sum() + (final * q.w_final).sum()).backward()
    torch.testing.assert_close(got.cpu(), wanted, rtol=1e-5, atol=0)


def test_profile_of_vanishing_gradients():
    """Squares of 1e-30 do not vanish: the sums are float64."""
    q = problem(CELLS["antisymmetric"], 3, 2, 7)
    q = replace(q, w_h=q.w_h * 0, w_final=q.w_final * 1e-30)
    got = torch.zeros(1, 3, device=DEVICE)
    run(q, profile=got)
    assert bool((got > 1e-31).all())


@pytest.mark.parametrize("way", EXACT)
@pytest.mark.parametrize("name", quick(CELLS, KINDS[:1]))
def test_without_gradients_the_same(name, way):
    q = on_device(problem(CELLS[name], 4, 3, 7))
    with plan.forced(**WAYS[way]):
        kept = run(q)
        with torch.no_grad():
            h, final = scan(q.cell, q.x, q.V, q.b, q.W, q.p, q.s0, engine="triton")
        assert_same(h, kept["h"])
        assert_same(final, kept["final"])


def test_two_forwards_before_one_backward_and_backward_twice():
    first, second = (on_device(problem(CELLS["lstm"], 2, 2, 7, seed=s)) for s in (0, 1))
    alone = [run(q) for q in (first, second)]
    losses, leaves = [], []
    for q in (first, second):
        leaf = {k: v.detach().requires_grad_() for k, v in q.tensors().items()}
        h, final = scan(q.cell, p=None, **leaf, engine="triton")
        losses.append((h * q.w_h).sum() + (final * q.w_final).sum())
        leaves.append(leaf)
    for loss, leaf, wanted in zip(losses, leaves, alone, strict=True):
        loss.backward(retain_graph=True)
        loss.backward()
        for key, tensor in leaf.items():
            assert_same(tensor.grad, 2 * wanted[f"grad {key}"], key)


def test_strided_inputs_and_u_left_alone():
    q = problem(CELLS["lstm"], 2, 3, 7, projected=False)
    wanted = run(q)
    x = q.x.movedim(0, 1).contiguous().movedim(1, 0)
    strided = replace(q, x=x, W=q.W.mT.contiguous().mT, s0=q.s0.mT.contiguous().mT)
    before = x.clone()
    got = run(strided)
    assert torch.equal(x, before)
    for key, tensor in wanted.items():
        assert_same(got[key], tensor, key)


def test_some_gradients_alone():
    q = on_device(problem(CELLS["fastrnn"], 2, 2, 7))
    wanted = run(q)
    for key, tensor in q.tensors().items():
        leaf = tensor.detach().requires_grad_()
        h, final = scan(**{**vars_of(q), key: leaf}, engine="triton")
        ((h * q.w_h).sum() + (final * q.w_final).sum()).backward()
        assert_same(leaf.grad, wanted[f"grad {key}"], key)


def vars_of(q: Problem) -> dict:
    return {"cell": q.cell, **{k: getattr(q, k) for k in gates.TENSORS}}


def test_only_one_output_differentiated():
    q = on_device(problem(CELLS["cornn"], 3, 2, 7))
    for which in ("h", "final"):
        grads = []
        for engine in ("triton", "reference"):
            leaf = q.W.detach().requires_grad_()
            h, final = scan(**{**vars_of(q), "W": leaf}, engine=engine)
            (h * q.w_h).sum().backward() if which == "h" else (final * q.w_final).sum().backward()
            grads.append(leaf.grad)
        torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # numpy's, in the interpreter
@pytest.mark.parametrize("way", quick(EXACT, ("vector",)))
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", CELLS)
def test_nan_and_inf_go_through(name, value, way):
    """What is not finite in the reference is not finite here, and nowhere else."""
    q = problem(CELLS[name], 3, 2, 7)
    q.x[1, 1, 0] = value
    wanted = gates.reference(q, torch.float32)
    with plan.forced(**WAYS[way]):
        got = run(q)
    assert not bool(wanted["h"].isfinite().all()) or abs(value) == torch.inf
    for key in ("h", "final"):
        assert torch.equal(got[key].isnan(), wanted[key].isnan()), key
        assert torch.equal(got[key].isinf(), wanted[key].isinf()), key
    assert torch.equal(got["grad s0"].isnan(), wanted["grad s0"].isnan())


@pytest.mark.parametrize("way", quick(EXACT, ("vector", "dot-stream")))
@pytest.mark.parametrize("name", quick(CELLS, KINDS))
def test_every_word_is_written(name, way):
    """Fresh memory is filled with NaN: none may show."""
    q = problem(CELLS[name], 2, 3, 7)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.utils.deterministic.fill_uninitialized_memory
        with plan.forced(**WAYS[way]):
            got = run(q, profile=torch.zeros(q.cell.states, 2, device=DEVICE))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(bool(v.isfinite().all()) for v in got.values())


def test_rounding_to_tf32():
    odd = 1 + 3 * 2**-11
    special = torch.tensor([0.0, -0.0, 1.0, 1 + 2**-11, odd, -odd, 3.4028e38, torch.inf, -torch.inf, torch.nan])
    nan_of_the_gpu = torch.tensor([0x7FFFFFFF], dtype=torch.int32).view(torch.float32)
    got = rounded(torch.cat((special, nan_of_the_gpu)), "tf32")
    wanted = torch.tensor([0.0, -0.0, 1.0, 1.0, 1 + 2**-9, -1 - 2**-9, torch.inf, torch.inf, -torch.inf])
    assert torch.equal(got[:9], wanted) and bool(got[9:].isnan().all())
    many = torch.randn(1000)
    assert torch.equal(rounded(many, "tf32"), gates.rounded(many, "tf32"))
