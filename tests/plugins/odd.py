"""Third-party models and tasks for which training seeds side by side could silently be another training."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from suite.runs import seed_for
from tasks.contract import Batch
from tests.plugins.tiny import Leaky, Parity, Words


class Reservoir(Leaky):
    """Its recurrent weight is a random buffer, its bias a parameter that is not trained: each seed has its own."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.register_buffer("fixed", 0.5 * torch.randn(hidden_size, hidden_size))
        self.frozen = nn.Parameter(torch.randn(hidden_size), requires_grad=False)

    def forward(self, x, *, profile=None):
        h, out = x.new_zeros(x.shape[1], self.hidden_size), []
        for u in x.unbind(0):
            h = torch.tanh(self.inner(torch.cat((u, h), -1)) + h @ self.fixed + self.frozen)
            out.append(h)
        return torch.stack(out), h


class Counting(Leaky):
    """A buffer that every training step changes."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, *, profile=None):
        if self.training:
            self.calls = self.calls + 1
        return super().forward(x, profile=profile)


class Drawing(Leaky):
    """Random numbers in the model: together they are others than alone."""

    def forward(self, x, *, profile=None):
        h, final = super().forward(x, profile=profile)
        return h, nn.functional.dropout(final, 0.9, self.training)


class Attribute(Leaky):
    """What each seed has of its own is neither parameter nor buffer."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.gain = torch.randn(()).item() * 10

    def forward(self, x, *, profile=None):
        h, final = super().forward(x, profile=profile)
        return h, self.gain * final


def _doubled(gradient):
    return 2 * gradient


class Hooked(Leaky):
    """Changes a gradient by a hook on its own parameter, which stacked parameters do not have."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.inner.bias.register_hook(_doubled)


class Ragged(Parity):
    """Batches of one length at first, later of lengths that differ from seed to seed."""

    def batches(self, split, batch_size, epoch):
        for i, batch in enumerate(super().batches(split, batch_size, epoch)):
            cut = (self.seed + i) % 3 if i > 1 and split == "train" else 0
            yield Batch(batch.x[:, cut:], batch.y)


class Extra(Leaky):
    """A state that is no tensor."""

    def get_extra_state(self):
        return {"words": ["one", "two"]}

    def set_extra_state(self, state):
        assert state == {"words": ["one", "two"]}


class OwnNames(Leaky):
    """Its hyperparameters have the names of keys that the trainer gained later."""

    def __init__(self, input_size, hidden_size, *, engine="auto", lr_decay: float = 0.5, weight_decay: float = 0.1):
        super().__init__(input_size, hidden_size, engine=engine)
        self.own = {"lr_decay": lr_decay, "weight_decay": weight_decay}

    def diagnostics(self):
        return self.own


class Unsaveable(Leaky):
    """A state that torch writes, and does not read back without running code."""

    def get_extra_state(self):
        return Parity

    def set_extra_state(self, state):
        pass


class Falls(Leaky):
    """Trains for three epochs of Parity and is not finite after."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x, *, profile=None):
        h, final = super().forward(x, profile=profile)
        if self.training and torch.is_grad_enabled():
            self.steps += 1
        return h, final * (float("nan") if self.training and self.steps > 26 else 1.0)


class Counted(Parity):
    """Sizes as numpy gives them."""

    def __init__(self, *, seed, data_dir=None):
        super().__init__(seed=seed, data_dir=data_dir)
        self.spec = dataclasses.replace(self.spec, output_size=np.int64(1), length=np.int64(6))


class Global(Words):
    """Initial vectors from torch's global generator."""

    def embedding(self):
        return torch.randn(9, 4)


class OneBad(Parity):
    """An example of seed 1 is damaged, and seen in the second epoch."""

    def __init__(self, *, seed, data_dir=None):
        super().__init__(seed=seed, data_dir=data_dir)
        self.bad = seed == seed_for("data", "tests.plugins.odd:OneBad", 1)

    def batches(self, split, batch_size, epoch):
        if self.bad and split == "train" and epoch == 2:
            raise ValueError("damaged example")
        return super().batches(split, batch_size, epoch)
