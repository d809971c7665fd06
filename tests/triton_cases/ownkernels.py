"""A cell that is not the project's, with Triton functors of its own: a leaky unit without a product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import triton
import triton.language as tl  # noqa: F401 - the interpreter looks for it in the module of every kernel function

from models.scan.triton.cells import Functor
from models.scan.triton.maths import slope, tanh


@dataclass(frozen=True)
class LeakyCell:
    """h = (1 - leak) h + leak tanh(w h + u), w a row of p: no product (M = 0)."""

    leak: float
    triton_functor: ClassVar[str] = "ownkernels:FUNCTOR"
    states: int = 1
    recurrent: int = 1
    inputs: int = 1
    products: int = 0
    add: bool = False
    params: int = 1
    saved: int = 1

    @property
    def constants(self) -> tuple[float, ...]:
        return (self.leak,)

    def step(self, a, state, p):
        return (1 - self.leak) * state + self.leak * torch.tanh(p[0] * state + a)


@triton.jit
def forward(a, state, p, c):
    f = tanh(p[0] * state[0] + a[0])
    return (state[0] + c[0] * (f - state[0]),), (f,)


@triton.jit
def backward(g, saved, state, new, p, c):
    ga = g[0] * c[0] * slope(saved[0])
    return (g[0] * (1.0 - c[0]) + ga * p[0],), (ga,), (ga * state[0],)


FUNCTOR = Functor(forward, backward)
