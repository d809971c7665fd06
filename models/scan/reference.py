"""The definition: a plain loop over t, autograd does the backward. Any dtype, any device, any cell with ``step``."""

from __future__ import annotations

import torch
from torch import Tensor

from models.scan.cell import Cell, record_profile, rows


def run(
    cell: Cell,
    x: Tensor,
    V: Tensor | None,
    b: Tensor | None,
    W: Tensor | None,
    p: Tensor | None,
    s0: Tensor,
    *,
    profile: Tensor | None = None,
    precision: str = "float32",
) -> tuple[Tensor, Tensor]:
    """Loop ``cell.step`` over time; arguments as in ``models.scan.cell.scan``."""
    H = s0.shape[-1] // cell.states
    u = x if V is None else torch.matmul(x, V.mT)
    if b is not None:
        u = u + b.unsqueeze(-2)
    state, vectors, out = s0, rows(p), []
    for t, a in enumerate(u.unbind(0)):  # x[t] on a tensor that needs a gradient is quadratic in T
        if W is not None:
            m = torch.matmul(state[..., : cell.recurrent * H], W.mT)
            a = a + m if cell.add else torch.cat((a, m), -1)
        state = cell.step(a, state, vectors)
        if profile is not None and state.requires_grad:
            state.register_hook(lambda g, t=t: record_profile(profile, t, g, cell.states))
        out.append(state[..., :H])
    return torch.stack(out), state
