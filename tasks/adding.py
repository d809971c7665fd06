"""The adding problem: T steps of (number, marker); the target is the sum of the two marked numbers.

Channel 0 is U(0,1). Channel 1 is zero except for two ones: one at a uniform position in [0, T//2), one in
[T//2, T). Training data is fresh at every step; an epoch is 100 steps. Validation and test are fixed sets of
1,000, drawn by the data seed. A constant guess of 1 has an expected squared error of 2/12 = 0.1667, on a test set of
1,000 one of 0.154 to 0.179 (two standard deviations): ``spec.chance`` is that of the test set there is.
"""

from __future__ import annotations

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

NOMINAL_BATCH = 50  # the published batch size: `sizes` counts an epoch's examples by it


class Adding(Task):
    """The adding problem.

    Args:
        seed: the data seed.
        data_dir: unused, nothing is read.
        length: T, at least 2. Published: 500, 2000, 5000.
        epoch_steps: training steps an epoch.
        valid_examples: size of the fixed validation set.
        test_examples: size of the fixed test set.

    Raises:
        TaskError: an option out of range.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "github.com/tk-rusch/coRNN adding/utils.py; arXiv:2010.00951"

    def __init__(
        self,
        *,
        seed: int,
        data_dir: Path | None = None,
        length: int = 500,
        epoch_steps: int = 100,
        valid_examples: int = 1000,
        test_examples: int = 1000,
    ) -> None:
        super().__init__(seed=integer("seed", seed, 0), data_dir=data_dir)
        self.length = integer("length", length, 2)
        self.epoch_steps = integer("epoch_steps", epoch_steps, 1)
        self.sizes = {
            "train": self.epoch_steps * NOMINAL_BATCH,
            "valid": integer("valid_examples", valid_examples, 1),
            "test": integer("test_examples", test_examples, 1),
        }
        self._fixed: dict[str, tuple[Tensor, Tensor]] = {}
        self.spec = Spec(
            input_size=2, output_size=1, length=self.length, metric="mse", higher_is_better=False, chance=self._chance()
        )
        self.facts = {"data": "generated", "train": "fresh every step", "valid and test": "fixed sets"}
        self.device = torch.device("cpu")

    def _chance(self) -> float:
        """The mean squared error of a guess of 1, what a target is expected to be, on the test examples."""
        numbers, marked = self._stored("test")
        return float((numbers.gather(1, marked).double().sum(dim=1) - 1).square().mean())

    def steps(self, batch_size: int) -> int:
        """Training steps an epoch, whatever the batch size."""
        return self.epoch_steps

    def _draw(self, count: int, *words: object) -> tuple[Tensor, Tensor]:
        """Numbers (count,T) in [0,1) and marked positions (count,2), on the CPU whatever the device."""
        source = generator(self.seed, "adding", *words)
        half = self.length // 2
        numbers = torch.rand(count, self.length, generator=source)
        first = torch.randint(0, half, (count,), generator=source)
        second = torch.randint(half, self.length, (count,), generator=source)
        return numbers, torch.stack([first, second], dim=1)

    def _assemble(self, numbers: Tensor, marked: Tensor) -> Batch:
        """Batch of x (B,T,2) and y (B,1) from numbers (B,T) and positions (B,2)."""
        x = torch.zeros(*numbers.shape, 2)
        x[:, :, 0] = numbers
        x[:, :, 1].scatter_(1, marked, 1.0)
        y = numbers.gather(1, marked).sum(dim=1, keepdim=True)
        if self.device.type != "cuda":
            return Batch(x.to(self.device), y.to(self.device))
        return Batch(*(t.pin_memory().to(self.device, non_blocking=True) for t in (x, y)))  # the host need not wait

    def _stored(self, split: Split) -> tuple[Tensor, Tensor]:
        if split not in self._fixed:
            self._fixed[split] = self._draw(self.sizes[split], split)
        return self._fixed[split]

    def batches(self, split: Split, batch_size: int, epoch: int) -> Iterator[Batch]:
        """See ``Task.batches``; every training step has its own generator."""
        check_request(split, batch_size, epoch, None)
        if split == "train":
            steps = range(self.epoch_steps)
            return (self._assemble(*self._draw(batch_size, "train", epoch, step)) for step in steps)
        numbers, marked = self._stored(split)
        parts = zip(numbers.split(batch_size), marked.split(batch_size))
        return (self._assemble(*part) for part in parts)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean squared error of ``outputs`` (B,1)."""
        return F.mse_loss(outputs, batch.y)

    def score(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Squared error of each example, (B,)."""
        return (outputs - batch.y).square().squeeze(1)

    def to(self, device: torch.device | str) -> Task:
        """Batches are drawn on the CPU (the same on every device) and moved; returns self."""
        self.device = torch.device(device)
        return self
