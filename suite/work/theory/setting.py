"""What the checks share: recipes, models before and after a short training, trajectories in float64."""

from __future__ import annotations

import copy
import itertools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.classifier import SequenceModel
from models.scan.cell import rows
from suite.errors import UsageError
from suite.names import resolve
from suite.plan import Request, expand
from suite.runs import Run
from suite.work.building import build_model, trainer_recipe
from suite.work.estimates.sizes import Tasks
from suite.work.training.rates import optimizer_for
from tasks.contract import Batch, DataError, Task

CORNN = "cornn"
PAPER: dict[str, Any] = {"gamma": 1.0, "epsilon": 1.0, "damping": "implicit"}  # setting of the propositions
BATCH = 20  # examples a step of the short training: minutes for all checks, not a protocol
_SMALL = {"smnist": ("data", "digits5k"), "psmnist": ("data", "digits5k")}  # needs no download


@dataclass
class Setting:
    """What was asked for, and what has been built for it.

    Attributes:
        models: models that are compared (checks on coRNN alone leave it aside).
        tasks: tasks whose recipes are checked.
        data_dir: the data root.
        steps: optimiser steps of the short training; 0: none.
        seeds: initialisations where a check takes several.
        used: "model on task" -> id of the recipe's run with seed 0, for every model that was built so far.
    """

    models: tuple[str, ...] = (CORNN, "tanh", "lstm")
    tasks: tuple[str, ...] = ("adding",)
    data_dir: Path | None = None
    steps: int = 60
    seeds: int = 10
    used: dict[str, str] = field(init=False, default_factory=dict)
    _tasks: Tasks = field(init=False)
    _trained: dict[str, SequenceModel] = field(init=False, default_factory=dict)
    _usable: list[str] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._tasks = Tasks(self.data_dir)

    def run(self, model: str, task: str, *, seed: int = 0, **values: Any) -> Run:
        """The run of a model's recipe on a task; ``values`` go over the recipe."""
        sets: list[tuple[str | None, str, Any]] = [(model, key, value) for key, value in values.items()]
        if task in _SMALL:
            sets.append((task, *_SMALL[task]))
        return expand(Request(models=(model,), tasks=(task,), seeds=(seed,), sets=tuple(sets)))[0].run

    def task(self, run: Run) -> Task:
        """The run's task, with seed 0."""
        return self._tasks.get(run.task, run.task_options)

    def named(self, task: str) -> str:
        """A task's name for people, with its data variant where that is not the task's usual one."""
        return f"{task} ({_SMALL[task][1]})" if task in _SMALL else task

    def usable(self) -> list[str]:
        """The tasks whose data is at hand; the others are named on stderr once.

        Raises:
            UsageError: none is.
        """
        if self._usable is None:
            self._usable = []
            for name in self.tasks:
                try:
                    self.task(self.run(CORNN, name))
                    self._usable.append(name)
                except DataError as error:
                    print(f"{name} is left out: {error}", file=sys.stderr)
            if not self._usable:
                raise UsageError(f"the data of none of {', '.join(self.tasks)} is at hand: adding needs none")
        return self._usable

    def model(self, run: Run, *, trained: bool = False) -> SequenceModel:
        """The run's model in float64, as initialised or after the short training."""
        self.used[f"{run.model} on {run.task}"] = self.run(run.model, run.task).id
        key = f"{run.id} {trained}"
        if key not in self._trained:
            model = build_model(run, self.task(run), engine="auto")
            if trained:
                train(model, self.task(run), run, steps=self.steps)
            self._trained[key] = model.double()
        return copy.deepcopy(self._trained[key])

    def batch(self, run: Run, count: int) -> Batch:
        """The first validation examples."""
        return next(iter(self.task(run).batches("valid", count, 0)))


def train(model: SequenceModel, task: Task, run: Run, *, steps: int) -> None:
    """Some optimiser steps of the recipe with small batches, epoch after epoch."""
    optimizer = optimizer_for(model, trainer_recipe(run))
    size = min(BATCH, task.sizes["train"])
    epochs = (task.batches("train", size, epoch) for epoch in itertools.count(1))
    for batch in itertools.islice(itertools.chain.from_iterable(epochs), steps):
        optimizer.zero_grad(set_to_none=True)
        task.loss(model(batch.x, batch.lengths), batch).backward()
        if run.recipe["clip_norm"]:
            torch.nn.utils.clip_grad_norm_(model.parameters(), run.recipe["clip_norm"])
        optimizer.step()


def inputs(model: SequenceModel, batch: Batch) -> Tensor:
    """What the recurrence reads: (T,B,I) float64."""
    x = batch.x.transpose(0, 1)
    return (x if model.embedding is None else model.embedding(x)).double()


def cornn(*, hidden_size: int, input_size: int = 1, seed: int = 0, **options: Any) -> Any:
    """A coRNN recurrence in float64 with its published initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return resolve("model", CORNN).cls(input_size, hidden_size, engine="fused", **options).double()


def drive(model: Any, x: Tensor) -> Tensor:
    """The input part of the pre-activations, u = x V^T + b (T,B,G*H), of a recurrence given as a cell."""
    V, b, _, _ = model.weights()
    u = torch.matmul(x, V.mT)
    return u if b is None else u + b


def trajectory(model: Any, x: Tensor) -> Tensor:
    """All states (T+1,B,N*H) of a recurrence given as a cell on inputs (T,B,I); no gradients."""
    with torch.no_grad():
        _, _, W, p = model.weights()
        cell, H = model.cell(), model.hidden_size
        states = [x.new_zeros((x.shape[1], cell.states * H))]
        for u in drive(model, x):
            m = torch.matmul(states[-1][:, : cell.recurrent * H], W.mT)
            states.append(cell.step(u + m if cell.add else torch.cat((u, m), -1), states[-1], rows(p)))
        return torch.stack(states)
