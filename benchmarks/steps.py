"""asv: forward, forward and backward, and a training step of every model, at the tasks' shapes with T/8 steps.

On a CPU with one thread, subnormals flushed, and on the first GPU where there is one; the engine that `auto` takes.
`version` is set by hand: it changes only where a benchmark measures something else, so that results stay comparable
when a line of this file does.
"""

from __future__ import annotations

import torch

from models import MODELS
from suite.benchmark.contenders import LOOP, Step
from suite.benchmark.shapes import SHAPES
from suite.benchmark.timing import interleaved
from suite.work.training.tf32 import cublas

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
EVERY_MODEL = ("psmnist", "adding", "har2", "imdb", "noisy_cifar")  # coRNN alone at the others


def prepare(model, shape):
    """What holds for every benchmark.

    Raises:
        NotImplementedError: asv then leaves this one out.
    """
    if model != "cornn" and shape not in EVERY_MODEL:
        raise NotImplementedError
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cublas()
    return SHAPES[shape].small()


class Steps:
    params = (list(MODELS), list(SHAPES), DEVICES)
    param_names = ("model", "shape", "device")
    version = "2"

    def setup(self, model, shape, device):
        self.step = Step(model, "auto", prepare(model, shape), torch.device(device))
        self.wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        self.step()
        self.step.forward_only()  # an evaluation's kernels are compiled here too: asv's quick mode warms nothing up
        self.wait()

    def time_forward(self, model, shape, device):
        self.step.forward_only()
        self.wait()

    def time_forward_backward(self, model, shape, device):
        self.step.backward(self.step.forward())
        self.wait()

    def time_training_step(self, model, shape, device):
        self.step()
        self.wait()

    time_forward.version = time_forward_backward.version = time_training_step.version = "2"


class Ratio:
    params = Steps.params
    param_names = Steps.param_names
    timeout = 300

    def setup(self, model, shape, device):
        small, self.device = prepare(model, shape), torch.device(device)
        self.calls = {engine: Step(model, engine, small, self.device) for engine in (LOOP, "auto")}

    def track_share_of_the_loop(self, model, shape, device):
        """Time over the plain loop's, interleaved, ratio of medians: smaller is better, as asv takes it."""
        times = interleaved(self.calls, seconds=1.0, least=5, device=self.device)
        return times["auto"].median / times[LOOP].median

    track_share_of_the_loop.unit = "of the loop's time"
    track_share_of_the_loop.version = "2"
