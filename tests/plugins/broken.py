"""Models that misbehave."""

from __future__ import annotations

import time

from models.tanh import TanhCell, TanhRNN
from tests.plugins.tiny import Leaky


class Raises(Leaky):
    def forward(self, x, *, profile=None):
        raise RuntimeError("no luck")


class Hangs(Leaky):
    def forward(self, x, *, profile=None):
        time.sleep(3600)


class Unbuilt(Leaky):
    def __init__(self, input_size, hidden_size, *, engine="auto"):
        raise ZeroDivisionError("no model today")


class Wordless(Leaky):
    def forward(self, x, *, profile=None):
        raise AssertionError


class Leaves(Leaky):
    def forward(self, x, *, profile=None):
        raise SystemExit(3)


class RaisesLater(Leaky):
    """Fails after some steps that went well."""

    def forward(self, x, *, profile=None):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 5:
            raise RuntimeError("no luck\nany more")
        return super().forward(x, profile=profile)


class RaisingCell(TanhCell):
    def backward_(self, g, saved, state, new, p, grad_a, grad_p):
        raise KeyError("no gradient")


class BackwardRaises(TanhRNN):
    """Its definition is sound, its backward by hand is not."""

    def cell(self):
        return RaisingCell()
