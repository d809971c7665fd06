"""What every task obeys: a frozen specification, batches as tensors, a loss and a score per example.

Tasks are batch-first; recurrences are time-first. The one transpose lives in
``models.classifier.SequenceModel``.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from tasks.errors import DataError, TaskError

__all__ = ["SPLITS", "Batch", "DataError", "Spec", "Split", "Task", "TaskError"]

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
METRICS = ("accuracy", "mse")
_LONGEST = 40  # characters of a metric's name


@dataclass(frozen=True)
class Spec:
    """What a model must know to fit a task.

    Attributes:
        input_size: I, features a step (the embedding size for token tasks).
        output_size: O, outputs of the read-out (1 for binary logits and regression).
        length: T, nominal number of time steps (the mean padded length for token tasks).
        metric: ``"accuracy"`` (a fraction), ``"mse"``, or the name of another mean over examples, as tables should
            print it (``"MAE"``, ``"bits per character"``).
        higher_is_better: whether a larger metric is better: True for accuracy, False for mse.
        vocabulary: number of token ids, or None where inputs are real-valued.
        embedding_size: columns of the embedding matrix, or None.
        chance: the metric of a constant guess, or None.
        padding_index: the token whose embedding stays as it is and gets no gradient, or None.
        every_step: whether every step is read out, outputs (B,T,O), in place of one step, outputs (B,O).
    """

    input_size: int
    output_size: int
    length: int
    metric: str
    higher_is_better: bool
    vocabulary: int | None = None
    embedding_size: int | None = None
    chance: float | None = None
    padding_index: int | None = None
    every_step: bool = False

    def __post_init__(self) -> None:
        """Refuse what the suite could not show or build: TaskError."""
        _check_metric(self.metric)
        wanted = {"accuracy": True, "mse": False}.get(self.metric)
        if not isinstance(self.higher_is_better, bool) or wanted not in (None, self.higher_is_better):
            words = "True or False" if wanted is None else str(wanted)
            raise TaskError(f"spec.higher_is_better: wanted {words} for {self.metric}, got {self.higher_is_better!r}")
        for name in ("input_size", "output_size", "length"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < 1:  # numpy's too
                raise TaskError(f"spec.{name}: wanted a whole number from 1 on, got {value!r}")
        if not isinstance(self.every_step, bool):
            raise TaskError(f"spec.every_step: wanted True or False, got {self.every_step!r}")


def _check_metric(name: object) -> None:
    """Refuse a name that tables could not print, or that is one of METRICS but for its spelling."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _LONGEST:
        raise TaskError(
            f"spec.metric: wanted {', '.join(METRICS)}, or a name of up to {_LONGEST} characters, got {name!r}"
        )
    meant = name.lower() if name.lower() in METRICS else "accuracy"
    if name not in METRICS and difflib.get_close_matches(name.lower(), [meant], 1, 0.8):
        raise TaskError(f"spec.metric: wanted {meant!r} or another name, got {name!r}")


class Batch(NamedTuple):
    """One batch, batch-first.

    Attributes:
        x: float32 (B,T,I), or int64 tokens (B,T) when the spec has a vocabulary.
        y: what the task's loss and score read, B first: int64 (B,) classes, float32 (B,O), or a shape of its own.
        lengths: int64 (B,), read out the last valid step; None: the last step. Where every step is read out nothing is
            left out by them: the task's loss and score know which steps count.
    """

    x: Tensor
    y: Tensor
    lengths: Tensor | None = None


class Task(ABC):
    """A data set under one protocol.

    Subclasses take ``(*, seed, data_dir, **options)``. The keyword-only options with defaults are the
    option schema: an unknown option is an error. ``seed`` is the *data* seed (split, order, noise); it does
    not depend on the model. No global random state is read or written.

    Attributes:
        version: bump when the batches of a given seed change; part of a run's id.
        source: where the protocol comes from.
        title: what reports call it; empty: the name it was asked by. A subclass has one of its own or none.
        spec: sizes and metric.
        sizes: number of examples a split holds (for ``train``: examples an epoch).
        facts: short strings for the record: data variant, provenance of the files, normalisation.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = ""
    title: ClassVar[str] = ""
    spec: Spec
    sizes: dict[str, int]
    facts: dict[str, str]

    def __init__(self, *, seed: int, data_dir: Path | None = None) -> None:
        self.seed = seed
        self.data_dir = data_dir

    @classmethod
    def requires(cls, **options: Any) -> tuple[str, ...]:
        """Names of the raw data sets (keys of ``tasks.sources.SOURCES``) that these options need."""
        return ()

    @classmethod
    def test_moves(cls, **options: Any) -> bool:
        """Whether the data seed moves examples between the test part and the others, so that a search sees some."""
        return False

    def steps(self, batch_size: int) -> int:
        """Training steps an epoch: all examples once, the last batch possibly smaller."""
        return -(-self.sizes["train"] // batch_size)

    @abstractmethod
    def batches(self, split: Split, batch_size: int, epoch: int) -> Iterator[Batch]:
        """Yield one epoch of batches in an order fixed by (seed, split, epoch), the same for every model.

        Training batches are shuffled by epoch; ``valid`` and ``test`` come in a fixed order whatever the
        epoch. The last batch may be smaller.
        """

    def embedding(self) -> Tensor | None:
        """Initial embedding matrix (vocabulary, embedding_size), or None."""
        return None

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean loss over the batch, a scalar; ``outputs`` is (B,O), or (B,T,O) where every step is read out."""

    @abstractmethod
    def score(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The metric of each example, (B,): the suite sums and divides once."""

    def to(self, device: torch.device | str) -> Task:
        """Move resident data to ``device`` where that pays; returns self."""
        return self
