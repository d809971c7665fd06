"""AntisymmetricRNN, plain and gated.

    A = W - W^T - gamma I,  W strictly upper triangular
    plain:  h_t = h_{t-1} + epsilon tanh(A h_{t-1} + V x_t + b)
    gated:  z_t = sigmoid(A h_{t-1} + V_z x_t + b_z),  h_t = h_{t-1} + epsilon z_t tanh(A h_{t-1} + V x_t + b)

Source: B. Chang et al., "AntisymmetricRNN", ICLR 2019, equations (8) plain and (13), (14) gated (numbers of the
submission's text); epsilon 0.1 as in its simulation. Initialisation: the text without its appendix names none, so W's
entries are N(0, init_std^2 / H), V is N(0, 1/I) and the biases are zero (docs/decisions/0003-initialisation.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import CellRecurrence, require
from models.scan.cell import blocks
from models.scan.inplace import number, sigmoid_backward, tanh_backward


@dataclass(frozen=True)
class AntisymmetricCell:
    """Plain cell: tanh(a) is saved."""

    epsilon: float
    functor: ClassVar[str] = "antisymmetric"
    states: int = 1
    recurrent: int = 1
    inputs: int = 1
    products: int = 1
    add: bool = True
    params: int = 0
    saved: int = 1

    @property
    def constants(self) -> tuple[float, ...]:
        """(epsilon,)."""
        return (self.epsilon,)

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """h_t from a and h_{t-1}."""
        return state + self.epsilon * torch.tanh(a)

    def forward_(self, a: Tensor, state: Tensor, new: Tensor, p: tuple[Tensor, ...]) -> None:
        """In-place step; a becomes tanh(a)."""
        a.tanh_()
        torch.add(state, a, alpha=self.epsilon, out=new)

    def backward_(self, g, saved, state, new, p, grad_a, grad_p) -> None:
        """Gradient of one step; g passes through unchanged."""
        tanh_backward(g, saved, grad_input=grad_a)
        grad_a.mul_(number(self.epsilon))


@dataclass(frozen=True)
class GatedAntisymmetricCell:
    """Gated cell: a = [u_z | u_h | A h]; z_t and tanh are saved."""

    epsilon: float
    functor: ClassVar[str] = "antisymmetric_gated"
    states: int = 1
    recurrent: int = 1
    inputs: int = 2
    products: int = 1
    add: bool = False
    params: int = 0
    saved: int = 2

    @property
    def constants(self) -> tuple[float, ...]:
        """(epsilon,)."""
        return (self.epsilon,)

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """h_t from the inputs of gate and candidate and their common product."""
        z, u, m = blocks(a, 3)
        return state + self.epsilon * torch.sigmoid(z + m) * torch.tanh(u + m)

    def forward_(self, a: Tensor, state: Tensor, new: Tensor, p: tuple[Tensor, ...]) -> None:
        """In-place step; a becomes (z_t, tanh, -)."""
        z, u, m = blocks(a, 3)
        z.add_(m).sigmoid_()
        u.add_(m).tanh_()
        torch.addcmul(state, z, u, value=self.epsilon, out=new)

    def backward_(self, g, saved, state, new, p, grad_a, grad_p) -> None:
        """Gradient of one step; g passes through unchanged."""
        z, u = blocks(saved, 2)
        gz, gu, gm = blocks(grad_a, 3)
        torch.mul(g, number(self.epsilon), out=gm)
        sigmoid_backward(torch.mul(gm, u, out=gz), z, grad_input=gz)
        tanh_backward(torch.mul(gm, z, out=gu), u, grad_input=gu)
        torch.add(gz, gu, out=gm)


class AntisymmetricRNN(CellRecurrence):
    """AntisymmetricRNN.

    Args:
        input_size: I.
        hidden_size: H.
        engine: what loops the cell.
        gated: the gated variant.
        epsilon: step size, > 0.
        gamma: diffusion, >= 0.
        init_std: W's entries start as N(0, init_std^2 / H), >= 0.
    """

    version: ClassVar[int] = 1
    _flat: Tensor
    source: ClassVar[str] = "Chang et al., AntisymmetricRNN, ICLR 2019, equations (8), (13), (14)"

    def __init__(
        self, input_size: int, hidden_size: int, *, engine: str = "auto",
        gated: bool = False, epsilon: float = 0.1, gamma: float = 0.01, init_std: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, engine=engine)
        require("epsilon", epsilon, "> 0", epsilon > 0)
        require("gamma", gamma, ">= 0", gamma >= 0)
        require("init_std", init_std, ">= 0", init_std >= 0)
        H, G = hidden_size, 2 if gated else 1
        self.gated, self.epsilon, self.gamma = gated, float(epsilon), float(gamma)
        self.skew = nn.Parameter(init_std * H**-0.5 * torch.randn(H * (H - 1) // 2))
        self.V = nn.Parameter(input_size**-0.5 * torch.randn(G * H, input_size))
        self.bias = nn.Parameter(torch.zeros(G * H))
        index = torch.triu_indices(H, H, 1)
        self.register_buffer("_flat", index[0] * H + index[1], persistent=False)

    def cell(self) -> AntisymmetricCell | GatedAntisymmetricCell:
        """The time step."""
        return GatedAntisymmetricCell(self.epsilon) if self.gated else AntisymmetricCell(self.epsilon)

    def matrix(self) -> Tensor:
        """A = W - W^T - gamma I, (H,H)."""
        H = self.hidden_size
        upper = self.skew.new_zeros(H * H).scatter(0, self._flat, self.skew).view(H, H)
        return upper - upper.mT - self.gamma * torch.eye(H, dtype=upper.dtype, device=upper.device)

    def weights(self) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gate rows first where gated."""
        return self.V, self.bias, self.matrix(), None
