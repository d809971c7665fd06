"""What plug-ins give, checked against their contracts: a slip becomes one clear line, not a wrong figure."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from models.contract import ModelError, Recurrence
from models.stacked import Stacked
from tasks.contract import Batch, Task, TaskError

ROUNDING = 1e-6  # of a float32 mean


def batch_of(value: Any) -> Batch:
    """The batch itself.

    Raises:
        TaskError: it is none.
    """
    if not isinstance(value, Batch):
        raise TaskError(f"batches: wanted tasks.contract.Batch(x, y, lengths), got {_words(value)}")
    return value


def loss_of(task: Task, outputs: Tensor, batch: Batch) -> Tensor:
    """The mean loss over a batch, a scalar.

    Raises:
        TaskError: it is no scalar tensor, or does not depend on the outputs.
    """
    loss = task.loss(outputs, batch)
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        raise TaskError(f"loss: wanted a scalar tensor, the mean over the batch, got {_words(loss)}")
    if outputs.requires_grad and not loss.requires_grad:
        raise TaskError("loss: wanted one that depends on the outputs, got one without gradients")
    return loss


def scores_of(task: Task, outputs: Tensor, batch: Batch) -> Tensor:
    """The metric of each example, (B,).

    Raises:
        TaskError: it has another shape.
    """
    scores = task.score(outputs, batch)
    count = len(batch.y)
    if not isinstance(scores, Tensor) or tuple(scores.shape) != (count,):
        raise TaskError(f"score: wanted the metric of each example, ({count},), got {_words(scores)}")
    return scores


def check_trained(recurrence: Recurrence) -> None:
    """Refuse a recurrence that has weights to train and stays as it was drawn, after a backward pass.

    Raises:
        ModelError: no gradient has reached any of them.
    """
    layers = list(recurrence.layers) if isinstance(recurrence, Stacked) else [recurrence]
    for layer in layers:
        weights = [p for p in layer.parameters() if p.requires_grad]
        if weights and not any(p.grad is not None for p in weights):
            wanted = f"{type(layer).__name__}.forward: wanted h with gradients to its parameters"
            below = " and to x, for the layer below" if len(layers) > 1 else ""
            raise ModelError(f"{wanted}{below}, got none to any of {len(weights)}")


def beyond(task: Task, scores: Tensor) -> Tensor:
    """How many scores the metric cannot have, a scalar on their device: an accuracy is within 0 and 1, up to rounding.

    NaN and infinity are none of them: a run without a finite score is diverged.
    """
    if task.spec.metric != "accuracy":
        return scores.new_zeros(())
    return (((scores < -ROUNDING) | (scores > 1 + ROUNDING)) & scores.isfinite()).sum()


def _words(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
