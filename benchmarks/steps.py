"""asv: forward, forward and backward, and a training step of every model, at the tasks' shapes with T/8 steps.

One thread, subnormals flushed, the engine that `auto` takes. `version` is set by hand: it changes only where a
benchmark measures something else, so that results stay comparable when a line of this file does.
"""

from __future__ import annotations

import torch

from models import MODELS
from suite.benchmark.contenders import LOOP, Step
from suite.benchmark.shapes import SHAPES
from suite.benchmark.timing import interleaved

CPU = torch.device("cpu")


class Steps:
    params = (list(MODELS), ["psmnist", "adding", "har2", "imdb", "noisy_cifar"])
    param_names = ("model", "shape")
    version = "1"

    def setup(self, model, shape):
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.step = Step(model, "auto", SHAPES[shape].small(), CPU)
        self.step()

    def time_forward(self, model, shape):
        self.step.forward_only()

    def time_forward_backward(self, model, shape):
        self.step.backward(self.step.forward())

    def time_training_step(self, model, shape):
        self.step()

    time_forward.version = time_forward_backward.version = time_training_step.version = "1"


class Ratio:
    params = Steps.params
    param_names = Steps.param_names
    timeout = 300

    def setup(self, model, shape):
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        small = SHAPES[shape].small()
        self.calls = {engine: Step(model, engine, small, CPU) for engine in (LOOP, "auto")}

    def track_share_of_the_loop(self, model, shape):
        """Time over the plain loop's, interleaved, ratio of medians: smaller is better, as asv takes it."""
        times = interleaved(self.calls, seconds=1.0, least=5)
        return times["auto"].median / times[LOOP].median

    track_share_of_the_loop.unit = "of the loop's time"
    track_share_of_the_loop.version = "1"
