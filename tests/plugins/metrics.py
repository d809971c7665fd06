"""Tasks whose metric is neither accuracy nor mean squared error."""

from __future__ import annotations

from tasks.contract import Batch, Spec
from tests.plugins.tiny import Parity


class Sum(Parity):
    """The sum of T numbers; mean absolute error."""

    def __init__(self, *, seed, data_dir=None, length: int = 6):
        super().__init__(seed=seed, data_dir=data_dir, length=length)
        self.spec = Spec(1, 1, length, "MAE", False, chance=1.95)
        self.facts = {"data": "sums (made up)"}

    def batches(self, split, batch_size, epoch):
        for batch in super().batches(split, batch_size, epoch):
            yield Batch(batch.x, batch.x.sum((1, 2)).unsqueeze(1))

    def loss(self, outputs, batch):
        return (outputs - batch.y).abs().mean()

    def score(self, outputs, batch):
        return (outputs - batch.y).abs().squeeze(1)


class Likely(Sum):
    """The sum of T numbers; logarithm of a normal density, negative and better where it is larger."""

    def __init__(self, *, seed, data_dir=None, length: int = 6):
        super().__init__(seed=seed, data_dir=data_dir, length=length)
        self.spec = Spec(1, 1, length, "log likelihood", True, chance=-3.9)

    def loss(self, outputs, batch):
        return -self.score(outputs, batch).mean()

    def score(self, outputs, batch):
        return -0.5 * ((outputs - batch.y) ** 2).squeeze(1) - 0.919
