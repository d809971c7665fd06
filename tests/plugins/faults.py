"""Models that misbehave in every way that a grid must survive, and a slow one that is easily hit in the middle."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch

from tests.plugins.tiny import Leaky, Parity


class Slow(Leaky):
    """Takes its time at every training step."""

    def __init__(self, input_size, hidden_size, *, engine="auto", pause: float = 0.02):
        super().__init__(input_size, hidden_size, engine=engine)
        self.pause = pause

    def forward(self, x, *, profile=None):
        if self.training and torch.is_grad_enabled():
            time.sleep(self.pause)
        return super().forward(x, profile=profile)


class Gated(Slow):
    """Waits in its second epoch until the file that RNNBENCH_TEST_GATE names is there; without the variable it goes on.

    So a test meets as many runs in mid-training as it has workers, however long a worker takes to start.
    """

    def forward(self, x, *, profile=None):
        gate = os.environ.get("RNNBENCH_TEST_GATE")
        if gate and self.training and torch.is_grad_enabled():
            self.steps = getattr(self, "steps", 0) + 1
            while self.steps == 12 and not Path(gate).exists():
                time.sleep(0.02)
        return super().forward(x, profile=profile)


class Dropped(Leaky):
    """Draws from torch's generator at every step, so a resumed run needs its random state."""

    def forward(self, x, *, profile=None):
        h, final = super().forward(x, profile=profile)
        return h, torch.nn.functional.dropout(final, 0.3, training=self.training)


class NotFinite(Leaky):
    def forward(self, x, *, profile=None):
        h, final = super().forward(x, profile=profile)
        return h, final * float("nan")


class Dies(Leaky):
    """Kills its own process at the third training step, each time."""

    def forward(self, x, *, profile=None):
        if self.training and torch.is_grad_enabled():
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x, profile=profile)


class DiesOnce(Dies):
    """Kills its own process once; the flag is in the folder that RNNBENCH_TEST_FLAGS names."""

    def forward(self, x, *, profile=None):
        flag = Path(os.environ["RNNBENCH_TEST_FLAGS"]) / "died"
        if self.training and getattr(self, "steps", 0) == 2 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super(Dies, self).forward(x, profile=profile) if flag.exists() else super().forward(x, profile=profile)


class Greedy(Leaky):
    """Asks for more memory than any machine has."""

    def forward(self, x, *, profile=None):
        torch.empty(1 << 55)
        return super().forward(x, profile=profile)


class Full(Leaky):
    """Finds the memory of a GPU used up."""

    def forward(self, x, *, profile=None):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore lines")


class FillsTheGpu(Leaky):
    """Takes memory until there is none."""

    def forward(self, x, *, profile=None):
        kept = []
        while True:
            kept.append(x.new_empty(2**28))  # a GiB each


class Quits(Leaky):
    def forward(self, x, *, profile=None):
        sys.exit(0)


class Crashes(Leaky):
    def forward(self, x, *, profile=None):
        os.kill(os.getpid(), signal.SIGSEGV)
        return super().forward(x, profile=profile)


class Loquacious(Leaky):
    """Measures something of itself that no record can hold."""

    def forward(self, x, *, profile=None):
        raise RuntimeError("long words " * 100_000)


class BadFacts(Parity):
    """Says something of itself that is no JSON."""

    def __init__(self, *, seed, data_dir=None, length: int = 6):
        super().__init__(seed=seed, data_dir=data_dir, length=length)
        self.facts = {"data": torch.zeros(3), "made": {1, 2}}


class Unbuildable(Parity):
    def __init__(self, *, seed, data_dir=None, length: int = 6):
        raise ZeroDivisionError("no task today")


class SlowEvaluation(Parity):
    """Many small evaluation batches, each of which takes its time."""

    def batches(self, split, batch_size, epoch):
        for batch in super().batches(split, batch_size if split == "train" else 4, epoch):
            if split != "train":
                time.sleep(0.03)
            yield batch
