"""Models that a stack of layers, or a key of the trainer of the same name, must get right."""

from __future__ import annotations

import torch
from torch import nn

from models.contract import Recurrence
from tests.plugins.tiny import Leaky, Parity


class OwnLayers(Recurrence):
    """A torch LSTM, with a number of layers of its own."""

    version = 1
    source = "a test"

    def __init__(self, input_size, hidden_size, *, engine="auto", num_layers: int = 2):
        super().__init__(input_size, hidden_size, engine=engine)
        self.inner = nn.LSTM(input_size, hidden_size, num_layers)

    def forward(self, x, *, profile=None):
        h, _ = self.inner(x)
        return h, h[-1]


class Cut(Leaky):
    """Passes no gradient on to what it reads."""

    def forward(self, x, *, profile=None):
        return super().forward(x.detach())


class FinalOnly(Leaky):
    """No gradient comes through its h."""

    def forward(self, x, *, profile=None):
        h, final = super().forward(x)
        return h.detach(), final


class Flat(Parity):
    """Read out at every step, by a loss that wants its outputs in one piece of memory."""

    def __init__(self, *, seed, data_dir=None):
        super().__init__(seed=seed, data_dir=data_dir)
        object.__setattr__(self.spec, "every_step", True)

    def loss(self, outputs, batch):
        return outputs.view(-1).square().mean() + 0 * batch.y.sum()

    def score(self, outputs, batch):
        return torch.zeros(len(batch.y))


class Silent(Leaky):
    """Its input weights begin at zero: the first gradient of the layer below is exactly zero."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        with torch.no_grad():
            self.inner.weight[:, :input_size] = 0
