"""The plain loop of each architecture, written as the published coRNN code writes it: what every ratio is over.

One Python step a time step, ``nn.Linear`` on the input and the previous state at each of them, autograd for the rest;
coRNN concatenates (u, z, y) where its scripts do. Parameters are those of the suite's model, so that both compute the
same. Input that needs a gradient is taken apart by ``unbind``: ``x[t]`` would make its backward quadratic in T.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = tuple[Tensor, ...]


def _cornn(m: Any) -> Any:
    def step(u: Tensor, state: State) -> State:
        y, z = state
        if m.layout == "concat":
            a = m.i2h(torch.cat((u, z, y), 1))
        elif m.layout == "separate":
            a = m.i2h(u) + m.y2h(y) + m.z2h(z)
        else:
            a = m.i2h(u) + m.h2h(torch.cat((z, y), 1))
        z = z + m.dt * (torch.tanh(a) - m.gamma * y - m.epsilon * z)
        return y + m.dt * z, z

    return step


def _tanh(m: Any) -> Any:
    return lambda u, state: (
        torch.tanh(F.linear(u, m.weight_ih_l0, m.bias_ih_l0) + F.linear(state[0], m.weight_hh_l0, m.bias_hh_l0)),
    )


def _lstm(m: Any) -> Any:
    def step(u: Tensor, state: State) -> State:
        h, c = state
        a = F.linear(u, m.weight_ih_l0, m.bias_ih_l0) + F.linear(h, m.weight_hh_l0, m.bias_hh_l0)
        i, f, g, o = a.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    return step


def _fastrnn(m: Any) -> Any:
    def step(u: Tensor, state: State) -> State:
        c = torch.tanh(u @ m.W.mT + state[0] @ m.U.mT + m.bias)
        return (torch.sigmoid(m.beta) * state[0] + torch.sigmoid(m.alpha) * c,)

    return step


def _exprnn(m: Any) -> Any:
    B = m.orthogonal()  # once a forward pass, as in its source

    def step(u: Tensor, state: State) -> State:
        a = F.linear(u, m.T) + state[0] @ B
        return (torch.sign(a) * torch.relu(torch.abs(a) + m.bias),)

    return step


def _antisymmetric(m: Any) -> Any:
    A, H = m.matrix(), m.hidden_size

    def step(u: Tensor, state: State) -> State:
        h = state[0]
        a, v = F.linear(h, A), F.linear(u, m.V, m.bias)
        if not m.gated:
            return (h + m.epsilon * torch.tanh(a + v),)
        return (h + m.epsilon * torch.sigmoid(a + v[:, :H]) * torch.tanh(a + v[:, H:]),)

    return step


STEPS = {
    "CoRNN": _cornn, "TanhRNN": _tanh, "LSTM": _lstm, "FastRNN": _fastrnn, "ExpRNN": _exprnn,
    "AntisymmetricRNN": _antisymmetric,
}  # fmt: skip


def has_loop(model: nn.Module) -> bool:
    """Whether the plain loop of this model is written here: of the suite's own."""
    return type(model).__module__.startswith("models.") and type(model).__name__ in STEPS


class Loop(nn.Module):
    """The plain loop over the parameters of one of the suite's models; its ``run`` is like a recurrence's.

    Raises:
        KeyError: there is no plain loop for this class.
    """

    hidden_size: int

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.hidden_size = model.hidden_size  # type: ignore[assignment]
        self._step_of = STEPS[type(model).__name__]

    def run(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[None, Tensor]:
        """Loop over x (T,B,I): (None, final (B,N*H)), as a recurrence's ``run``."""
        step = self._step_of(self.model)
        state = tuple(x.new_zeros(x.shape[1], self.hidden_size) for _ in range(self.model.states))
        steps = x.unbind(0) if x.requires_grad else (x[t] for t in range(x.shape[0]))
        for u in steps:
            state = step(u, state)
        return None, torch.cat(state, 1)
