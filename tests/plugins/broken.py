"""Models that misbehave."""

from __future__ import annotations

import time

from tests.plugins.tiny import Leaky


class Raises(Leaky):
    def forward(self, x, *, profile=None):
        raise RuntimeError("no luck")


class Hangs(Leaky):
    def forward(self, x, *, profile=None):
        time.sleep(3600)
