"""The LSTM.

    i, f, o = sigmoid(.), g = tanh(.) of W x_t + U h_{t-1} + b     (rows in the order i, f, g, o)
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

Source: S. Hochreiter and J. Schmidhuber, Neural Computation 9, 1997, with the forget gate of Gers et al. (2000);
parameters, names, order of the gates and initialisation as in ``torch.nn.LSTM``: all U(-1/sqrt(H), 1/sqrt(H)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from models.builtin import BuiltinRecurrence
from models.scan.cell import blocks
from models.scan.inplace import sigmoid_backward, tanh_backward


@dataclass(frozen=True)
class LSTMCell:
    """State (h, c); the four gates are saved, tanh(c_t) is computed again in the backward."""

    functor: ClassVar[str] = "lstm"
    states: int = 2
    recurrent: int = 1
    inputs: int = 4
    products: int = 4
    add: bool = True
    params: int = 0
    saved: int = 4
    constants: tuple[float, ...] = ()

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """(h_t, c_t) from the four pre-activations."""
        i, f, g, o = blocks(a, 4)
        c = torch.sigmoid(f) * blocks(state, 2)[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat((torch.sigmoid(o) * torch.tanh(c), c), -1)

    def forward_(self, a: Tensor, state: Tensor, new: Tensor, p: tuple[Tensor, ...]) -> None:
        """In-place step; a becomes (i, f, g, o)."""
        H = a.shape[-1] // 4
        both, g, o = a.split((2 * H, H, H), -1)
        i, f = both.sigmoid_().chunk(2, -1)
        g.tanh_()
        o.sigmoid_()
        h, c = new.chunk(2, -1)
        torch.mul(f, state[..., H:], out=c)
        c.addcmul_(i, g)
        torch.tanh(c, out=h)
        h.mul_(o)

    def backward_(self, g, saved, state, new, p, grad_a, grad_p) -> None:
        """Gradient of one step; only c_{t-1} is reached directly."""
        H = saved.shape[-1] // 4
        i, f, u, o = saved.chunk(4, -1)
        gi, gf, gu, go = grad_a.chunk(4, -1)
        gh, gc = g.chunk(2, -1)
        tc = torch.tanh(new[..., H:])
        torch.mul(gh, tc, out=go)
        sigmoid_backward(go, o, grad_input=go)
        gh.mul_(o)
        gc.add_(tanh_backward(gh, tc, grad_input=tc))
        torch.mul(gc, u, out=gi)
        torch.mul(gc, state[..., H:], out=gf)
        both = grad_a[..., : 2 * H]
        sigmoid_backward(both, saved[..., : 2 * H], grad_input=both)
        torch.mul(gc, i, out=gu)
        tanh_backward(gu, u, grad_input=gu)
        gc.mul_(f)
        gh.zero_()


class LSTM(BuiltinRecurrence):
    """LSTM; the `torch` engine is ``torch.nn.LSTM`` (cuDNN on a GPU) with the same parameters."""

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Hochreiter and Schmidhuber, Neural Computation 9 (1997); parameters as torch.nn.LSTM"
    states: ClassVar[int] = 2
    block_names: ClassVar[tuple[str, ...]] = ("h", "c")
    gates: ClassVar[int] = 4
    mode: ClassVar[str] = "LSTM"

    def cell(self) -> LSTMCell:
        """The time step."""
        return LSTMCell()

    def whole(self, x: Tensor, s0: Tensor, flat: list[Tensor]) -> tuple[Tensor, Tensor]:
        """``torch.nn.LSTM``'s function."""
        h, h_T, c_T = torch.lstm(x, (s0, s0), flat, True, 1, 0.0, self.training, False, False)
        return h, torch.cat((h_T[0], c_T[0]), -1)
