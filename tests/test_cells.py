"""Every architecture in float64, states and gradients, against an independent transcription of its equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from models import MODELS, build
from models.classifier import SequenceModel
from tests.oracles import recurrences

CORNN = {"dt": 0.3, "gamma": 1.7, "epsilon": 2.2}
CASES = {
    "tanh": ("tanh", {}, recurrences.tanh_rnn, {}),
    "lstm": ("lstm", {}, recurrences.lstm, {}),
    "fastrnn": ("fastrnn", {}, recurrences.fastrnn, {}),
    "exprnn-cayley": ("exprnn", {"init": "cayley"}, recurrences.exprnn, {}),
    "exprnn-henaff": ("exprnn", {"init": "henaff"}, recurrences.exprnn, {}),
    "antisymmetric": (
        "antisymmetric", {"epsilon": 0.3, "gamma": 0.2}, recurrences.antisymmetric,
        {"epsilon": 0.3, "gamma": 0.2, "gated": False},
    ),
    "antisymmetric-gated": (
        "antisymmetric-gated", {"epsilon": 0.3, "gamma": 0.2}, recurrences.antisymmetric,
        {"epsilon": 0.3, "gamma": 0.2, "gated": True},
    ),
    **{
        f"cornn-{damping}-{layout}": ("cornn", options, recurrences.cornn, options)
        for damping in ("explicit", "implicit")
        for layout in ("concat", "separate", "joint")
        for options in [{**CORNN, "damping": damping, "layout": layout}]
    },
}  # fmt: skip


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("case", CASES)
def test_states_and_gradients(case, engine):
    name, options, oracle, constants = CASES[case]
    T, B, I, H = 6, 2, 3, 4
    torch.manual_seed(3)
    network = build(name, input_size=I, hidden_size=H, engine=engine, **options).double()
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    h, final = network(x)
    on_h, on_final = torch.randn_like(h), torch.randn_like(final)
    ((h * on_h).sum() + (final * on_final).sum()).backward()

    weights = {n: p.detach().numpy().copy() for n, p in network.named_parameters()}

    def run(w, inputs):
        return oracle(w, inputs, **constants)

    want_h, want_final = run(weights, x.detach().numpy())
    np.testing.assert_allclose(h.detach().numpy(), want_h, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(final.detach().numpy(), want_final, rtol=1e-11, atol=1e-13)
    want = recurrences.gradient(run, weights, x.detach().numpy(), on_h.numpy(), on_final.numpy())
    got = {**{n: p.grad for n, p in network.named_parameters()}, "x": x.grad}
    assert set(got) == set(want)
    for n in want:
        np.testing.assert_allclose(got[n].numpy(), want[n], rtol=1e-9, atol=1e-11, err_msg=n)


def test_every_architecture_has_a_case():
    assert {name for name, *_ in CASES.values()} == set(MODELS)


def _uniform(tensor: torch.Tensor, bound: float) -> None:
    """Drawn from U(-bound, bound): a Kolmogorov-Smirnov test at a fixed seed."""
    values = tensor.detach().flatten().numpy()
    assert np.abs(values).max() <= bound
    assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("layout", "bounds"),
    [
        ("concat", {"i2h.weight": 9 + 128, "i2h.bias": 9 + 128}),
        ("separate", {"i2h.weight": 9, "i2h.bias": 9, "y2h.weight": 64, "z2h.weight": 64}),
        ("joint", {"i2h.weight": 9, "i2h.bias": 9, "h2h.weight": 128}),
    ],
)
def test_cornn_initial_scales(layout, bounds):
    torch.manual_seed(0)
    network = build("cornn", input_size=9, hidden_size=64, layout=layout)
    assert {n for n, _ in network.named_parameters()} == set(bounds)
    for name, parameter in network.named_parameters():
        _uniform(parameter, bounds[name] ** -0.5)


@pytest.mark.parametrize("name", ["lstm", "tanh"])
def test_torch_initial_scales(name):
    torch.manual_seed(0)
    for parameter in build(name, input_size=9, hidden_size=64).parameters():
        _uniform(parameter, 1 / 8)


def test_fastrnn_initial_values():
    torch.manual_seed(0)
    network = build("fastrnn", input_size=9, hidden_size=64)
    assert network.alpha.item() == -3.0 and network.beta.item() == 3.0
    assert torch.equal(network.bias, torch.ones(64))
    for w in (network.W, network.U):
        assert stats.kstest(w.detach().flatten().numpy(), stats.norm(0, 0.1).cdf).pvalue > 1e-3


def test_antisymmetric_matrix():
    torch.manual_seed(0)
    network = build("antisymmetric", input_size=2, hidden_size=17, gamma=0.25)
    A = network.matrix()
    torch.testing.assert_close(A + A.mT, -0.5 * torch.eye(17))


@pytest.mark.parametrize("H", [400, 401])
@pytest.mark.parametrize(
    ("init", "angle"),
    [
        ("henaff", stats.uniform(0, math.pi).cdf),  # |s|, s ~ U(-pi, pi)
        ("cayley", lambda a: 2 * np.arctan(np.clip(a, 0, 1)) / (math.pi / 2)),  # |s| = tan(u/2), u ~ U(0, pi/2)
    ],
)
def test_exprnn_initial_spectrum(init, angle, H):
    """B's eigenvalues are exp(+-i s), and one 1 where H is odd."""
    torch.manual_seed(0)
    network = build("exprnn", input_size=1, hidden_size=H, init=init)
    values = np.linalg.eigvals(network.orthogonal().detach().double().numpy())
    np.testing.assert_allclose(np.abs(values), 1.0, atol=1e-5)
    angles = np.sort(np.abs(np.angle(values)))
    if H % 2:
        assert angles[0] < 1e-5
        angles = angles[1:]
    pairs = angles.reshape(-1, 2)
    np.testing.assert_allclose(pairs[:, 0], pairs[:, 1], atol=1e-5)
    assert stats.kstest(pairs[:, 0], angle).pvalue > 1e-3
    assert pairs.max() < (math.pi if init == "henaff" else 1.0)


def test_exprnn_other_initial_values():
    torch.manual_seed(0)
    network = build("exprnn", input_size=9, hidden_size=128)
    _uniform(network.bias, 0.01)
    scale = math.sqrt(2 / 9)  # Kaiming normal, relu, fan-in
    assert stats.kstest(network.T.detach().flatten().numpy(), stats.norm(0, scale).cdf).pvalue > 1e-3


def test_exprnn_stays_orthogonal():
    """1,000 optimiser steps: the largest entry of B^T B - I stays below 1e-5."""
    torch.manual_seed(0)
    model = SequenceModel(build("exprnn", input_size=1, hidden_size=32), 4)
    optimizer = torch.optim.RMSprop(model.parameter_groups(1e-2))
    start = model.recurrence.skew.detach().clone()
    for _ in range(1000):
        optimizer.zero_grad()
        x, y = torch.randn(8, 6, 1), torch.randint(0, 4, (8,))
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert (model.recurrence.skew - start).abs().max() > 0.05  # it did learn
    B = model.recurrence.orthogonal().detach()
    assert (B.mT @ B - torch.eye(32)).abs().max() < 1e-5
    assert model.recurrence.diagnostics()["orthogonality_error"] < 1e-5
