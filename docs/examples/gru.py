"""The GRU, as an example of a new architecture (docs/new-architecture.md).

    r, z = sigmoid(W x_t + U h_{t-1} + b)
    n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + c))
    h_t = (1 - z) n + z h_{t-1}

Source: K. Cho et al., EMNLP 2014; the reset gate acts after the product and parameters are named and initialised as in
``torch.nn.GRU`` (rows in the order r, z, n).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import CellRecurrence, Recurrence, uniform_


class PlainGRU(Recurrence):
    """Any torch code: runs on ``reference``, and on ``graph`` on a GPU."""

    title: ClassVar[str] = "GRU of torch"
    source: ClassVar[str] = "Cho et al., EMNLP 2014"

    def __init__(self, input_size: int, hidden_size: int, *, engine: str = "auto") -> None:
        super().__init__(input_size, hidden_size, engine=engine)
        self.gru = nn.GRU(input_size, hidden_size)

    def forward(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over x (T,B,I): h (T,B,H) and the final state (B,H)."""
        h, final = self.gru(x)
        return h, final[0]


@dataclass(frozen=True)
class GRUCell:
    """One time step; a = [u_r | u_z | u_n | m_r | m_z | m_n], p = (c); r, z, n and q = m_n + c are saved."""

    functor: ClassVar[Path] = Path(__file__).with_name("gru.hpp")
    states: int = 1
    recurrent: int = 1
    inputs: int = 3
    products: int = 3
    add: bool = False
    params: int = 1
    saved: int = 4
    constants: tuple[float, ...] = ()

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """The definition: h_t from the six pre-activations and h_{t-1}."""
        ur, uz, un, mr, mz, mn = a.chunk(6, -1)
        r, z = torch.sigmoid(ur + mr), torch.sigmoid(uz + mz)
        n = torch.tanh(un + r * (mn + p[0]))
        return (1 - z) * n + z * state

    def forward_(self, a: Tensor, state: Tensor, new: Tensor, p: tuple[Tensor, ...]) -> None:
        """In-place step; a becomes (r, z, n, q, -, -)."""
        r, z, n, mr, mz, mn = a.chunk(6, -1)
        r.add_(mr).sigmoid_()
        z.add_(mz).sigmoid_()
        torch.add(mn, p[0], out=mr)  # q takes the place of m_r
        n.addcmul_(r, mr).tanh_()
        torch.lerp(n, state, z, out=new)

    def backward_(self, g, saved, state, new, p, grad_a, grad_p) -> None:
        """Gradient of one step; h_{t-1} is reached directly through z."""
        r, z, n, q = saved.chunk(4, -1)
        an = g * (1 - z) * (1 - n * n)
        ar, az = an * q * r * (1 - r), g * (state - n) * z * (1 - z)
        torch.cat((ar, az, an, ar, az, an * r), -1, out=grad_a)
        grad_p[0].addcmul_(an, r)
        g.mul_(z)


class GRU(CellRecurrence):
    """The same network as a cell: every engine that the cell has a rung for can run it."""

    title: ClassVar[str] = "GRU"
    source: ClassVar[str] = "Cho et al., EMNLP 2014"

    def __init__(self, input_size: int, hidden_size: int, *, engine: str = "auto") -> None:
        super().__init__(input_size, hidden_size, engine=engine)
        H = hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(3 * H, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(3 * H, H))
        self.bias_ih_l0 = nn.Parameter(torch.empty(3 * H))
        self.bias_hh_l0 = nn.Parameter(torch.empty(3 * H))
        uniform_(self.parameters(), H**-0.5)

    def cell(self) -> GRUCell:
        """The time step."""
        return GRUCell()

    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The biases of r and z add up to one; the one of n inside the reset gate is the cell's parameter c."""
        H = self.hidden_size
        inside = torch.cat((self.bias_hh_l0[: 2 * H], self.bias_hh_l0.new_zeros(H)))
        return self.weight_ih_l0, self.bias_ih_l0 + inside, self.weight_hh_l0, self.bias_hh_l0[2 * H :].unsqueeze(0)
