"""Models with one slip each, which many promises would find and only one may name."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from models.tanh import TanhRNN
from tests.plugins.tiny import Leaky


class NotNumbers(Leaky):
    """Its h is NaN from the third step on."""

    def forward(self, x, *, profile=None):
        h, _ = super().forward(x)
        h = torch.cat((h[:2], torch.sqrt(-1 - h[2:].square())))
        return h, h[-1]


class NoNumberInIt(TanhRNN):
    """A cell whose bias is NaN, on the plain loop and every engine."""

    whole_engines = ()

    def weights(self):
        V, b, W, p = super().weights()
        return V, b * torch.nan, W, p


class InPlace(Leaky):
    """Halves its input where it lies."""

    def forward(self, x, *, profile=None):
        return super().forward(x.mul_(0.5))


class ClampsInPlace(Leaky):
    """Changes where it lies what was not to be changed here: no number comes out otherwise."""

    def forward(self, x, *, profile=None):
        return super().forward(x.clamp_(-1e9, 1e9))


class DropsInPlace(Leaky):
    """Changes its input in training alone."""

    def forward(self, x, *, profile=None):
        return super().forward(F.dropout(x, 0.5, self.training, inplace=True))


class OnlyH(Leaky):
    """Returns no final state."""

    def forward(self, x, *, profile=None):
        return super().forward(x)[0]


class Three(Leaky):
    """Returns more than is asked for."""

    def forward(self, x, *, profile=None):
        return *super().forward(x), None


class CutOff(Leaky):
    """No gradient comes through to its parameters."""

    def forward(self, x, *, profile=None):
        h, final = super().forward(x)
        return h.detach(), final.detach()


class HiddenName(Leaky):
    """A hyperparameter with the name of a trainer's key."""

    def __init__(self, input_size, hidden_size, *, engine="auto", lr: float = 0.5):
        super().__init__(input_size, hidden_size, engine=engine, rate=lr)
