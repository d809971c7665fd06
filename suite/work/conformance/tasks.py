"""What ``suite.check`` asks of a task: batches, order, seeds, loss and score."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.names import Plugin
from suite.runs import seed_for
from suite.work.conformance.finding import Broken, Findings, Noted, asked
from suite.work.training.obeyed import batch_of, beyond, loss_of, scores_of
from tasks.contract import SPLITS, Batch, Spec, Split, Task

BATCH, FEW = 32, 3


class _Asked:
    """The questions about one task.

    Args:
        plugin: the task.
        options: all of them, those that its name fixes too.
        data_dir: root of the raw data.
    """

    def __init__(self, plugin: Plugin, options: Mapping[str, Any], data_dir: Path | None) -> None:
        self.plugin, self.data_dir = plugin, data_dir
        self.options = dict(options)
        self.task = self.built(0)

    def built(self, seed: int) -> Task:
        """The task with a data seed."""
        made: Task = self.plugin.cls(
            seed=seed_for("data", self.plugin.name, seed), data_dir=self.data_dir, **self.plugin.arguments(self.options)
        )
        return made

    @property
    def batch(self) -> int:
        """Examples of a batch."""
        return max(1, min(BATCH, *self.task.sizes.values()))

    def few(self, task: Task, split: Split, epoch: int) -> list[Batch]:
        """The first batches of a split."""
        return [batch_of(one) for one in islice(task.batches(split, self.batch, epoch), FEW)]

    def described(self) -> str:
        """The attributes that the suite reads."""
        task = self.task
        if not isinstance(task.spec, Spec):
            raise Broken(f"spec: wanted tasks.contract.Spec, got {type(task.spec).__name__}")
        if set(task.sizes) != set(SPLITS) or min(task.sizes.values()) < 1:
            raise Broken(f"sizes: wanted at least one example of each of {', '.join(SPLITS)}, got {task.sizes}")
        if not isinstance(task.facts.get("data"), str):
            raise Broken(f"facts: wanted strings, 'data' (the variant) among them, got {task.facts}")
        if task.spec.chance is None:
            raise Noted("spec.chance is not given: a diverged run then counts as the worst score of a table")
        return f"{task.spec.metric}; {', '.join(f'{task.sizes[s]:,} {s}' for s in SPLITS)}"

    def counted(self) -> str:
        """All batches of all splits: shapes, types and numbers."""
        own_steps = type(self.task).steps is not Task.steps  # an epoch is then so many batches, whatever their size
        for split in SPLITS:
            count = steps = 0
            for batch in self.task.batches(split, self.batch, 1 if split == "train" else 0):
                self._fits(batch_of(batch), split)
                count, steps = count + len(batch.y), steps + 1
            if count != self.task.sizes[split] and not (own_steps and split == "train"):
                raise Broken(f"{split}: sizes says {self.task.sizes[split]:,} examples, the batches have {count:,}")
            if split == "train" and steps != self.task.steps(self.batch):
                raise Broken(f"steps({self.batch}) says {self.task.steps(self.batch)}, an epoch has {steps} batches")
        return "shapes, types and numbers of all batches are as the spec and sizes say"

    def _fits(self, batch: Batch, split: str) -> None:
        spec, shape, rows = self.task.spec, tuple(batch.x.shape), len(batch.y)
        if spec.vocabulary is None:
            good = batch.x.dtype == torch.float32 and len(shape) == 3 and shape[2] == spec.input_size
            wanted = f"float32 (B,T,{spec.input_size})"
        else:
            good = batch.x.dtype == torch.int64 and len(shape) == 2
            wanted = "int64 (B,T), as spec.vocabulary says tokens"
        if not good or shape[0] != rows or shape[1] < 1:
            raise Broken(f"{split}: x: wanted {wanted} with B = {rows} as in y, got {batch.x.dtype} {shape}")
        if spec.vocabulary is None and not bool(batch.x.isfinite().all()):
            raise Broken(f"{split}: x holds numbers that are not finite")
        if spec.vocabulary is not None and not 0 <= int(batch.x.min()) <= int(batch.x.max()) < spec.vocabulary:
            raise Broken(f"{split}: x: wanted tokens from 0 to {spec.vocabulary - 1}")
        lengths = batch.lengths
        if lengths is not None and (
            lengths.dtype != torch.int64
            or tuple(lengths.shape) != (rows,)
            or not 1 <= int(lengths.min()) <= int(lengths.max()) <= shape[1]
        ):
            raise Broken(f"{split}: lengths: wanted int64 ({rows},) from 1 to T = {shape[1]}")

    def repeats(self) -> str:
        """By (seed, split, epoch) alone."""
        again = self.built(0)
        for split in SPLITS:
            first = self.few(self.task, split, 1)
            for name, other in (
                ("asked twice", self.few(self.task, split, 1)),
                ("built anew", self.few(again, split, 1)),
            ):
                if not _same(first, other):
                    raise Broken(f"{split}: {name} with the same seed and epoch, the batches differ")
        return "the same seed, split and epoch give the same batches"

    def order(self) -> str:
        """Shuffled by epoch in training, fixed elsewhere."""
        for split in ("valid", "test"):
            if not _same(self.few(self.task, split, 0), self.few(self.task, split, 1)):  # type: ignore[arg-type]
                raise Broken(f"{split}: its batches change with the epoch")
        if _same(self.few(self.task, "train", 1), self.few(self.task, "train", 2)):
            raise Noted("training batches are the same in epochs 1 and 2")
        return "training batches change with the epoch, the others do not"

    def seeds(self) -> str:
        """The data seed does something."""
        if _same(self.few(self.task, "train", 1), self.few(self.built(1), "train", 1)):
            raise Noted("another data seed gives the same training batches: seeds vary the model alone")
        return "another data seed gives other training batches"

    def leaves_randomness(self) -> str:
        """Drawing from a global generator moves it."""
        before = _random_state()
        anew = self.built(0)
        for split in SPLITS:
            self.few(anew, split, 1)
        if _random_state() != before:
            raise Broken("it draws from a global generator: use one of its own (tasks.draws.generator)")
        return "global random numbers are left alone"

    def embedding(self) -> str:
        """Of a task of tokens."""
        spec, matrix = self.task.spec, self.task.embedding()
        if spec.vocabulary is None:
            if matrix is not None:
                raise Broken("it has an embedding, and spec.vocabulary is None")
            return "none: inputs are numbers"
        wanted = (spec.vocabulary, spec.embedding_size)
        if matrix is None or tuple(matrix.shape) != wanted or spec.embedding_size != spec.input_size:
            got = None if matrix is None else tuple(matrix.shape)
            raise Broken(
                f"wanted (vocabulary, embedding_size) = {wanted}, its columns I = {spec.input_size}; got {got}"
            )
        return f"{wanted[0]:,} x {wanted[1]}"

    def judged(self) -> str:
        """Loss and score of some outputs."""
        task = self.task
        (batch, *_) = self.few(task, "valid", 0)
        rows = len(batch.y)
        steps = (batch.x.shape[1],) if task.spec.every_step else ()
        drawn = torch.randn(*steps, rows, task.spec.output_size, generator=torch.Generator().manual_seed(0))
        outputs = (drawn.transpose(0, 1) if steps else drawn).requires_grad_()  # laid out as a model's are
        before = _random_state()
        loss, scores = loss_of(task, outputs, batch), scores_of(task, outputs.detach(), batch)
        if _random_state() != before:
            raise Broken("loss or score draws from a global generator: both follow from outputs and batch alone")
        (gradient,) = torch.autograd.grad(loss, outputs)
        value = float(loss.detach())
        if not (bool(loss.isfinite()) and bool(gradient.isfinite().all()) and bool(scores.isfinite().all())):
            raise Broken("of plain random outputs, loss, its gradient or the score is not finite")
        if bool(beyond(task, scores)):
            raise Broken(
                f"score: wanted fractions for accuracy, got {float(scores.min()):g} to {float(scores.max()):g}"
            )
        if rows > 1:
            parts = [_part(batch, slice(0, rows // 2)), _part(batch, slice(rows // 2, rows))]
            halves = [outputs.detach()[: rows // 2], outputs.detach()[rows // 2 :]]
            apart = torch.cat([scores_of(task, o, b) for o, b in zip(halves, parts, strict=True)])
            if not torch.allclose(apart.double(), scores.double(), rtol=1e-5, atol=1e-7):
                raise Broken("score: an example's metric depends on the batch that it stands in")
            mean = sum(float(loss_of(task, o, b)) * len(b.y) for o, b in zip(halves, parts, strict=True)) / rows
            if abs(mean - value) > 0.25 * max(abs(mean), abs(value)):  # a sum, say; class weights make less of it
                raise Broken(f"loss: wanted the mean over the batch ({mean:.6g} by its halves), got {value:.6g}")
            if abs(mean - value) > 1e-4 * max(1.0, abs(value)):
                raise Noted(f"loss is no plain mean over the batch ({mean:.6g} by its halves, {value:.6g} together)")
        return "loss is a scalar mean with gradients, score one number an example"


def _part(batch: Batch, at: slice) -> Batch:
    return Batch(batch.x[at], batch.y[at], None if batch.lengths is None else batch.lengths[at])


def _same(some: list[Batch], others: list[Batch]) -> bool:
    return len(some) == len(others) and all(
        _equal(a.x, b.x) and _equal(a.y, b.y) and _equal(a.lengths, b.lengths)
        for a, b in zip(some, others, strict=True)
    )


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and torch.equal(a, b)


def _random_state() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), name, np.asarray(keys).tobytes(), tuple(rest)


def check_task(plugin: Plugin, options: Mapping[str, Any], data_dir: Path | None) -> Findings:
    """Ask everything, one finding a promise.

    Args:
        plugin: the task.
        options: all of them, those that its name fixes too.
        data_dir: root of the raw data, or None for the default one.
    """
    held: list[_Asked] = []

    def build() -> str:
        held.append(_Asked(plugin, options, data_dir))
        return ", ".join(f"{key}={value}" for key, value in sorted(held[0].options.items())) or "no options"

    first = asked("it is built", build)
    yield first
    if not held:
        return
    yield from _all(held[0])


def _all(one: _Asked) -> Iterator[Any]:
    questions: dict[str, Callable[[], str]] = {
        "description": one.described,
        "batches": one.counted,
        "repeatable": one.repeats,
        "order": one.order,
        "seeds": one.seeds,
        "random state": one.leaves_randomness,
        "embedding": one.embedding,
        "loss and score": one.judged,
    }
    for promise, question in questions.items():
        finding = asked(promise, question)
        yield finding
        if promise in ("description", "batches") and finding.state == "FAULT":
            return  # the rest would say the same in other words
