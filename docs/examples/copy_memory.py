"""Copying memory, as an example of a task that every step is read out of (docs/new-task.md).

The first K steps show symbols; after many blanks a marker asks for them, and the last K steps shall name them in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.contract import Batch, Spec, Split, Task
from tasks.draws import generator
from tasks.indexed import check_request
from tasks.options import integer

ALPHABET = 8
BLANK, MARKER = ALPHABET, ALPHABET + 1


class CopyMemory(Task):
    """Copying memory: x (B,T,10) one-hot, y (B,T) the symbol that each step shall name, T = delay + 2 K.

    Steps 1 to K are symbols of an alphabet of 8, drawn evenly; then come blanks, the marker at step delay + K, and K
    more blanks. The targets are blanks but for the last K, which are the symbols. Who names blanks, then guesses, has a
    loss of K log 8 / T nats a step, and names 1/8 of the symbols. Training data is fresh at every step; an epoch is 100
    steps.

    Args:
        seed: the data seed.
        data_dir: not used: nothing is read.
        delay: steps from the last symbol to the marker.
        symbols: K, how many are to be copied.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "S. Hochreiter and J. Schmidhuber, 1997; layout of M. Arjovsky et al., ICML 2016"

    def __init__(self, *, seed: int, data_dir: Path | None = None, delay: int = 100, symbols: int = 10) -> None:
        super().__init__(seed=seed, data_dir=data_dir)
        self.delay, self.symbols = integer("delay", delay, 1), integer("symbols", symbols, 1)
        self.spec = Spec(
            input_size=ALPHABET + 2, output_size=ALPHABET + 1, length=self.delay + 2 * self.symbols,
            metric="accuracy", higher_is_better=True, chance=1 / ALPHABET, every_step=True,
        )  # fmt: skip
        self.sizes = {"train": 100 * 128, "valid": 1000, "test": 1000}
        self.facts = {
            "data": "generated",
            "constant guess": f"{self.symbols * math.log(8) / self.spec.length:.4f} nats",
        }
        self.device = torch.device("cpu")

    def steps(self, batch_size: int) -> int:
        """Training steps an epoch, whatever the batch size."""
        return 100

    def batches(self, split: Split, batch_size: int, epoch: int) -> Iterator[Batch]:
        """Training batches with a generator each, the others in a fixed order."""
        check_request(split, batch_size, epoch, None)
        if split == "train":
            for step in range(self.steps(batch_size)):
                yield self._batch(self._draw(batch_size, split, epoch, step))
        else:
            for part in self._draw(self.sizes[split], split).split(batch_size):
                yield self._batch(part)

    def _draw(self, count: int, *words: object) -> Tensor:
        """Symbols (count,K)."""
        return torch.randint(ALPHABET, (count, self.symbols), generator=generator(self.seed, "copy memory", *words))

    def _batch(self, symbols: Tensor) -> Batch:
        K, rows = self.symbols, len(symbols)
        shown = torch.full((rows, self.spec.length), BLANK)
        wanted = shown.clone()
        shown[:, :K], shown[:, -K - 1], wanted[:, -K:] = symbols, MARKER, symbols
        return Batch(F.one_hot(shown, ALPHABET + 2).float().to(self.device), wanted.to(self.device))

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean cross entropy of outputs (B,T,9), over all steps."""
        return F.cross_entropy(outputs.flatten(0, 1), batch.y.flatten())

    def score(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The share of the K symbols that are named, each at its step: (B,)."""
        right = outputs.argmax(dim=2) == batch.y
        return right[:, -self.symbols :].float().mean(dim=1)

    def to(self, device: torch.device | str) -> Task:
        """Batches are moved as they come; returns self."""
        self.device = torch.device(device)
        return self
