"""coRNN, the coupled oscillatory network.

    z_n = z_{n-1} + dt (tanh(W y_{n-1} + Z z_{n-1} + V u_n + b) - gamma y_{n-1} - epsilon z_k)
    y_n = y_{n-1} + dt z_n

with k = n-1 (explicit damping, the published code) or k = n (implicit damping, analysed in the paper; solved in closed
form). Source: T. K. Rusch and S. Mishra, "Coupled Oscillatory Recurrent Neural Network (coRNN)", ICLR 2021,
arXiv:2010.00951, and github.com/tk-rusch/coRNN (commit afd8174).

Three weight layouts are published, with their own initial scales (``torch.nn.Linear``'s, by fan-in):
``concat``    one Linear(I + 2H, H) over (u, z, y): adding, sMNIST, psMNIST, HAR-2;
``separate``  Linear(I, H) with bias, and two bias-free Linear(H, H) for y and z: noise-padded CIFAR-10;
``joint``     Linear(I, H) with bias, and one bias-free Linear(2H, H) over (z, y): IMDB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import CellRecurrence, ModelError, require
from models.scan.cell import blocks
from models.scan.inplace import number, tanh_backward

LAYOUTS = ("concat", "separate", "joint")
DAMPINGS = ("explicit", "implicit")


@dataclass(frozen=True)
class CoRNNCell:
    """State (y, z); tanh(a) is saved.

    Both dampings are z_n = keep z_{n-1} + force tanh(a) - spring y_{n-1}, y_n = y_{n-1} + dt z_n.
    """

    dt: float
    gamma: float
    epsilon: float
    implicit: bool = False
    functor: ClassVar[str] = "cornn"
    states: int = 2
    recurrent: int = 2
    inputs: int = 1
    products: int = 1
    add: bool = True
    params: int = 0
    saved: int = 1

    @property
    def constants(self) -> tuple[float, ...]:
        """(dt, keep, force, spring)."""
        return (self.dt, *self._factors())

    def _factors(self) -> tuple[float, float, float]:
        damp = 1.0 + self.dt * self.epsilon
        if self.implicit:
            return 1.0 / damp, self.dt / damp, self.dt * self.gamma / damp
        return 1.0 - self.dt * self.epsilon, self.dt, self.dt * self.gamma

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """(y_n, z_n), as the paper writes it."""
        y, z = blocks(state, 2)
        force = torch.tanh(a) - self.gamma * y
        if self.implicit:
            z = (z + self.dt * force) / (1.0 + self.dt * self.epsilon)
        else:
            z = z + self.dt * (force - self.epsilon * z)
        return torch.cat((y + self.dt * z, z), -1)

    def forward_(self, a: Tensor, state: Tensor, new: Tensor, p: tuple[Tensor, ...]) -> None:
        """In-place step; a becomes tanh(a)."""
        keep, force, spring = self._factors()
        y, z = blocks(state, 2)
        y_new, z_new = blocks(new, 2)
        a.tanh_()
        torch.mul(z, number(keep), out=z_new)
        z_new.add_(a, alpha=force).sub_(y, alpha=spring)
        torch.add(y, z_new, alpha=self.dt, out=y_new)

    def backward_(self, g, saved, state, new, p, grad_a, grad_p) -> None:
        """Gradient of one step: z_n also acts through y_n."""
        keep, force, spring = self._factors()
        gy, gz = blocks(g, 2)
        gz.add_(gy, alpha=self.dt)
        tanh_backward(gz, saved, grad_input=grad_a)
        grad_a.mul_(number(force))
        gy.sub_(gz, alpha=spring)
        gz.mul_(number(keep))


class CoRNN(CellRecurrence):
    """coRNN.

    Args:
        input_size: I.
        hidden_size: H.
        engine: what loops the cell.
        dt: step size, > 0.
        gamma: frequency control, > 0.
        epsilon: damping control, > 0.
        damping: ``explicit`` (published code) or ``implicit`` (the paper's analysis).
        layout: ``concat``, ``separate`` or ``joint``: see the module's text.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Rusch and Mishra, coRNN, ICLR 2021, arXiv:2010.00951; tk-rusch/coRNN, commit afd8174"
    states: ClassVar[int] = 2
    block_names: ClassVar[tuple[str, ...]] = ("y", "z")

    def __init__(
        self, input_size: int, hidden_size: int, *, engine: str = "auto",
        dt: float = 0.076, gamma: float = 0.4, epsilon: float = 8.0,
        damping: str = "explicit", layout: str = "concat",
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, engine=engine)
        for name, value in (("dt", dt), ("gamma", gamma), ("epsilon", epsilon)):
            require(name, value, "> 0", value > 0)
        for name, word, known in (("damping", damping, DAMPINGS), ("layout", layout, LAYOUTS)):
            if word not in known:
                raise ModelError(f"{name}: wanted one of {', '.join(known)}, got {word!r}")
        I, H = input_size, hidden_size
        self.dt, self.gamma, self.epsilon = float(dt), float(gamma), float(epsilon)
        self.damping, self.layout = damping, layout
        if layout == "concat":
            self.i2h = nn.Linear(I + 2 * H, H)
        elif layout == "separate":
            self.i2h = nn.Linear(I, H)
            self.y2h, self.z2h = nn.Linear(H, H, bias=False), nn.Linear(H, H, bias=False)
        else:
            self.i2h = nn.Linear(I, H)
            self.h2h = nn.Linear(2 * H, H, bias=False)

    def cell(self) -> CoRNNCell:
        """The time step."""
        return CoRNNCell(self.dt, self.gamma, self.epsilon, self.damping == "implicit")

    def matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """V (H,I), W on y (H,H) and Z on z (H,H), whatever the layout."""
        I, H = self.input_size, self.hidden_size
        if self.layout == "concat":
            V, Z, W = self.i2h.weight.split((I, H, H), 1)
            return V, W, Z
        if self.layout == "separate":
            return self.i2h.weight, self.y2h.weight, self.z2h.weight
        Z, W = self.h2h.weight.split((H, H), 1)
        return self.i2h.weight, W, Z

    def weights(self) -> tuple[Tensor, Tensor, Tensor, None]:
        """The product's columns are (y, z)."""
        V, W, Z = self.matrices()
        return V, self.i2h.bias, torch.cat((W, Z), 1), None

    def diagnostics(self) -> dict[str, float]:
        """The five quantities of the weight assumption as recalled (its text was not seen).

        Norms are largest absolute row sums.

        eta is max(dt (1 + |W|), dt |Z|) / (1 + dt); eta_general puts gamma and epsilon in place of 1; both are to be
        compared with dt_r = dt^(1/2).
        """
        with torch.no_grad():
            _, W, Z = self.matrices()
            w, z = (float(torch.linalg.matrix_norm(m.double(), ord=torch.inf)) for m in (W, Z))
        dt = self.dt
        return {
            "w_norm_inf": w,
            "z_norm_inf": z,
            "eta": max(dt * (1 + w), dt * z) / (1 + dt),
            "eta_general": max(dt * (self.gamma + w), dt * z) / (1 + self.epsilon * dt),
            "dt_r": dt**0.5,
        }
