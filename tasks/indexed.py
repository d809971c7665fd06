"""The part that all tasks on stored examples share: resident tensors, index order, loss and score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.contract import SPLITS, Batch, Split, Task, TaskError
from tasks.draws import permutation
from tasks.options import integer, optional_integer


def check_request(split: str, batch_size: int, epoch: int, examples: int | None) -> None:
    """Refuse a wrong split, a batch size below 1 or above the training data, and a negative epoch."""
    if split not in SPLITS:
        raise TaskError(f"split: wanted one of {', '.join(SPLITS)}, got {split!r}")
    integer("batch_size", batch_size, 1)
    integer("epoch", epoch, 0)
    if split == "train" and examples is not None and batch_size > examples:
        raise TaskError(f"batch_size: wanted at most {examples} (the training examples), got {batch_size}")


class Indexed(Task):
    """A task whose splits are sets of example indices into resident tensors.

    Subclasses set ``spec``, ``facts`` and ``indices`` (call ``_set_indices``), keep their data in tensors named
    in ``resident``, and write ``gather``.
    """

    resident: tuple[str, ...] = ()

    def __init__(self, *, seed: int, data_dir: Path | None = None) -> None:
        super().__init__(seed=integer("seed", seed, 0), data_dir=data_dir)
        self.device = torch.device("cpu")

    def _set_indices(self, train: Tensor, valid: Tensor, test: Tensor) -> None:
        self.indices: dict[Split, Tensor] = {"train": train, "valid": valid, "test": test}
        self.sizes = {split: len(index) for split, index in self.indices.items()}
        for split, size in self.sizes.items():
            if size == 0:
                raise TaskError(f"the {split} split is empty: these options leave no example in it")

    def _limit_train(self, wanted: int | None) -> None:
        """Keep the first ``wanted`` of the shuffled training split; None keeps all."""
        if optional_integer("train_examples", wanted, 1) is not None:
            self.indices["train"] = self.indices["train"][:wanted]
            self.sizes["train"] = len(self.indices["train"])

    @abstractmethod
    def gather(self, split: Split, index: Tensor) -> Batch:
        """The batch of the examples ``index``: int64 (B,) on the data's device."""

    def order(self, split: Split, batch_size: int, epoch: int) -> Tensor:
        """Indices of an epoch's examples, int64 (N,) on the CPU, in the order in which they come."""
        check_request(split, batch_size, epoch, self.sizes["train"])
        index = self.indices[split]
        return index[permutation(len(index), self.seed, "order", epoch)] if split == "train" else index

    def batches(self, split: Split, batch_size: int, epoch: int) -> Iterator[Batch]:
        """See ``Task.batches``."""
        index = self.order(split, batch_size, epoch).to(self.device)
        return (self.gather(split, part) for part in index.split(batch_size))

    def to(self, device: torch.device | str) -> Task:
        """Move the resident tensors to ``device``; returns self."""
        self.device = torch.device(device)
        for name in self.resident:
            setattr(self, name, getattr(self, name).to(self.device))
        return self


class Classification(Indexed):
    """Cross entropy and accuracy over ``output_size`` classes."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean cross entropy of ``outputs`` (B,O) and ``batch.y`` int64 (B,)."""
        return F.cross_entropy(outputs, batch.y)

    def score(self, outputs: Tensor, batch: Batch) -> Tensor:
        """1 where the largest output is the class, else 0: float32 (B,)."""
        return (outputs.argmax(dim=1) == batch.y).float()


class Binary(Indexed):
    """Binary cross entropy with logits and accuracy; one output."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean binary cross entropy of logits ``outputs`` (B,1) and ``batch.y`` float32 (B,1)."""
        return F.binary_cross_entropy_with_logits(outputs, batch.y)

    def score(self, outputs: Tensor, batch: Batch) -> Tensor:
        """1 where the logit's sign says the class, else 0: float32 (B,). A NaN says neither class."""
        right = torch.where(batch.y > 0.5, outputs > 0, outputs <= 0)
        return right.float().squeeze(1)
