"""A third-party model and task, as a user's own folder would hold them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.contract import Recurrence
from tasks.contract import Batch, Spec, Task


class Leaky(Recurrence):
    """h_t = (1-rate) h_{t-1} + rate tanh(W x_t + U h_{t-1}), in plain torch code: the first rung of the ladder."""

    version = 1
    source = "a test"

    def __init__(self, input_size, hidden_size, *, engine="auto", rate: float = 0.5):
        super().__init__(input_size, hidden_size, engine=engine)
        self.rate = rate
        self.inner = nn.Linear(input_size + hidden_size, hidden_size)

    def forward(self, x, *, profile=None):
        h, out = x.new_zeros(x.shape[1], self.hidden_size), []
        for u in x.unbind(0):
            h = (1 - self.rate) * h + self.rate * torch.tanh(self.inner(torch.cat((u, h), -1)))
            out.append(h)
        return torch.stack(out), h


class Words(Task):
    """Whether the first of T tokens is odd; the rest is half padding, which is read."""

    version = 1
    source = "a test"

    def __init__(self, *, seed, data_dir=None, length: int = 5):
        super().__init__(seed=seed, data_dir=data_dir)
        self.spec = Spec(4, 1, length, "accuracy", True, vocabulary=9, embedding_size=4, chance=0.5, padding_index=1)
        self.sizes = {"train": 96, "valid": 32, "test": 32}
        self.facts = {"data": "words (made up)"}
        g = torch.Generator().manual_seed(seed % 2**31)
        self.x = {s: torch.randint(2, 9, (n, length), generator=g) for s, n in self.sizes.items()}
        for tokens in self.x.values():
            tokens[:, length // 2 :] = 1

    def embedding(self):
        return torch.randn(9, 4, generator=torch.Generator().manual_seed(self.seed % 2**31)).index_fill_(
            0, torch.tensor([1]), 0.0
        )

    def batches(self, split, batch_size, epoch):
        for part in self.x[split].split(batch_size):
            yield Batch(part, (part[:, :1] % 2).float())

    def loss(self, outputs, batch):
        return F.binary_cross_entropy_with_logits(outputs, batch.y)

    def score(self, outputs, batch):
        return ((outputs > 0).float() == batch.y).float().squeeze(1)


class Parity(Task):
    """Sign of the sum of T numbers."""

    version = 1
    source = "a test"

    def __init__(self, *, seed, data_dir=None, length: int = 6):
        super().__init__(seed=seed, data_dir=data_dir)
        self.spec = Spec(1, 1, length, "accuracy", True, chance=0.5)
        self.sizes = {"train": 120, "valid": 40, "test": 40}
        self.facts = {"data": "parity (made up)"}
        g = torch.Generator().manual_seed(seed % 2**31)
        self.x = {s: torch.randn(n, length, 1, generator=g) for s, n in self.sizes.items()}

    def batches(self, split, batch_size, epoch):
        x = self.x[split]
        order = torch.arange(len(x))
        if split == "train":
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(self.seed % 2**31 + epoch))
        for part in order.split(batch_size):
            yield Batch(x[part], (x[part].sum((1, 2)) > 0).float().unsqueeze(1))

    def loss(self, outputs, batch):
        return F.binary_cross_entropy_with_logits(outputs, batch.y)

    def score(self, outputs, batch):
        return ((outputs > 0).float() == batch.y).float().squeeze(1)
