"""The tanh (Elman) network.

    h_t = tanh(W x_t + U h_{t-1} + b)

Source: J. Elman, "Finding structure in time", Cognitive Science 14, 1990; parameters, names and initialisation as in
``torch.nn.RNN``: W (H,I), U (H,H) and two biases, all U(-1/sqrt(H), 1/sqrt(H)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from models.builtin import BuiltinRecurrence
from models.scan.inplace import tanh_backward


@dataclass(frozen=True)
class TanhCell:
    """h = tanh(a). Nothing is saved: the output is what its own derivative needs."""

    functor: ClassVar[str] = "tanh"
    states: int = 1
    recurrent: int = 1
    inputs: int = 1
    products: int = 1
    add: bool = True
    params: int = 0
    saved: int = 0
    constants: tuple[float, ...] = ()

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """h_t from a = W x_t + U h_{t-1} + b."""
        return torch.tanh(a)

    def forward_(self, a: Tensor, state: Tensor, new: Tensor, p: tuple[Tensor, ...]) -> None:
        """In-place step."""
        torch.tanh(a, out=new)

    def backward_(self, g, saved, state, new, p, grad_a, grad_p) -> None:
        """dL/da = g (1 - h^2); h_{t-1} is reached through the product alone."""
        tanh_backward(g, new, grad_input=grad_a)
        g.zero_()


class TanhRNN(BuiltinRecurrence):
    """tanh RNN; the `torch` engine is ``torch.nn.RNN`` with the same parameters."""

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Elman, Cognitive Science 14 (1990); parameters as torch.nn.RNN"
    gates: ClassVar[int] = 1
    mode: ClassVar[str] = "RNN_TANH"

    def cell(self) -> TanhCell:
        """The time step."""
        return TanhCell()

    def whole(self, x: Tensor, s0: Tensor, flat: list[Tensor]) -> tuple[Tensor, Tensor]:
        """``torch.nn.RNN``'s function."""
        h, final = torch.rnn_tanh(x, s0, flat, True, 1, 0.0, self.training, False, False)
        return h, final[0]
