"""expRNN.

    h_t = modrelu(T x_t + h_{t-1} B),  B = expm(A),  A skew-symmetric (its strict upper triangle is trained)
    modrelu(v) = sign(v) relu(|v| + b)

Source: M. Lezcano-Casado and D. Martinez-Rubio, "Cheap orthogonal constraints in neural networks", ICML 2019;
details as in Lezcano/expRNN (commit 830ec83): T Kaiming normal (relu) without bias, b ~ U(-0.01, 0.01), A block
diagonal [[0, s], [-s, 0]] with s ~ U(-pi, pi) (Henaff) or s = -sqrt((1 - cos u) / (1 + cos u)), u ~ U(0, pi/2)
(Cayley). The static case: the base point is the identity. The skew parameter learns at 0.1 times the rate of the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.contract import CellRecurrence, ModelError, require
from models.exponential import exponential


@dataclass(frozen=True)
class ExpCell:
    """p = (b,). Nothing is saved: sign(h_t) is what the derivative needs."""

    functor: ClassVar[str] = "exprnn"
    states: int = 1
    recurrent: int = 1
    inputs: int = 1
    products: int = 1
    add: bool = True
    params: int = 1
    saved: int = 0
    constants: tuple[float, ...] = ()

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """h_t = modrelu(a)."""
        return torch.sign(a) * torch.relu(torch.abs(a) + p[0])

    def forward_(self, a: Tensor, state: Tensor, new: Tensor, p: tuple[Tensor, ...]) -> None:
        """In-place step."""
        torch.abs(a, out=new)
        new.add_(p[0]).relu_().mul_(a.sign_())

    def backward_(self, g, saved, state, new, p, grad_a, grad_p) -> None:
        """dL/da = g where h_t is not 0; h_{t-1} is reached through the product alone."""
        torch.sign(new, out=grad_a)
        g.mul_(grad_a)
        grad_p[0].add_(g)
        grad_a.mul_(g)
        g.zero_()


def _henaff(count: int) -> Tensor:
    return torch.empty(count).uniform_(-math.pi, math.pi)


def _cayley(count: int) -> Tensor:
    u = torch.empty(count).uniform_(0.0, math.pi / 2)
    return -torch.sqrt((1.0 - torch.cos(u)) / (1.0 + torch.cos(u)))


INITS = {"henaff": _henaff, "cayley": _cayley}


class ExpRNN(CellRecurrence):
    """expRNN (static base).

    Args:
        input_size: I.
        hidden_size: H.
        engine: what loops the cell.
        init: ``cayley`` or ``henaff``.
        skew_lr_ratio: rate of the skew parameter over the rate of the rest, > 0.
    """

    version: ClassVar[int] = 1
    _flat: Tensor
    source: ClassVar[str] = "Lezcano-Casado and Martinez-Rubio, ICML 2019; Lezcano/expRNN, commit 830ec83"

    def __init__(
        self, input_size: int, hidden_size: int, *, engine: str = "auto",
        init: str = "cayley", skew_lr_ratio: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, engine=engine)
        if init not in INITS:
            raise ModelError(f"init: wanted one of {', '.join(INITS)}, got {init!r}")
        require("skew_lr_ratio", skew_lr_ratio, "> 0", skew_lr_ratio > 0)
        H = hidden_size
        self.skew_lr_ratio = float(skew_lr_ratio)
        self.T = nn.Parameter(torch.empty(H, input_size))
        nn.init.kaiming_normal_(self.T, nonlinearity="relu")
        self.bias = nn.Parameter(torch.empty(H).uniform_(-0.01, 0.01))
        index = torch.triu_indices(H, H, 1)
        self.register_buffer("_flat", index[0] * H + index[1], persistent=False)
        start = torch.zeros(H, H)
        even = torch.arange(0, H - 1, 2)
        start[even, even + 1] = INITS[init](len(even))
        self.skew = nn.Parameter(start[index[0], index[1]].clone())

    def cell(self) -> ExpCell:
        """The time step."""
        return ExpCell()

    def orthogonal(self) -> Tensor:
        """B = expm(A) (H,H), computed in float64 and cast."""
        H = self.hidden_size
        upper = self.skew.double().new_zeros(H * H).scatter(0, self._flat, self.skew.double()).view(H, H)
        return exponential(upper - upper.mT).to(self.skew.dtype)

    def weights(self) -> tuple[Tensor, None, Tensor, Tensor]:
        """The source multiplies row vectors, h B: the scan's W is B^T."""
        return self.T, None, self.orthogonal().mT, self.bias.unsqueeze(0)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The skew parameter has its own rate."""
        rest = [self.T, self.bias]
        return [{"params": rest, "lr": lr}, {"params": [self.skew], "lr": lr * self.skew_lr_ratio}]

    def diagnostics(self) -> dict[str, float]:
        """Largest entry of |B^T B - I|."""
        with torch.no_grad():
            B = self.orthogonal()
            eye = torch.eye(self.hidden_size, dtype=B.dtype, device=B.device)
            return {"orthogonality_error": float((B.mT @ B - eye).abs().max())}
