"""States and gradients of a model, and how far two sets of them lie apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.contract import Recurrence


def loss_of(h: Tensor, final: Tensor) -> Tensor:
    """A scalar in which each h has a weight of its own."""
    weights = torch.linspace(-1, 1, h.numel(), dtype=h.dtype).view_as(h)
    return (h * weights).sum() + final.square().sum()


def gradients_of(model: Recurrence, x: Tensor) -> dict[str, Tensor | None]:
    """Of every parameter, None where none reaches it."""
    loss = loss_of(*model(x))
    if loss.requires_grad:
        loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def answers_of(model: Recurrence, x: Tensor) -> list[Tensor]:
    """h, the final state and the gradients there are."""
    h, final = model(x)
    loss = loss_of(h, final)
    if loss.requires_grad:
        loss.backward()
    return [h.detach(), final.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


def apart(found: list[Tensor], exact: list[Tensor]) -> float:
    """The largest distance over the largest value of its tensor; infinite where a number is not finite."""
    if len(found) != len(exact):
        return math.inf
    each = [far(a.double(), b) / max(1e-30, float(b.abs().max())) for a, b in zip(found, exact, strict=True)]
    return max(each) if all(map(math.isfinite, each)) else math.inf


def far(a: Tensor, b: Tensor) -> float:
    """The largest distance of two numbers at one place."""
    return float((a - b).abs().max())
