"""The three gates of an engine: errors against float64, measured beside five float32 runs of the reference.

Every error is compared with 5 times the worst of the five runs, whose units and examples are permuted (the same
numbers in other sums); the floor is 2e-6. ``allclose`` has been seen to pass kernels ten times less accurate than the
loop.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from models import build
from models.scan import engines
from models.scan.cell import rows
from models.scan.function import Needs

FLOOR, FACTOR, RUNS = 2e-6, 5.0, 5
NAMES = ("x", "V", "b", "W", "p", "s0")


@dataclass(frozen=True)
class Problem:
    """A cell with weights, input, initial state and output gradients, all float32."""

    cell: object
    tensors: dict[str, Tensor | None]  # x (T,B,I), V, b, W, p, s0
    g_h: Tensor
    g_final: Tensor

    @property
    def H(self) -> int:
        return self.g_h.shape[-1]


@functools.cache
def problem(model: str, T: int, B: int, H: int, I: int = 2, seed: int = 0) -> Problem:
    """Weights as the model draws them; input, initial state and output gradients normal."""
    torch.manual_seed(seed)
    network = build(model, input_size=I, hidden_size=H)
    cell = network.cell()
    with torch.no_grad():
        V, b, W, p = (None if w is None else w.clone() for w in network.weights())
    s0 = 0.3 * torch.randn(B, cell.states * H)
    tensors = dict(zip(NAMES, (torch.randn(T, B, I), V, b, W, p, s0), strict=True))
    return Problem(cell, tensors, torch.randn(T, B, H), torch.randn(B, cell.states * H))


def permuted(given: Problem, order: Tensor, batch: Tensor) -> Problem:
    """The same problem with its units and its examples in another order."""
    cell, t = given.cell, given.tensors

    def along(tensor: Tensor, blocks: int, dim: int) -> Tensor:
        if dim == 0:
            return tensor.unflatten(0, (blocks, given.H)).index_select(1, order).flatten(0, 1)
        return tensor.unflatten(-1, (blocks, given.H)).index_select(-1, order).flatten(-2)

    out = {
        "x": t["x"][:, batch],
        "V": None if t["V"] is None else along(t["V"], cell.inputs, 0),
        "b": None if t["b"] is None else along(t["b"], cell.inputs, -1),
        "W": None if t["W"] is None else along(along(t["W"], cell.products, 0), cell.recurrent, -1),
        "p": None if t["p"] is None else t["p"].index_select(-1, order),
        "s0": along(t["s0"][batch], cell.states, -1),
    }
    g_h, g_final = given.g_h[:, batch].index_select(-1, order), along(given.g_final[batch], cell.states, -1)
    return Problem(cell, out, g_h, g_final)


def unpermuted(cell: object, results: dict[str, Tensor], order: Tensor, batch: Tensor) -> dict[str, Tensor]:
    """Results of a permuted problem in the first order of units and examples."""
    back, H = torch.argsort(order), len(order)
    examples = torch.argsort(batch)
    blocks = {"h": 1, "final": cell.states, "s0": cell.states, "b": cell.inputs, "p": 1, "W": cell.recurrent}
    out = {}
    for name, value in results.items():
        if name in blocks:
            value = value.unflatten(-1, (blocks[name], H)).index_select(-1, back).flatten(-2, -1)
        if name in ("V", "W"):
            count = cell.inputs if name == "V" else cell.products
            value = value.unflatten(0, (count, H)).index_select(1, back).flatten(0, 1)
        if name in ("h", "x", "final", "s0"):
            value = value.index_select(value.dim() - 2, examples)
        out[name] = value
    return out


def run(engine: str, given: Problem, *, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """h, final, every gradient and the profile, by name."""
    leaves = {n: None if t is None else t.detach().to(dtype).clone().requires_grad_() for n, t in given.tensors.items()}
    profile = torch.full((given.cell.states, leaves["x"].shape[0]), float("nan"), dtype=dtype)
    h, final = engines.load(engine)(given.cell, *leaves.values(), profile=profile, precision="float32")
    torch.autograd.backward((h, final), (given.g_h.to(dtype), given.g_final.to(dtype)))
    grads = {n: t.grad for n, t in leaves.items() if t is not None}
    return {"h": h.detach(), "final": final.detach(), "profile": profile, **grads}


def error(got: Tensor, want: Tensor) -> float:
    """Frobenius norm of the difference over that of the wanted, in float64."""
    want = want.double()
    return float(torch.linalg.vector_norm(got.double() - want) / torch.linalg.vector_norm(want).clamp_min(1e-30))


def _orders(H: int, B: int) -> list[tuple[Tensor, Tensor]]:
    """Orders of units and of examples; with H = 1 only the second changes any sum."""
    generator = torch.Generator().manual_seed(1)
    random = [(torch.randperm(H, generator=generator), torch.randperm(B, generator=generator)) for _ in range(RUNS - 1)]
    return [(torch.arange(H), torch.arange(B)), *random]


@functools.cache
def _baseline(model: str, T: int, B: int, H: int, seed: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Gate (a): float64 results, and the errors allowed."""
    given = problem(model, T, B, H, seed=seed)
    truth = run("reference", given, dtype=torch.float64)
    worst = dict.fromkeys(truth, 0.0)
    for orders in _orders(H, B):
        got = unpermuted(given.cell, run("reference", permuted(given, *orders)), *orders)
        worst = {n: max(worst[n], error(got[n], truth[n])) for n in truth}
    return truth, {n: max(FACTOR * e, FLOOR) for n, e in worst.items()}


def end_to_end(engine: str, model: str, T: int, B: int, H: int, seed: int = 0) -> list[str]:
    """Gate (a): every output and gradient against float64; the misses, in words."""
    truth, allowed = _baseline(model, T, B, H, seed)
    got = run(engine, problem(model, T, B, H, seed=seed))
    errors = {n: error(got[n], truth[n]) for n in truth}
    return [
        f"T={T} B={B} H={H} {n}: error {e:.2e}, allowed {allowed[n]:.2e}"
        for n, e in errors.items()
        if not e <= allowed[n]
    ]


def reference_error(model: str, T: int, B: int, H: int, seed: int = 0) -> float:
    """The worst error of the float32 reference itself, end to end."""
    return max(_baseline(model, T, B, H, seed)[1].values()) / FACTOR


def states_of(engine: str, given: Problem) -> tuple[Tensor, Tensor]:
    """The engine's states (T+1,B,N*H) and its saved activations (the reference has none)."""
    t = given.tensors
    if engine == "reference":
        states, u = [t["s0"]], t["x"] @ t["V"].mT
        u = u if t["b"] is None else u + t["b"]
        for a in u.unbind(0):
            states.append(_step(given, a, states[-1], t))
        return torch.stack(states), torch.empty(0)
    kernel = engines.import_module(engines.ENGINES[engine]).KERNEL
    _, _, states, saved = kernel.forward(given.cell, *t.values(), keep=True, precision="float32")
    return states, saved


def _step(given: Problem, u: Tensor, state: Tensor, t: dict[str, Tensor | None]) -> Tensor:
    cell, H = given.cell, given.H
    if t["W"] is not None:
        m = state[..., : cell.recurrent * H] @ t["W"].mT
        u = u + m if cell.add else torch.cat((u, m), -1)
    return cell.step(u, state, rows(t["p"]))


def _double(given: Problem) -> dict[str, Tensor | None]:
    return {n: None if t is None else t.double() for n, t in given.tensors.items()}


def residual(given: Problem, states: Tensor) -> dict[str, float]:
    """Gate (b): every step redone in float64 from the run's own previous state; worst step and whole, a block."""
    t, cell = _double(given), given.cell
    states = states.double()
    u = t["x"] @ t["V"].mT
    u = u if t["b"] is None else u + t["b"]
    redone = _step(given, u, states[:-1], t)
    out = {}
    for n, (got, want) in enumerate(zip(states[1:].chunk(cell.states, -1), redone.chunk(cell.states, -1), strict=True)):
        difference, size = (torch.linalg.vector_norm(v, dim=(-2, -1)) for v in (got - want, want))
        out[f"block {n}, whole"] = float(torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(want))
        out[f"block {n}, worst step"] = float((difference / size.clamp_min(float(size.mean()) * 1e-3)).max())
    return out


def backward_along(given: Problem, states: Tensor) -> dict[str, Tensor]:
    """Gate (c): gradients in float64 along given states, a vector-Jacobian product of ``step`` at a time."""
    t, T = _double(given), len(states) - 1
    names = [n for n in ("V", "b", "W", "p") if t[n] is not None]
    total = {n: torch.zeros_like(t[n]) for n in names}
    g, grad_x = given.g_final.double(), []
    for i in reversed(range(T)):
        g = g.clone()
        g[..., : given.H] += given.g_h[i].double()
        leaf = {n: t[n].detach().requires_grad_() for n in names}
        x, state = t["x"][i].detach().requires_grad_(), states[i].double().requires_grad_()
        u = x @ leaf["V"].mT
        u = u if t["b"] is None else u + leaf["b"]
        new = _step(given, u, state, {**t, **leaf})
        gx, g, *rest = torch.autograd.grad(new, (x, state, *leaf.values()), g)
        grad_x.append(gx)
        for n, r in zip(names, rest, strict=True):
            total[n] += r
    return {"x": torch.stack(grad_x[::-1]), **total, "s0": g}


def backward_of(engine: str, given: Problem) -> tuple[Tensor, dict[str, Tensor]]:
    """The states of a float32 run, and its gradients."""
    if engine == "reference":
        results = run("reference", given)
        return states_of("reference", given)[0], {n: results[n] for n in NAMES if n in results}
    states, saved = states_of(engine, given)
    t = given.tensors
    kernel = engines.import_module(engines.ENGINES[engine]).KERNEL
    grads = kernel.backward(
        given.cell, t["x"], t["V"], t["W"], t["p"], states, saved, given.g_h, given.g_final,
        needs=Needs(*(True,) * 6), has_bias=t["b"] is not None, profile=None, precision="float32",
    )  # fmt: skip
    return states, {n: g for n, g in zip(NAMES, grads, strict=True) if g is not None}


@functools.cache
def _long_baseline(model: str, T: int, B: int, H: int) -> tuple[dict[str, float], dict[str, float]]:
    """What gates (b) and (c) allow."""
    given = problem(model, T, B, H)
    forward: dict[str, float] = {}
    backward: dict[str, float] = {}
    for orders in _orders(H, B):
        other = permuted(given, *orders)
        states, grads = backward_of("reference", other)
        truth = backward_along(other, states)
        for n, e in residual(other, states).items():
            forward[n] = max(forward.get(n, 0.0), e)
        for n, g in grads.items():
            backward[n] = max(backward.get(n, 0.0), error(g, truth[n]))
    return tuple({n: max(FACTOR * e, FLOOR) for n, e in d.items()} for d in (forward, backward))  # type: ignore[return-value]


def along_the_run(engine: str, model: str, T: int, B: int, H: int) -> list[str]:
    """Gates (b) and (c); the misses, in words."""
    given = problem(model, T, B, H)
    forward, backward = _long_baseline(model, T, B, H)
    states, grads = backward_of(engine, given)
    truth = backward_along(given, states)
    found = {f"residual, {n}": (e, forward[n]) for n, e in residual(given, states).items()}
    found |= {f"gradient of {n}": (error(g, truth[n]), backward[n]) for n, g in grads.items()}
    return [f"T={T} B={B} H={H} {n}: error {e:.2e}, allowed {a:.2e}" for n, (e, a) in found.items() if not e <= a]


__all__ = ["along_the_run", "end_to_end", "problem", "reference_error", "run"]
