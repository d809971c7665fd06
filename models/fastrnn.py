"""FastRNN.

    c_t = tanh(W x_t + U h_{t-1} + b)
    h_t = sigmoid(beta) h_{t-1} + sigmoid(alpha) c_t

Source: A. Kusupati et al., "FastGRNN", NeurIPS 2018, section 3.1; initialisation as in microsoft/EdgeML
(edgeml_pytorch/graph/rnn.py, commit 81025fc): W, U ~ 0.1 N(0,1), b = 1, alpha = -3 and beta = 3 before the sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import CellRecurrence, require
from models.scan.inplace import tanh_backward


@dataclass(frozen=True)
class FastRNNCell:
    """p = (sigmoid(alpha), sigmoid(beta)), a row each; c_t is saved."""

    functor: ClassVar[str] = "fastrnn"
    states: int = 1
    recurrent: int = 1
    inputs: int = 1
    products: int = 1
    add: bool = True
    params: int = 2
    saved: int = 1
    constants: tuple[float, ...] = ()

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """h_t from a and h_{t-1}."""
        return p[1] * state + p[0] * torch.tanh(a)

    def forward_(self, a: Tensor, state: Tensor, new: Tensor, p: tuple[Tensor, ...]) -> None:
        """In-place step; a becomes c_t."""
        a.tanh_()
        torch.mul(state, p[1], out=new)
        new.addcmul_(a, p[0])

    def backward_(self, g, saved, state, new, p, grad_a, grad_p) -> None:
        """Gradient of one step; h_{t-1} keeps the share sigmoid(beta)."""
        grad_p[0].addcmul_(g, saved)
        grad_p[1].addcmul_(g, state)
        tanh_backward(g, saved, grad_input=grad_a)
        grad_a.mul_(p[0])
        g.mul_(p[1])


class FastRNN(CellRecurrence):
    """FastRNN with tanh.

    Args:
        input_size: I.
        hidden_size: H.
        engine: what loops the cell.
        alpha_init: alpha before the sigmoid.
        beta_init: beta before the sigmoid.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Kusupati et al., FastGRNN, NeurIPS 2018, section 3.1"

    def __init__(
        self, input_size: int, hidden_size: int, *, engine: str = "auto",
        alpha_init: float = -3.0, beta_init: float = 3.0,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, engine=engine)
        require("alpha_init", alpha_init, "a finite number", True)
        require("beta_init", beta_init, "a finite number", True)
        self.W = nn.Parameter(0.1 * torch.randn(hidden_size, input_size))
        self.U = nn.Parameter(0.1 * torch.randn(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.ones(hidden_size))
        self.alpha = nn.Parameter(torch.tensor(float(alpha_init)))
        self.beta = nn.Parameter(torch.tensor(float(beta_init)))

    def cell(self) -> FastRNNCell:
        """The time step."""
        return FastRNNCell()

    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The two scalars as rows of p (2,H)."""
        p = torch.sigmoid(torch.stack((self.alpha, self.beta)))
        return self.W, self.bias, self.U, p.unsqueeze(-1).expand(2, self.hidden_size)

    def diagnostics(self) -> dict[str, float]:
        """sigmoid(alpha) and sigmoid(beta), the figures of table 7 of the paper."""
        return {
            "sigmoid_alpha": float(torch.sigmoid(self.alpha.detach())),
            "sigmoid_beta": float(torch.sigmoid(self.beta.detach())),
        }
