"""Optimisers and learning rates of a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from models.classifier import SequenceModel


def optimizer_for(model: SequenceModel, recipe: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Adam, AdamW, RMSprop, SGD or Adagrad over the model's parameter groups, other settings as in torch.

    A group that names its own ``weight_decay`` keeps it. ``recipe``: see ``suite.work.building.trainer_recipe``.
    """
    groups, lr, decay = model.parameter_groups(recipe["lr"]), recipe["lr"], recipe["weight_decay"]
    match recipe["optimizer"]:
        case "adam":
            return torch.optim.Adam(groups, lr=lr, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=lr, weight_decay=decay, fused=True)
        case "rmsprop":
            alpha = recipe["rmsprop_alpha"]
            return torch.optim.RMSprop(groups, lr=lr, alpha=alpha, weight_decay=decay, foreach=True)
        case "sgd":
            momentum, nesterov = recipe["sgd_momentum"], recipe["sgd_nesterov"]
            return torch.optim.SGD(
                groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay, foreach=True
            )
        case "adagrad":
            return torch.optim.Adagrad(groups, lr=lr, weight_decay=decay, foreach=True)
    raise AssertionError(recipe["optimizer"])


def lr_scale(recipe: Mapping[str, Any], *, epoch: int, step: int, steps: int) -> float:
    """What the rates are multiplied by in a training step.

    Args:
        recipe: the trainer's keys.
        epoch: from 1.
        step: training steps of the run before this one.
        steps: of the whole run, all its epochs.
    """
    drop, warm = recipe["lr_drop_epoch"], recipe["lr_warmup_steps"]
    scale = 1.0 / recipe["lr_drop_factor"] if drop and epoch > drop else 1.0
    if step < warm:
        return float(scale * (step + 1) / warm)
    part = (step - warm) / max(1, steps - warm)  # of the way down
    match recipe["lr_decay"]:
        case "cosine":
            scale *= 0.5 * (1.0 + math.cos(math.pi * part))
        case "linear":
            scale *= 1.0 - part
    return float(scale)


class Rates:
    """The learning rates of a run, step by step.

    Args:
        optimizer: with the rates of the recipe in its groups.
        recipe: the trainer's keys.
        steps: training steps of the whole run.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: Mapping[str, Any], steps: int) -> None:
        self.base = [float(group["lr"]) for group in optimizer.param_groups]
        self.recipe, self.steps = recipe, steps

    def first(self, epoch: int, step: int) -> float:
        """The first group's rate in a training step: see ``lr_scale``."""
        return self.base[0] * lr_scale(self.recipe, epoch=epoch, step=step, steps=self.steps)

    def set(self, optimizer: torch.optim.Optimizer, epoch: int, step: int) -> None:
        """Give an optimizer with the same groups the rates of a training step."""
        scale = lr_scale(self.recipe, epoch=epoch, step=step, steps=self.steps)
        for group, lr in zip(optimizer.param_groups, self.base, strict=True):
            group["lr"] = lr * scale
