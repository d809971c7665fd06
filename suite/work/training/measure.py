"""What is measured of a model: metric and loss over a split, quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from models.classifier import SequenceModel
from suite.record import DIGITS
from suite.work.training.obeyed import batch_of, beyond, loss_of, scores_of
from tasks.contract import Batch, Split, Task, TaskError

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)
_EVALUATION_BYTES = 2**28, 2**30  # of a scan's output, on a CPU and at most on a GPU


def digits(value: float | None, count: int = DIGITS) -> float | None:
    """``value`` with the significant digits of a record; None where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{count}g}")


def to_device(batch: Batch, device: torch.device, dtype: torch.dtype = torch.float32) -> Batch:
    """The batch on the device, its real numbers in ``dtype``; no copy where nothing changes. Class numbers stay."""
    batch = batch_of(batch)
    lengths = None if batch.lengths is None else batch.lengths.to(device, non_blocking=True)
    x, y = (t.to(device, dtype if t.is_floating_point() else t.dtype, non_blocking=True) for t in (batch.x, batch.y))
    return Batch(x, y, lengths)


def dtype_of(model: torch.nn.Module) -> torch.dtype:
    """What a model computes in: that of its first parameter."""
    return next(model.parameters()).dtype


@contextmanager
def untouched(model: torch.nn.Module) -> Iterator[None]:
    """A pass that is no training step: random states and buffers (running statistics) are put back after it."""
    device = next(model.parameters()).device
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    for name, buffer in model.named_buffers():  # by name: a pass may have put a new tensor there
        # `data`, so that autograd does not take a recorded forward of the `graph` engine for outdated
        buffer.data.copy_(before[name])


def evaluation_batch(task: Task, recipe: Any, device: torch.device | None = None) -> int:
    """Examples an evaluation step: the recipe's, or up to 1,000 whose output of the scan is small enough.

    That is 256 MiB, and on a GPU, whose multiprocessors a few hundred rows leave idle, up to 1 GiB by its memory (a
    160th: runs that share it, up to eight, evaluate too, and an LSTM's pre-activations take four times as much). Where
    padding is not read the number changes the last bits of a score and nothing else.
    """
    if recipe["eval_batch_size"]:
        return int(recipe["eval_batch_size"])
    spec = task.spec
    columns = recipe["hidden_size"] + spec.input_size + (spec.output_size if spec.every_step else 0)
    row = 4 * spec.length * columns
    least, most = _EVALUATION_BYTES
    if device is not None and device.type == "cuda":
        least = max(least, min(most, torch.cuda.get_device_properties(device).total_memory // 160))
    return max(recipe["batch_size"], min(1000, least // row))


def evaluate(
    model: SequenceModel, task: Task, split: Split, *, batch_size: int, device: torch.device,
    tick: Callable[[], None] = lambda: None,
) -> tuple[float, float]:  # fmt: skip
    """Metric and loss of a split: scores are summed over all examples and divided once. ``tick`` is called a batch.

    Raises:
        TaskError: there is no example, or a score that the metric cannot have.
    """
    model.eval()
    score, loss, wrong = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(3))
    count, dtype = 0, dtype_of(model)
    with torch.no_grad():
        for batch in task.batches(split, batch_size, 0):
            batch = to_device(batch, device, dtype)
            outputs = model(batch.x, batch.lengths)
            scores = scores_of(task, outputs, batch)
            score += scores.double().sum()
            wrong += beyond(task, scores)
            loss += loss_of(task, outputs, batch).double() * len(batch.y)
            count += len(batch.y)
            tick()
    model.train()
    if not count:
        raise TaskError(f"batches: wanted at least one example of {split}, got none")
    total, total_loss, bad = torch.stack((score, loss, wrong)).tolist()  # the one read
    if bad:
        raise TaskError(
            f"score: wanted fractions for accuracy, got {bad:.0f} of {count} in {split} that are not within 0 and 1 "
            f"(mean {total / count:g})"
        )
    return total / count, total_loss / count


def quantiles(values: list[float]) -> list[float | None]:
    """Quantiles 0, 0.1, 0.5, 0.9, 1 of the values."""
    if not values:
        return []
    tensor = torch.tensor(values, dtype=torch.float64)
    if not torch.isfinite(tensor).all():
        return [None] * len(QUANTILES)
    return [digits(q) for q in torch.quantile(tensor, torch.tensor(QUANTILES, dtype=torch.float64)).tolist()]
