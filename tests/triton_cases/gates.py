"""The three gates for a scan engine: end to end, every step redone, and the backward along the engine's own states.

Each tolerance is 5 times the worst of 5 float32 reference runs with permuted units, at least 2e-6 relative. A precision
other than float32 rounds the operands of the recurrent product, forward and backward, in the references as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.scan.cell import rows

FLOOR = 2e-6
TENSORS = ("x", "V", "b", "W", "p", "s0")


@dataclass(frozen=True)
class Problem:
    """A scan and the weights of the sums that are differentiated."""

    cell: Any
    x: Tensor
    V: Tensor | None
    b: Tensor | None
    W: Tensor | None
    p: Tensor | None
    s0: Tensor
    w_h: Tensor
    w_final: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {k: getattr(self, k) for k in TENSORS if getattr(self, k) is not None}

    def map(self, function: Any) -> Problem:
        return replace(self, **{k: function(v) for k, v in vars(self).items() if isinstance(v, Tensor)})


def problem(
    cell: Any, T: int, B: int, H: int, *, seeds: int | None = None, projected: bool = True, seed: int = 0
) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    lead = () if seeds is None else (seeds,)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    G, M, R, N, I = cell.inputs, cell.products, cell.recurrent, cell.states, 3
    W = draw(*lead, M * H, R * H) * (0.8 / H**0.5) if M else None
    if "Antisymmetric" in type(cell).__name__:
        W = W - W.mT - 0.01 * torch.eye(H)  # as the architecture has it: any other matrix lets its states grow for ever
    return Problem(
        cell,
        x=draw(T, *lead, B, I if projected else G * H),
        V=draw(*lead, G * H, I) * 0.5 if projected else None,
        b=draw(*lead, G * H) * 0.2 if projected else None,
        W=W,
        p=torch.rand(*lead, cell.params, H, generator=generator) if cell.params else None,
        s0=draw(*lead, B, N * H) * 0.5,
        w_h=draw(T, *lead, B, H) / (T * B * H) ** 0.5,
        w_final=draw(*lead, B, N * H),
    )  # fmt: skip


def permute_units(tensor: Tensor | None, dim: int, order: Tensor) -> Tensor | None:
    """The units of every block along a dimension of k*H, in another order."""
    if tensor is None:
        return None
    return (
        tensor.unflatten(dim, (-1, len(order)))
        .index_select(dim if dim < 0 else dim + 1, order)
        .flatten(*((dim - 1, dim) if dim < 0 else (dim, dim + 1)))
    )


DIMS = {"x": (), "V": (-2,), "b": (-1,), "W": (-2, -1), "p": (-1,), "s0": (-1,), "w_h": (-1,), "w_final": (-1,),
        "h": (-1,), "final": (-1,)}  # fmt: skip


def permuted(values: dict[str, Tensor], order: Tensor, projected: bool) -> dict[str, Tensor]:
    out = {}
    for name, tensor in values.items():
        dims = (-1,) if name == "x" and not projected else DIMS[name]
        for dim in dims:
            tensor = permute_units(tensor, dim, order)  # type: ignore[assignment]
        out[name] = tensor
    return out


def rounded(x: Tensor, precision: str) -> Tensor:
    """Nearest even; written apart from the engine's own rounding."""
    if precision == "float32":
        return x
    if precision == "bf16":
        return x.to(torch.bfloat16).to(x.dtype)
    mantissa, exponent = torch.frexp(x.double())
    return torch.ldexp(torch.round(mantissa * 2**11) / 2**11, exponent).to(x.dtype)  # 11 bits with the leading one


def pre_activation(cell: Any, u: Tensor, m: Tensor | None) -> Tensor:
    if m is None:
        return u
    return u + m if cell.add else torch.cat((u, m), -1)


def product(cell: Any, state: Tensor, W: Tensor | None, precision: str) -> Tensor | None:
    if W is None:
        return None
    H = state.shape[-1] // cell.states
    return rounded(state[..., : cell.recurrent * H], precision) @ rounded(W, precision).mT


def step(cell: Any, u: Tensor, state: Tensor, W: Tensor | None, p: Tensor | None, precision: str) -> Tensor:
    return cell.step(pre_activation(cell, u, product(cell, state, W, precision)), state, rows(p))


def inputs(q: Problem) -> Tensor:
    u = q.x if q.V is None else q.x @ q.V.mT
    return u if q.b is None else u + q.b.unsqueeze(-2)


def walk(q: Problem, precision: str) -> Tensor:
    """All states (T+1,...), in the problem's own type."""
    states = [q.s0]
    for u in inputs(q).unbind(0):
        states.append(step(q.cell, u, states[-1], q.W, q.p, precision))
    return torch.stack(states)


def reference(q: Problem, dtype: torch.dtype) -> dict[str, Tensor]:
    """Outputs and all gradients in float32 precision, by autograd."""
    q = q.map(lambda t: t.detach().to(dtype))
    leaves = {k: v.requires_grad_() for k, v in q.tensors().items()}
    states = walk(q, "float32")
    h, final = states[1:, ..., : q.w_h.shape[-1]], states[-1]
    grads = torch.autograd.grad((h * q.w_h).sum() + (final * q.w_final).sum(), list(leaves.values()))
    named = {f"grad {k}": g for k, g in zip(leaves, grads, strict=True)}
    return {k: v.detach() for k, v in {"h": h, "final": final, **named}.items()}


def permutations(q: Problem, count: int = 5) -> list[tuple[Problem, Tensor]]:
    """The problem with its units in other orders, and the orders."""
    H, projected, found = q.w_h.shape[-1], q.V is not None, []
    for k in range(count):
        order = torch.randperm(H, generator=torch.Generator().manual_seed(k)).to(q.x.device)
        values = {n: v for n, v in vars(q).items() if isinstance(v, Tensor)}
        found.append((replace(q, **permuted(values, order, projected)), order))
    return found


def float32_runs(q: Problem) -> list[dict[str, Tensor]]:
    """Reference runs with permuted units, permuted back."""
    found = []
    for other, order in permutations(q):
        run = reference(other, torch.float32)
        plain = {n.removeprefix("grad "): v for n, v in run.items()}
        back = permuted(plain, torch.argsort(order), q.V is not None)
        found.append({n: back[n.removeprefix("grad ")] for n in run})
    return found


def distance(got: Tensor, wanted: Tensor) -> float:
    """Relative, in the Euclidean norm; 0 where both are 0."""
    difference = torch.linalg.vector_norm(got.double() - wanted.double())
    if difference == 0:
        return 0.0
    return float(difference / torch.linalg.vector_norm(wanted.double()))


def compare(got: dict[str, Tensor], wanted: dict[str, Tensor], runs: list[dict[str, Tensor]], what: str) -> None:
    """Assert gate (a): every tensor within 5 times the worst reference run."""
    for name, tensor in got.items():
        assert tensor.shape == wanted[name].shape, f"{what}, {name}: wanted {wanted[name].shape}, got {tensor.shape}"
        allowed = max(FLOOR, 5 * max(distance(r[name], wanted[name]) for r in runs))
        error = distance(tensor, wanted[name])
        assert error <= allowed, f"{what}, {name}: relative error {error:.2e}, allowed {allowed:.2e}"


def residuals(q: Problem, states: Tensor, precision: str) -> float:
    """Gate (b): each step redone in float64 from the engine's own state: the largest relative error of a step."""
    wide = q.map(lambda t: t.detach().double())
    worst = 0.0
    for u, before, after in zip(inputs(wide), states[:-1], states[1:], strict=True):
        worst = max(worst, distance(after, step(q.cell, u, before.double(), wide.W, wide.p, precision)))
    return worst


def along(
    q: Problem, states: Tensor, precision: str, dtype: torch.dtype, own: Tensor | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Gate (c): the gradients with every step differentiated at the given states; and dL/dm (T,...,B,M*H).

    ``own``: dL/dm of the engine, which is rounded in place of what is found here: where two values that differ in the
    last bits lie on either side of a rounding boundary, the rounded ones differ by far more, and no engine is to blame.
    """
    q = q.map(lambda t: t.detach().to(dtype))
    leaves = {k: v.requires_grad_() for k, v in q.tensors().items() if k not in ("s0", "W")}
    H = q.w_h.shape[-1]
    R = q.cell.recurrent * H
    g, found = q.w_final.clone(), []
    totals = {k: torch.zeros_like(v) for k, v in q.tensors().items() if k != "s0"}
    for t in reversed(range(q.x.shape[0])):
        g[..., :H] += q.w_h[t]
        state = states[t].detach().to(dtype).requires_grad_()
        u = inputs(replace(q, x=leaves["x"][t : t + 1]))[0]
        m = product(q.cell, state.detach(), q.W, precision)
        wrt = [state, *leaves.values()] if m is None else [state, *leaves.values(), m.requires_grad_()]
        new = q.cell.step(pre_activation(q.cell, u, m), state, rows(q.p))
        grads = torch.autograd.grad(new, wrt, g, allow_unused=True)
        g = torch.zeros_like(g) if grads[0] is None else grads[0].clone()
        for name, grad in zip(leaves, grads[1:], strict=False):
            totals[name] += grad
        if m is not None:
            used = grads[-1] if own is None else own[t].to(dtype)
            g[..., :R] += rounded(used, precision) @ rounded(q.W, precision)
            totals["W"] += grads[-1].mT @ state[..., :R].detach()
            found.append(grads[-1])
    grad_m = torch.stack(found[::-1]) if found else torch.empty(0)
    return {f"grad {k}": v.detach() for k, v in {**totals, "s0": g}.items()}, grad_m


def assert_along(
    q: Problem, states: Tensor, grads: dict[str, Tensor], grad_m: Tensor, precision: str, outside: dict[str, float]
) -> None:
    """Gates (b) and (c); ``outside`` names gradients that another library makes with an error bound of its own."""
    steps: list[float] = []
    backs: dict[str, list[float]] = {k: [] for k in grads}
    for other, _ in permutations(q):
        own_states = walk(other, precision)
        own_grads, own_m = along(other, own_states, precision, torch.float32)
        wide, _ = along(other, own_states, precision, torch.float64, None if precision == "float32" else own_m)
        steps.append(residuals(other, own_states, precision))
        for name in grads:
            backs[name].append(distance(own_grads[name], wide[name]))
    error, allowed = residuals(q, states, precision), max(FLOOR, 5 * max(steps))
    assert error <= allowed, f"a step's residual {error:.2e}, allowed {allowed:.2e}"
    wanted, _ = along(q, states, precision, torch.float64, None if precision == "float32" else grad_m)
    for name, grad in grads.items():
        error, allowed = distance(grad, wanted[name]), max(FLOOR, 5 * max(backs[name]), outside.get(name, 0.0))
        assert error <= allowed, f"{name}: relative error {error:.2e}, allowed {allowed:.2e}"
