"""The example of docs/new-task.md: name the first symbol of a long sequence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.contract import Batch, Spec, Split, Task
from tasks.draws import generator
from tasks.options import integer


class Recall(Task):
    """Symbols, one-hot, drawn evenly; which one was the first?

    Args:
        seed: the data seed.
        data_dir: not used: nothing is read.
        length: T, steps.
        symbols: how many there are.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "docs/new-task.md"

    def __init__(self, *, seed: int, data_dir: Path | None = None, length: int = 100, symbols: int = 4) -> None:
        super().__init__(seed=seed, data_dir=data_dir)
        T, K = integer("length", length, 1), integer("symbols", symbols, 2)
        self.spec = Spec(
            input_size=K, output_size=K, length=T, metric="accuracy", higher_is_better=True, chance=1 / K
        )  # fmt: skip
        self.sizes = {"train": 2000, "valid": 500, "test": 500}
        self.facts = {"data": "generated"}
        self.device = torch.device("cpu")
        self.symbols = {
            split: torch.randint(K, (size, T), generator=generator(seed, "recall", split))
            for split, size in self.sizes.items()
        }

    def batches(self, split: Split, batch_size: int, epoch: int) -> Iterator[Batch]:
        """Training batches in an order of their own every epoch, the others in a fixed one."""
        count = self.sizes[split]
        order = torch.arange(count)
        if split == "train":
            order = torch.randperm(count, generator=generator(self.seed, "recall", "order", epoch))
        for part in order.split(batch_size):
            symbols = self.symbols[split][part].to(self.device)
            yield Batch(F.one_hot(symbols, self.spec.input_size).float(), symbols[:, 0])

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean cross entropy of outputs (B,K)."""
        return F.cross_entropy(outputs, batch.y)

    def score(self, outputs: Tensor, batch: Batch) -> Tensor:
        """1 where the largest output is the first symbol: (B,)."""
        return (outputs.argmax(dim=1) == batch.y).float()

    def to(self, device: torch.device | str) -> Task:
        """Batches are moved as they come; returns self."""
        self.device = torch.device(device)
        return self
