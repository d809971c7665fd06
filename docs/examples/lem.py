"""Long Expressive Memory, as an example of a recurrence that no cell fits (docs/new-architecture.md).

    d1 = dt sigmoid(W_1 y + V_1 u + b_1),  d2 = dt sigmoid(W_2 y + V_2 u + b_2)
    z' = (1 - d2) z + d2 tanh(W_z y + V_z u + b_z)
    y' = (1 - d1) y + d1 tanh(W_y z' + V_y u + b_y)

A step multiplies twice, the second time with its own new z: a cell has one product a step, so this is rung 0.
Source: Rusch, Mishra, Erichson and Mahoney, ICLR 2022. All weights are drawn from U(-1/sqrt(H), 1/sqrt(H)).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import Recurrence, uniform_
from models.scan.cell import record_profile


class LEM(Recurrence):
    """Any torch code, with gradient profiles.

    Args:
        input_size: I.
        hidden_size: H.
        engine: ``reference`` (or ``graph`` on a GPU).
        dt: largest step of both time scales.
    """

    title: ClassVar[str] = "LEM"
    source: ClassVar[str] = "Rusch, Mishra, Erichson, Mahoney, ICLR 2022"
    states: ClassVar[int] = 2
    block_names: ClassVar[tuple[str, ...]] = ("y", "z")

    def __init__(self, input_size: int, hidden_size: int, *, engine: str = "auto", dt: float = 1.0) -> None:
        super().__init__(input_size, hidden_size, engine=engine)
        self.dt = dt
        self.of_input = nn.Linear(input_size, 4 * hidden_size)
        self.of_y = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.of_z = nn.Linear(hidden_size, hidden_size, bias=False)
        uniform_(self.parameters(), hidden_size**-0.5)

    def forward(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over x (T,B,I): h = y (T,B,H) and the final state (B,2H), y first."""
        state, outputs = x.new_zeros(x.shape[1], 2 * self.hidden_size), []
        for t, u in enumerate(self.of_input(x).unbind(0)):
            y, z = state.chunk(2, -1)
            u_1, u_2, u_z, u_y = u.chunk(4, -1)
            m_1, m_2, m_z = self.of_y(y).chunk(3, -1)
            z = torch.lerp(z, torch.tanh(u_z + m_z), self.dt * torch.sigmoid(u_2 + m_2))
            y = torch.lerp(y, torch.tanh(u_y + self.of_z(z)), self.dt * torch.sigmoid(u_1 + m_1))
            state = torch.cat((y, z), -1)  # one tensor, which all that follows is computed from
            if profile is not None and state.requires_grad:
                state.register_hook(lambda g, t=t: record_profile(profile, t, g, 2))
            outputs.append(state[:, : self.hidden_size])
        return torch.stack(outputs), state
