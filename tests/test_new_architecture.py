"""docs/new-architecture.md: its snippets are those of the example, and the example climbs every rung of the CPU."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.scan import native
from models.scan.cell import scan
from models.scan.engines import EngineError
from suite.names import resolve
from tests.oracles import gates

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def gru():
    spec = importlib.util.spec_from_file_location("docs_examples_gru", DOCS / "examples" / "gru.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_code_that_runs():
    page = (DOCS / "new-architecture.md").read_text()
    names = {"python": ("gru.py", "lem.py", "lru.py"), "cpp": ("gru.hpp",)}
    code = {kind: "".join((DOCS / "examples" / name).read_text() for name in files) for kind, files in names.items()}
    blocks = re.findall(r"```(python|cpp)\n(.*?)```", page, re.DOTALL)
    shown = [text for kind, text in blocks if text in code[kind]]
    other = [text for kind, text in blocks if text not in code[kind]]
    assert len(shown) >= 8
    assert len(other) == 1 and "torch.autograd.gradcheck(" in other[0]
    done = subprocess.run([sys.executable, "-c", other[0]], cwd=DOCS.parent, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def _problem(gru, T, B, H, *, I=3):
    torch.manual_seed(0)
    network = gru.GRU(I, H)
    with torch.no_grad():
        V, b, W, p = (w.clone() for w in network.weights())
    tensors = dict(zip(gates.NAMES, (torch.randn(T, B, I), V, b, W, p, 0.3 * torch.randn(B, H)), strict=True))
    return gates.Problem(gru.GRUCell(), tensors, torch.randn(T, B, H), torch.randn(B, H))


def test_gradcheck(gru):
    tensors = [t.double().requires_grad_() for t in _problem(gru, 4, 3, 5).tensors.values()]
    assert torch.autograd.gradcheck(lambda *t: scan(gru.GRUCell(), *t, engine="fused"), tensors)


ENGINES = ["reference", "fused", pytest.param("native", marks=pytest.mark.skipif(
    native.unavailable("cpu") is not None, reason="no C++ compiler"))]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_to_torch(gru, engine):
    """Outputs and every gradient, by name, beside ``torch.nn.GRU``."""
    torch.manual_seed(0)
    ours, theirs = gru.GRU(3, 37, engine=engine), torch.nn.GRU(3, 37)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(11, 5, 3)
    weight = torch.randn(11, 5, 37)
    h, final = ours(x)
    other, last = theirs(x)
    torch.testing.assert_close(h, other, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(final, last[0], rtol=1e-5, atol=1e-6)
    (h * weight).sum().backward()
    (other * weight).sum().backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("engine", ENGINES[1:])
@pytest.mark.parametrize(("T", "B", "H"), [(1, 1, 1), (2, 3, 7), (17, 50, 64), (17, 3, 130)])
def test_the_gates(gru, engine, T, B, H):
    """Gate (a), measured beside five permuted runs of the reference."""
    problem = _problem(gru, T, B, H)
    truth = gates.run("reference", problem, dtype=torch.float64)
    worst = dict.fromkeys(truth, 0.0)
    for orders in gates._orders(H, B):
        got = gates.unpermuted(problem.cell, gates.run("reference", gates.permuted(problem, *orders)), *orders)
        worst = {n: max(worst[n], gates.error(got[n], truth[n])) for n in truth}
    for n, value in gates.run(engine, problem).items():
        assert gates.error(value, truth[n]) <= max(gates.FACTOR * worst[n], gates.FLOOR), n


def test_the_plain_class_runs_and_states_its_engine(gru):
    plain = gru.PlainGRU(3, 6)
    h, final = plain(torch.randn(4, 2, 3))
    assert h.shape == (4, 2, 6) and torch.equal(final, h[-1])
    assert plain.engine_for(torch.device("cpu"), torch.float32) == "reference"
    with pytest.raises(EngineError, match="PlainGRU defines no cell"):
        gru.PlainGRU(3, 6, engine="fused").engine_for(torch.device("cpu"), torch.float32)


def test_it_is_a_plug_in_by_its_name(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS.parent))
    plugin = resolve("model", "docs.examples.gru:GRU")
    assert plugin.cls.__name__ == "GRU"


@pytest.fixture(scope="module")
def lem():
    return resolve("model", "docs.examples.lem:LEM").cls


def test_lem_is_its_equations(lem):
    """One step by hand from a state that is not zero, in float64."""
    torch.manual_seed(0)
    network, x = lem(3, 5, dt=0.7).double(), torch.randn(2, 4, 3, dtype=torch.float64)
    h, final = network(x)
    y, z = network(x[:1])[1].chunk(2, -1)
    V, b, W, Wz = network.of_input.weight, network.of_input.bias, network.of_y.weight, network.of_z.weight
    v1, v2, vz, vy = (x[1] @ V.T + b).chunk(4, -1)
    w1, w2, wz = (y @ W.T).chunk(3, -1)
    d1, d2 = 0.7 * torch.sigmoid(w1 + v1), 0.7 * torch.sigmoid(w2 + v2)
    z = (1 - d2) * z + d2 * torch.tanh(wz + vz)
    y = (1 - d1) * y + d1 * torch.tanh(z @ Wz.T + vy)
    assert torch.allclose(final, torch.cat((y, z), -1), rtol=1e-12, atol=0) and torch.equal(h[1], final[:, :5])


def test_lems_profile_is_the_total_gradient(lem):
    """Beside gradients of the loss as a function of the state after each step."""
    torch.manual_seed(0)
    network, x, target = lem(3, 5).double(), torch.randn(6, 4, 3, dtype=torch.float64), torch.randn(4, 5).double()
    profile = torch.full((2, 6), torch.nan, dtype=torch.float64)
    h, _ = network(x, profile=profile)
    ((h[-1] - target) ** 2).sum().backward()

    def rest(state, t):
        """The loss where the state after step t is given: a network that starts there."""
        out = state
        for u in network.of_input(x[t + 1 :]).unbind(0):
            y, z = out.chunk(2, -1)
            m = network.of_y(y).chunk(3, -1)
            v = u.chunk(4, -1)
            z = z + torch.sigmoid(v[1] + m[1]) * (torch.tanh(v[2] + m[2]) - z)
            y = y + torch.sigmoid(v[0] + m[0]) * (torch.tanh(v[3] + network.of_z(z)) - y)
            out = torch.cat((y, z), -1)
        return ((out[:, :5] - target) ** 2).sum()

    for t in range(6):
        state = network(x[: t + 1])[1].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(rest(state, t), state)
        wanted = torch.stack([part.norm() for part in gradient.chunk(2, -1)])
        assert torch.allclose(profile[:, t], wanted, rtol=1e-10, atol=0)


@pytest.fixture(scope="module")
def lru():
    return resolve("model", "docs.examples.lru:LRU").cls


def states_of(network, x, s=None):
    """The states (T,B,H) and h by the equations, step by step, from state s."""
    e = network.encode(x)
    v = network.norm(e)
    factor = torch.exp(-network.nu.exp() + 1j * network.theta.exp())
    B, C = torch.complex(*network.B), torch.complex(*network.C)
    found = []
    for v_t in v:
        driven = network.gamma.exp() * (v_t.to(B.dtype) @ B.T)
        s = driven if s is None else factor * s + driven
        found.append(s)
    s = torch.stack(found)
    g = torch.nn.functional.gelu((s @ C.T).real + network.d * v)
    first, second = network.glu(g).chunk(2, -1)
    return s, e + first * torch.sigmoid(second)


@pytest.mark.parametrize("T", [1, 2, 7, 16])
def test_lru_is_its_equations(lru, T):
    """States, outputs and every gradient of the scan beside those of the plain loop, in float64."""
    torch.manual_seed(0)
    network, x = lru(3, 5).double(), torch.randn(T, 4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randn(T, 4, 5, dtype=torch.float64)
    h, final = network(x)
    s, other = states_of(network, x)
    assert torch.allclose(h, other, rtol=1e-10, atol=1e-12)
    assert torch.allclose(final, torch.cat((h[-1], s[-1].real, s[-1].imag), -1), rtol=1e-10, atol=1e-12)
    wanted = [x, *network.parameters()]
    mine, theirs = (
        torch.autograd.grad(((out - target) ** 2).sum(), wanted, allow_unused=True, materialize_grads=True)
        for out in (h, other)
    )
    for one, two in zip(mine, theirs, strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-11)
    assert T == 1 or all(one.abs().max() > 0 for one in mine)  # in one step there is no lambda


def test_lrus_two_ways_through_time_agree(lru):
    module = sys.modules[lru.__module__]
    torch.manual_seed(0)
    factor, b = (
        torch.polar(torch.rand(5).double(), torch.rand(5).double()),
        torch.randn(13, 4, 5, dtype=torch.complex128),
    )
    assert torch.allclose(module.doubled(factor, b), module.along(factor, b), rtol=1e-12, atol=1e-12)


def test_lrus_profile_is_the_total_gradient(lru):
    torch.manual_seed(0)
    network, x, target = lru(3, 5).double(), torch.randn(6, 4, 3, dtype=torch.float64), torch.randn(4, 5).double()
    profile = torch.full((3, 6), torch.nan, dtype=torch.float64)
    h, _ = network(x, profile=profile)
    ((h[-1] - target) ** 2).sum().backward()
    assert torch.equal(profile[0, :-1], torch.zeros(5).double()) and profile[0, -1] > 0
    for t in range(5):
        s = states_of(network, x[: t + 1])[0][-1].detach().requires_grad_()
        loss = ((states_of(network, x[t + 1 :], s)[1][-1] - target) ** 2).sum()
        (gradient,) = torch.autograd.grad(loss, s)
        wanted = torch.stack((gradient.real.norm(), gradient.imag.norm()))
        assert torch.allclose(profile[1:, t], wanted, rtol=1e-10, atol=0)


def test_lru_keeps_the_contract_and_its_eigenvalues_begin_on_their_ring(lru, capsys):
    from suite.check import main

    assert main(["--models", "docs.examples.lru:LRU"]) == 0, capsys.readouterr().out
    torch.manual_seed(0)
    network = lru(3, 4000, r_min=0.5, r_max=0.9)
    radius, angle = (-network.nu.exp()).exp().detach(), network.theta.exp().detach()
    assert radius.min() >= 0.5 and radius.max() <= 0.9 and angle.min() > 0 and angle.max() < 6.2832
    assert float(radius.square().mean()) == pytest.approx((0.25 + 0.81) / 2, abs=0.01)  # uniform in area
    assert torch.allclose(network.gamma.exp().square() + radius.square(), torch.ones(4000), atol=1e-5)
    slow, rest = network.parameter_groups(0.1)
    assert (slow["lr"], slow["weight_decay"], rest["lr"]) == (0.025, 0.0, 0.1)
    assert len(slow["params"]) + len(rest["params"]) == len(list(network.parameters()))


def test_chrono_lstm_begins_with_memories_of_up_to_so_many_steps(capsys):
    from suite.check import main

    torch.manual_seed(0)
    network = resolve("model", "docs.examples.chrono_lstm:ChronoLSTM").cls(3, 4000, longest=500)
    i, f, g, o = (network.bias_ih_l0 + network.bias_hh_l0).chunk(4)
    memory = f.exp()  # 1 / (1 - sigmoid(f)) - 1
    assert 1 <= memory.min() < 3 and 496 < memory.max() <= 499 and abs(memory.mean() - 250) < 10
    assert torch.equal(i, -f) and not g.any() and not o.any()
    assert main(["--models", "docs.examples.chrono_lstm:ChronoLSTM"]) == 0, capsys.readouterr().out
    assert main(["--models", "docs.examples.chrono_lstm:ChronoLSTM", "--set", "longest=2"]) != 0


def test_lem_keeps_the_contract(capsys):
    from suite.check import main

    assert main(["--models", "docs.examples.lem:LEM"]) == 0, capsys.readouterr().out
