"""Optimisers and learning rates of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from models.classifier import SequenceModel


def optimizer_for(model: SequenceModel, recipe: Any) -> torch.optim.Optimizer:
    """Adam, RMSprop, SGD or Adagrad over the model's parameter groups, other settings as in torch."""
    groups, lr = model.parameter_groups(recipe["lr"]), recipe["lr"]
    match recipe["optimizer"]:
        case "adam":
            return torch.optim.Adam(groups, lr=lr, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=lr, alpha=recipe["rmsprop_alpha"], foreach=True)
        case "sgd":
            momentum, nesterov = recipe.get("sgd_momentum", 0.0), recipe.get("sgd_nesterov", False)
            return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, foreach=True)
        case "adagrad":
            return torch.optim.Adagrad(groups, lr=lr, foreach=True)
    raise AssertionError(recipe["optimizer"])


def lr_scale(recipe: Any, epoch: int) -> float:
    """What the rates are multiplied by in an epoch (from 1)."""
    drop = recipe["lr_drop_epoch"]
    return 1.0 / recipe["lr_drop_factor"] if drop and epoch > drop else 1.0


def set_rates(optimizer: torch.optim.Optimizer, base: Sequence[float], scale: float) -> None:
    """Set each group's rate to its base rate times ``scale``."""
    for group, lr in zip(optimizer.param_groups, base, strict=True):
        group["lr"] = lr * scale
