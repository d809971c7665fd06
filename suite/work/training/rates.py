"""Optimisers and learning rates of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from models.classifier import SequenceModel


def optimizer_for(model: SequenceModel, recipe: Any) -> torch.optim.Optimizer:
    """Adam or RMSprop over the model's parameter groups, other settings as in torch."""
    groups = model.parameter_groups(recipe["lr"])
    if recipe["optimizer"] == "adam":
        return torch.optim.Adam(groups, lr=recipe["lr"], fused=True)
    return torch.optim.RMSprop(groups, lr=recipe["lr"], alpha=recipe["rmsprop_alpha"], foreach=True)


def lr_scale(recipe: Any, epoch: int) -> float:
    """What the rates are multiplied by in an epoch (from 1)."""
    drop = recipe["lr_drop_epoch"]
    return 1.0 / recipe["lr_drop_factor"] if drop and epoch > drop else 1.0


def set_rates(optimizer: torch.optim.Optimizer, base: Sequence[float], scale: float) -> None:
    """Set each group's rate to its base rate times ``scale``."""
    for group, lr in zip(optimizer.param_groups, base, strict=True):
        group["lr"] = lr * scale
