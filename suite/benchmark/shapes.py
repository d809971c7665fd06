"""The shapes of training steps that are measured: the tasks' own, by name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """One training step's sizes.

    Attributes:
        name: of the shape.
        task: whose batches have this shape.
        T: time steps.
        B: batch.
        I: inputs.
        H: hidden units.
        O: outputs.
        loss: ``classes``, ``logit`` or ``square``.
        input_gradient: whether the input needs a gradient, as an embedding's output does.
        cornn: coRNN's hyperparameters where they are published, the weights' layout among them.
    """

    name: str
    task: str
    T: int
    B: int
    I: int
    H: int
    O: int
    loss: str
    input_gradient: bool = False
    cornn: dict[str, Any] = field(default_factory=dict, hash=False)

    def small(self) -> Shape:
        """The same step with fewer time steps, for asv and tests."""
        return replace(self, T=max(2, self.T // 8))


_PSMNIST = {"dt": 0.076, "gamma": 0.4, "epsilon": 8.0}
_ADDING = {"dt": 0.06, "gamma": 66.0, "epsilon": 15.0}
SHAPES = {
    shape.name: shape
    for shape in (
        Shape("psmnist", "psmnist", 784, 120, 1, 128, 10, "classes", cornn=_PSMNIST),
        Shape("psmnist-256", "psmnist", 784, 120, 1, 256, 10, "classes", cornn=_PSMNIST),
        Shape("adding", "adding", 500, 50, 2, 128, 1, "square", cornn=_ADDING),
        Shape("adding-2000", "adding-2000", 2000, 50, 2, 128, 1, "square", cornn=_ADDING),
        Shape("har2", "har2", 128, 64, 9, 64, 1, "logit", cornn={"dt": 0.05, "gamma": 1.0, "epsilon": 10.0}),
        Shape(  # 1,100: the mean padded length of real batches
            "imdb", "imdb", 1100, 64, 100, 128, 1, "logit", input_gradient=True,
            cornn={"dt": 0.054, "gamma": 4.9, "epsilon": 4.8, "layout": "joint"},
        ),
        Shape(
            "noisy_cifar", "noisy_cifar", 1000, 100, 96, 128, 10, "classes",
            cornn={"dt": 0.034, "gamma": 1.3, "epsilon": 12.7, "layout": "separate"},
        ),
    )
}  # fmt: skip


def batch(shape: Shape, device: torch.device, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Normal x (B,T,I), and y for the shape's loss."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape.B, shape.T, shape.I, generator=generator)
    if shape.loss == "classes":
        y = torch.randint(0, shape.O, (shape.B,), generator=generator)
    else:
        y = torch.rand(shape.B, shape.O, generator=generator)
    return x.to(device).requires_grad_(shape.input_gradient), y.to(device)


def loss(shape: Shape, out: Tensor, y: Tensor) -> Tensor:
    """Mean cross entropy, binary cross entropy or squared error."""
    if shape.loss == "classes":
        return F.cross_entropy(out, y)
    return F.mse_loss(out, y) if shape.loss == "square" else F.binary_cross_entropy_with_logits(out, y)
