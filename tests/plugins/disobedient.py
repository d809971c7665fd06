"""Models and tasks that break one promise each, as a slip in a user's own code would."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.contract import CellRecurrence, Recurrence
from models.tanh import TanhCell, TanhRNN
from tasks.contract import Batch, Spec
from tests.plugins.tiny import Leaky, Parity


class Wide(Leaky):
    """One unit too many."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.inner = nn.GRU(input_size, hidden_size + 1)

    def forward(self, x, *, profile=None):
        h, final = self.inner(x)
        return h, final[0]


class BatchFirst(Leaky):
    """Walks along the batch."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.inner = nn.GRU(input_size, hidden_size, batch_first=True)

    def forward(self, x, *, profile=None):
        h, _ = self.inner(x)
        return h, h[-1]


class Foresees(Leaky):
    """Reads the sequence backwards."""

    def forward(self, x, *, profile=None):
        h, _ = super().forward(x.flip(0))
        return h.flip(0), h[0]


class OtherFinal(Leaky):
    """A final state that is not the last h."""

    def forward(self, x, *, profile=None):
        h, final = super().forward(x)
        return h, 2 * final


class Drawn(Leaky):
    """Noise in evaluation."""

    def forward(self, x, *, profile=None):
        h, _ = super().forward(x + torch.rand(()))
        return h, h[-1]


class Mixed(Leaky):
    """Rows see each other."""

    def forward(self, x, *, profile=None):
        h, _ = super().forward(x - x.mean(1, keepdim=True))
        return h, h[-1]


class Unsaved(Leaky):
    """A weight that no state_dict has."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.hidden = torch.rand(hidden_size)

    def forward(self, x, *, profile=None):
        h, _ = super().forward(x)
        return h * self.hidden, h[-1] * self.hidden


class Tires(Leaky):
    """Raises in the training steps of the second epoch."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.steps = 0

    def forward(self, x, *, profile=None):
        self.steps += self.training and profile is None
        if self.steps > 3:
            raise RuntimeError("tired")
        return super().forward(x)


class Names(Leaky):
    """One block of state, two names."""

    block_names = ("h", "c")


class WrongSlope(TanhCell):
    """Its backward has a wrong factor."""

    def backward_(self, g, saved, state, new, p, grad_a, grad_p):
        super().backward_(g, saved, state, new, p, grad_a, grad_p)
        grad_a.mul_(1.01)


class WrongBackward(TanhRNN):
    """A cell whose hand-written gradient is a percent off."""

    whole_engines = ()

    def cell(self):
        return WrongSlope()


class NoNumber(TanhCell):
    """Its forward in place gives no number."""

    functor = None  # nor has it a faster engine

    def forward_(self, a, state, new, p):
        super().forward_(a, state, new, p)
        new.fill_(torch.nan)


class WithoutNumbers(TanhRNN):
    """A cell whose fast engine gives NaN."""

    whole_engines = ()

    def cell(self):
        return NoNumber()


class Reservoir(Leaky):
    """Nothing to train in it."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.requires_grad_(False)


class Sixteen(Leaky):
    """Takes units by sixteen, and its buffer is drawn."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        if hidden_size % 16:
            raise ValueError("hidden_size: wanted a multiple of 16")
        super().__init__(input_size, hidden_size, engine=engine)
        self.register_buffer("mask", torch.rand(hidden_size))

    def forward(self, x, *, profile=None):
        h, _ = super().forward(x)
        return h * self.mask, h[-1] * self.mask


class Noisy(Leaky):
    """Drops numbers in training."""

    def forward(self, x, *, profile=None):
        return super().forward(F.dropout(x, 0.5, self.training))


class BareCell:
    """What rung 1 asks for, and no more."""

    states, recurrent, inputs, products, add, params = 1, 1, 1, 1, True, 0
    constants = ()

    def step(self, a, state, p):
        return torch.tanh(a)


class Bare(CellRecurrence):
    """A cell with ``step`` alone."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.V = nn.Parameter(torch.randn(hidden_size, input_size))
        self.W = nn.Parameter(0.1 * torch.randn(hidden_size, hidden_size))

    def cell(self):
        return BareCell()

    def weights(self):
        return self.V, None, self.W, None


class TotalScore(Parity):
    """A score of the whole batch."""

    def score(self, outputs, batch):
        return super().score(outputs, batch).mean()


class Percent(Parity):
    """An accuracy in percent."""

    def score(self, outputs, batch):
        return 100 * super().score(outputs, batch)


class LossPerExample(Parity):
    """A loss without the mean."""

    def loss(self, outputs, batch):
        return F.cross_entropy(outputs.repeat(1, 2), batch.y.long().flatten(), reduction="none")


class SummedLoss(Parity):
    """A loss that grows with the batch."""

    def loss(self, outputs, batch):
        return super().loss(outputs, batch) * len(batch.y)


class Weighted(Parity):
    """Classes weigh differently, so halves of a batch do not average to the whole."""

    def loss(self, outputs, batch):
        logits = torch.cat((torch.zeros_like(outputs), outputs), 1)
        return F.cross_entropy(logits, batch.y.long().flatten(), weight=torch.tensor([1.0, 1.5], dtype=logits.dtype))


class NumberAsLoss(Parity):
    """A loss that is a float."""

    def loss(self, outputs, batch):
        return 0.0


class Detached(Parity):
    """A loss without gradients."""

    def loss(self, outputs, batch):
        return super().loss(outputs.detach(), batch)


class Tuples(Parity):
    """Plain tuples for batches."""

    def batches(self, split, batch_size, epoch):
        for batch in super().batches(split, batch_size, epoch):
            yield tuple(batch)


class NoValid(Parity):
    """No validation examples."""

    def __init__(self, *, seed, data_dir=None):
        super().__init__(seed=seed, data_dir=data_dir)
        self.sizes = {**self.sizes, "valid": 0}


class Few(Parity):
    """Fewer examples than it says."""

    def __init__(self, *, seed, data_dir=None):
        super().__init__(seed=seed, data_dir=data_dir)
        self.sizes = {**self.sizes, "test": 41}


class Misspelt(Parity):
    """A metric whose name is not quite accuracy."""

    def __init__(self, *, seed, data_dir=None):
        super().__init__(seed=seed, data_dir=data_dir)
        self.spec = Spec(1, 1, 6, "Acuracy", True)


class UpsideDown(Parity):
    """An accuracy that is said to be better where it is lower."""

    def __init__(self, *, seed, data_dir=None):
        super().__init__(seed=seed, data_dir=data_dir)
        self.spec = Spec(1, 1, 6, "accuracy", False)


class LargerError(Parity):
    """An error that is said to be better where it is larger."""

    def __init__(self, *, seed, data_dir=None):
        super().__init__(seed=seed, data_dir=data_dir)
        self.spec = Spec(1, 1, 6, "mse", True)


class Doubles(Parity):
    """Inputs in float64."""

    def batches(self, split, batch_size, epoch):
        for batch in super().batches(split, batch_size, epoch):
            yield Batch(batch.x.double(), batch.y)


class Restless(Parity):
    """Another order at every call, from the global generator."""

    def batches(self, split, batch_size, epoch):
        order = torch.randperm(len(self.x[split]))
        for part in order.split(batch_size):
            x = self.x[split][part]
            yield Batch(x, (x.sum((1, 2)) > 0).float()[:, None])


class Smoothed(Parity):
    """A loss of targets that are smoothed at random."""

    def loss(self, outputs, batch):
        return super().loss(outputs, Batch(batch.x, batch.y * (0.9 + 0.1 * torch.rand(len(batch.y), 1))))


assert issubclass(Wide, Recurrence)
