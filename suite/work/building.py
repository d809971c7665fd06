"""From a run to its task and its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.classifier import SequenceModel
from models.contract import Recurrence
from models.stacked import Stacked
from suite.errors import SuiteError
from suite.keys import options_of, trainer_keys
from suite.names import resolve
from suite.runs import Run, seed_for
from tasks.contract import SPLITS, Spec, Task


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators seeded inside, restored outside."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def build_task(run: Run, data_dir: str | None) -> Task:
    """The run's task with its data seed, which does not depend on the model."""
    plugin = resolve("task", run.task)
    where = None if data_dir is None else Path(data_dir)
    return plugin.cls(seed=seed_for("data", run.task, run.seed), data_dir=where, **plugin.arguments(run.task_options))


def build_model(run: Run, task: Task, *, engine: str) -> SequenceModel:
    """The run's model, initialised from its own seed."""
    return model_for(run, task.spec, task.embedding, engine=engine)


def model_for(run: Run, spec: Spec, embedding: Callable[[], Tensor | None], *, engine: str) -> SequenceModel:
    """As ``build_model``, from a task's sizes and initial embedding alone."""
    dtype = torch.float64 if run.precision == "float64" else torch.float32
    with seeded(seed_for("init", run.model, run.task, run.seed)):
        recurrence = recurrence_for(run, spec, engine=engine)
        recurrence.precision = run.precision
        return SequenceModel(
            recurrence, spec.output_size,
            embedding=embedding(), padding_index=spec.padding_index, every_step=spec.every_step,
        ).to(dtype)  # fmt: skip


def recurrence_for(run: Run, spec: Spec, *, engine: str) -> Recurrence:
    """The run's architecture, of one layer or of several, drawn from torch's global generator."""
    plugin, H = resolve("model", run.model), run.recipe["hidden_size"]
    options = {**run.model_options, **options_of(plugin, run.recipe)}
    inputs = [spec.input_size, *[H] * (trainer_recipe(run)["num_layers"] - 1)]
    layers = [plugin.cls(size, H, engine=engine, **plugin.arguments(options)) for size in inputs]
    return layers[0] if len(layers) == 1 else Stacked(layers)


def trainer_recipe(run: Run) -> dict[str, Any]:
    """The trainer's keys of the run's recipe, later ones with what holds where they are left out."""
    return trainer_keys(resolve("model", run.model), run.recipe)


def check_sizes(run: Run, task: Task) -> None:
    """Raise SuiteError for a split without examples, and for a batch larger than the training data."""
    for split in SPLITS:
        if task.sizes[split] < 1:
            raise SuiteError(f"{run.task}: wanted at least one example of {split}, got {task.sizes[split]}")
    batch, size = run.recipe["batch_size"], task.sizes["train"]
    if batch > size:
        raise SuiteError(f"{run.task}: wanted batch_size <= {size} (training examples), got {batch}")
