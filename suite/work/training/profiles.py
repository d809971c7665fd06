"""Gradient profiles: how large the loss's gradient with respect to the state is at each time step."""

from __future__ import annotations

import math
from typing import Any

import torch

from models.classifier import SequenceModel
from suite.work.training.measure import digits, to_device, untouched
from suite.work.training.obeyed import check_trained, loss_of
from tasks.contract import Batch, Task

EXAMPLES = 64
POINTS = 512


def first_examples(task: Task, device: torch.device, dtype: torch.dtype = torch.float32) -> Batch:
    """The first 64 validation examples."""
    return to_device(next(iter(task.batches("valid", EXAMPLES, 0))), device, dtype)


def gradient_profile(model: SequenceModel, task: Task, batch: Batch, *, epoch: int) -> dict[str, Any] | None:
    """Norm over (B, block) of dL/d(state_t) at up to 512 time steps; None for a model that records none.

    It leaves no trace: gradients, buffers (running statistics of a third-party model) and random states are put back.

    Raises:
        ModelError: before training, no gradient reaches the recurrence.
    """
    length = batch.x.shape[1]
    buffer = torch.full((model.recurrence.states, length), math.nan, device=batch.x.device)
    held = [(p, p.grad) for p in model.parameters()]
    for parameter, _ in held:
        parameter.grad = None
    with untouched(model):
        outputs = model(batch.x, batch.lengths, profile=buffer)
        loss_of(task, outputs, batch).backward()
    if epoch == 0:  # the first backward pass of a run
        check_trained(model.recurrence)
    for parameter, gradient in held:
        parameter.grad = gradient
    norms = buffer.cpu().double()
    if torch.isnan(norms).all():
        return None
    points = torch.linspace(0, length - 1, min(length, POINTS), dtype=torch.float64).round().long()
    return {
        "epoch": epoch,
        "length": length,
        "t": points.tolist(),
        "norms": [[digits(value, 6) for value in row] for row in norms[:, points].tolist()],
    }
