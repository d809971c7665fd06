"""Linear Recurrent Unit, as an example of a recurrence with a scan of its own (docs/new-architecture.md).

    s_t = lambda s_{t-1} + gamma (B v_t),  lambda = exp(-exp(nu) + i exp(theta)),  s complex, of H numbers
    y_t = Re(C s_t) + d v_t
    h_t = e_t + (W_1 g) sigmoid(W_2 g),  g = GELU(y_t),  v_t = LayerNorm(e_t),  e_t = W_e x_t + b_e

lambda is the same at every step and multiplies number by number, so that all of time takes log2(T) passes over the
sequence: few launches, for a GPU. A processor, whose memory is the limit, walks through time once.
Source: Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu, De, ICML 2023: norm, recurrence, GLU, skip (figure 1); there a
batch norm, here LayerNorm, which keeps the rows of a batch apart; one block here, the encoder W_e within it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import Recurrence


def along(factor: Tensor, b: Tensor) -> Tensor:
    """s_t = factor s_{t-1} + b_t over the first axis of b, from s = 0."""
    if b.device.type == "cpu":
        s = b.clone()
        for before, now in pairwise(s.unbind(0)):
            now.addcmul_(factor, before)
        return s
    return doubled(factor, b.clone())  # of one step the result would be the input itself


def doubled(factor: Tensor, s: Tensor) -> Tensor:
    """The same: after k passes s_t has its last 2^k terms."""
    shift = 1
    while shift < len(s):
        s = torch.cat((s[:shift], s[shift:] + factor * s[:-shift]))
        factor, shift = factor * factor, 2 * shift
    return s


class Scan(torch.autograd.Function):
    """``along`` and its backward: the same, from the last step to the first, with the conjugate factor."""

    generate_vmap_rule = True

    @staticmethod
    def forward(factor: Tensor, b: Tensor, profile: Tensor | None) -> Tensor:
        """States (T,B,H) of b (T,B,H); ``profile`` (2,T) takes the norms of the parts of dL/ds."""
        return along(factor, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        """Of the states alone all gradients can be computed."""
        ctx.save_for_backward(inputs[0], output)
        ctx.profile = inputs[2]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        """dL/dfactor and dL/db."""
        factor, s = ctx.saved_tensors
        g = along(factor.conj(), g.flip(0)).flip(0)  # dL/ds_t, by all that comes after t
        if ctx.profile is not None:
            ctx.profile.copy_(torch.view_as_real(g).movedim(-1, 0).double().norm(dim=(2, 3)))
        before = torch.cat((torch.zeros_like(s[:1]), s[:-1]))
        return (g * before.conj()).sum((0, 1)), g, None


def _note(profile: Tensor, g: Tensor) -> None:
    profile[0] = g.double().norm(dim=(1, 2))


class LRU(Recurrence):
    """A linear recurrence of complex numbers between LayerNorm and GLU, and a skip around them.

    Args:
        input_size: I.
        hidden_size: H.
        engine: ``reference`` (or ``graph`` on a GPU).
        r_min: least |lambda| at first.
        r_max: largest |lambda| at first.
        max_phase: largest angle of lambda at first, in radians.
        lr_ratio: learning rate of nu, theta, gamma and B over that of the rest; they have no weight decay.
    """

    title: ClassVar[str] = "LRU"
    source: ClassVar[str] = "Orvieto et al., ICML 2023"
    states: ClassVar[int] = 3
    block_names: ClassVar[tuple[str, ...]] = ("h", "Re s", "Im s")

    def __init__(
        self, input_size: int, hidden_size: int, *, engine: str = "auto",
        r_min: float = 0.9, r_max: float = 0.999, max_phase: float = math.tau, lr_ratio: float = 0.25,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, engine=engine)
        H, self.lr_ratio = hidden_size, lr_ratio
        square = torch.rand(H) * (r_max**2 - r_min**2) + r_min**2  # |lambda|^2, so that lambda is uniform on the ring
        self.nu = nn.Parameter((-0.5 * square.log()).log())
        self.theta = nn.Parameter((max_phase * torch.rand(H)).log())
        self.gamma = nn.Parameter(0.5 * (1 - square).log())
        self.encode, self.norm = nn.Linear(input_size, H), nn.LayerNorm(H)
        self.B = nn.Parameter(torch.randn(2, H, H) / (2 * H) ** 0.5)  # real part, imaginary part
        self.C = nn.Parameter(torch.randn(2, H, H) / H**0.5)
        self.d = nn.Parameter(torch.randn(H))
        self.glu = nn.Linear(H, 2 * H)

    def forward(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over x (T,B,I): h (T,B,H) and the final state (B,3H)."""
        e = self.encode(x)
        v = self.norm(e)
        factor = torch.polar((-self.nu.exp()).exp(), self.theta.exp())
        b = torch.complex(v @ self.B[0].T, v @ self.B[1].T) * self.gamma.exp()
        s = Scan.apply(factor, b, None if profile is None else profile[1:])
        y = s.real @ self.C[0].T - s.imag @ self.C[1].T + self.d * v
        h = e + F.glu(self.glu(F.gelu(y)), -1)
        if profile is not None and h.requires_grad:
            h.register_hook(lambda g: _note(profile, g))
        return h, torch.cat((h[-1], s[-1].real, s[-1].imag), -1)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """What makes the recurrence learns more slowly, and does not decay."""
        slow = [self.nu, self.theta, self.gamma, self.B]
        rest = [p for p in self.parameters() if not any(p is one for one in slow)]
        return [{"params": slow, "lr": self.lr_ratio * lr, "weight_decay": 0.0}, {"params": rest, "lr": lr}]

    def diagnostics(self) -> dict[str, float]:
        """Whether any lambda nears the unit circle."""
        return {"largest_lambda": float((-self.nu.exp()).exp().max())}
