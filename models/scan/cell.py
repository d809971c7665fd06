"""The Cell protocol, one time step of an architecture, and ``scan``, which loops it over time on an engine.

Shapes: T time steps, S seeds (optional leading axis), B batch, I inputs, H hidden units. A cell's numbers
N, R, G, M, P (states, recurrent, inputs, products, params) count blocks of H columns.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


class ScanError(ValueError):
    """A scan was asked for something it cannot do; the message says what was wanted and what came."""


@runtime_checkable
class Cell(Protocol):
    """One time step. State is ONE buffer (...,B,N*H); block 0 is h. Leading axes are free (seeds).

    Attributes:
        states: N, blocks of the state.
        recurrent: R, the first R blocks feed the product (a view). coRNN (y,z): 2; LSTM (h,c): 1.
        inputs: G, blocks of u_t = x_t @ V.T + b.
        products: M, blocks of m_t = state[..., :R*H] @ W.T; 0 = none, and W is None.
        add: True: a = u + m (G == M, the product accumulates into u); False: a = [u | m].
        params: P, rows of p (P,H): vectors the cell reads at every step.
        saved: leading blocks that ``forward_`` leaves in a's place (activations, not a) for ``backward_``.
        constants: numbers fixed for the whole scan (dt, gamma, epsilon), in the order of the native functor.
    """

    @property
    def states(self) -> int:
        """N."""

    @property
    def recurrent(self) -> int:
        """R."""

    @property
    def inputs(self) -> int:
        """G."""

    @property
    def products(self) -> int:
        """M."""

    @property
    def add(self) -> bool:
        """Whether a = u + m."""

    @property
    def params(self) -> int:
        """P."""

    @property
    def saved(self) -> int:
        """Saved blocks."""

    @property
    def constants(self) -> tuple[float, ...]:
        """Numbers fixed for the whole scan."""

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """The definition, pure and differentiable: the next state (...,B,N*H).

        Args:
            a: pre-activations (...,B,G*H) if ``add``, else (...,B,(G+M)*H).
            state: (...,B,N*H).
            p: P rows, each broadcastable to (...,B,H).
        """

    # Rung 2 of the ladder adds two methods (a cell without them runs on `reference` and `graph`):
    #
    # forward_(a, state, new, p) -> None
    #     a <- saved activations in its first `saved` blocks; new <- next state. In place, no autograd.
    # backward_(g, saved, state, new, p, grad_a, grad_p) -> None
    #     g: dL/dnew, overwritten by the direct part of dL/dstate; grad_a (shaped like a) <- dL/da;
    #     grad_p: P accumulators (...,B,H), += dL/dp before the sum over B. The engine adds grad_m @ W
    #     to g[..., :R*H] and reduces grad_p once.


def blocks(tensor: Tensor, count: int) -> tuple[Tensor, ...]:
    """``count`` views of (...,count*H), each (...,H)."""
    return tensor.chunk(count, -1)


def rows(p: Tensor | None) -> tuple[Tensor, ...]:
    """The rows of p (...,P,H) as P tensors (...,1,H), broadcastable over B."""
    return () if p is None else p.unsqueeze(-2).unbind(-3)


def width(cell: Cell) -> int:
    """Blocks of the pre-activation a."""
    return cell.inputs if cell.add else cell.inputs + cell.products


def check(cell: Cell, x: Tensor, V: Tensor | None, b: Tensor | None, W: Tensor | None, s0: Tensor) -> int:
    """Check shapes against the cell and return H.

    Raises:
        ScanError: naming the tensor, the shape wanted and the shape that came.
    """
    n = s0.shape[-1]
    if n % cell.states or n == 0:
        raise ScanError(f"s0: wanted (..., {cell.states}*H), got {tuple(s0.shape)}")
    H = n // cell.states
    if x.dim() != s0.dim() + 1 or x.shape[1:-1] != s0.shape[:-1] or x.shape[0] < 1:
        raise ScanError(f"x: wanted (T, {', '.join(map(str, s0.shape[:-1]))}, I), T >= 1, got {tuple(x.shape)}")
    lead = tuple(s0.shape[:-2])
    wanted: list[tuple[str, Tensor | None, tuple[int, ...]]] = [
        ("V", V, (*lead, cell.inputs * H, x.shape[-1])),
        ("b", b, (*lead, cell.inputs * H)),
        ("W", W, (*lead, cell.products * H, cell.recurrent * H)),
    ]
    for name, tensor, shape in wanted:
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ScanError(f"{name}: wanted {shape}, got {tuple(tensor.shape)}")
    if V is None and (x.shape[-1] != cell.inputs * H or b is not None):
        raise ScanError(f"x: without V and b it is u, wanted width {cell.inputs * H}, got {x.shape[-1]}")
    if (W is None) != (cell.products == 0):
        raise ScanError(f"W: wanted {'none' if cell.products == 0 else 'a matrix'}, got {W if W is None else 'one'}")
    return H


def scan(
    cell: Cell,
    x: Tensor,
    V: Tensor | None,
    b: Tensor | None,
    W: Tensor | None,
    p: Tensor | None,
    s0: Tensor,
    *,
    engine: str = "auto",
    profile: Tensor | None = None,
    precision: str = "float32",
) -> tuple[Tensor, Tensor]:
    """Loop a cell over time.

    Args:
        cell: the time step.
        x: (T,...,B,I), time first; without V it is u itself, (T,...,B,G*H).
        V: (...,G*H,I) input weights, or None.
        b: (...,G*H), or None.
        W: (...,M*H,R*H) recurrent weights; None where ``cell.products`` is 0.
        p: (...,P,H), or None where ``cell.params`` is 0.
        s0: (...,B,N*H) initial state.
        engine: ``auto``, or an engine's name: used or refused, never swapped.
        profile: (...,N,T) buffer that the backward pass fills with the Frobenius norm over (B, block) of the total
            dL/d(state_t), or None.
        precision: arithmetic of the products: ``float32`` (or the tensors' own dtype), ``tf32``, ``bf16``.

    Returns:
        h (T,...,B,H) and the final state (...,B,N*H). First-order gradients only.

    Raises:
        ScanError: shapes that do not fit.
        EngineError: an engine that cannot run this cell here.
    """
    from models.scan import engines

    H = check(cell, x, V, b, W, s0)
    name = engines.choose(engine, cell, device=x.device, dtype=x.dtype, hidden_size=H, precision=precision)
    run = engines.load(name)
    return run(cell, x, V, b, W, p, s0, profile=profile, precision=precision)


def record_profile(profile: Tensor, t: int, gradient: Tensor, states: int) -> None:
    """Write the norm over (B, block) of dL/d(state_t), gradient (...,B,N*H), into profile[..., :, t].

    Squares are summed in float64: in float32 those of gradients below 1e-19 underflow.
    """
    parts = gradient.detach().unflatten(-1, (states, -1))  # (...,B,N,H)
    profile[..., t] = torch.linalg.vector_norm(parts, dim=(-3, -1), dtype=torch.float64).to(profile.dtype)


Scan = Any  # an engine's run: the signature of ``scan`` without ``engine``
