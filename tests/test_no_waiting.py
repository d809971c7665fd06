"""A training step looks at no value: on a GPU the host would wait there for all that it has asked for so far.

The steps run on the CPU, where nothing waits, and every operation is seen as torch dispatches it. Where there is a GPU,
tests/test_gpu_training.py lets torch itself refuse to wait.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models import MODELS
from suite.plan import Request, expand
from suite.work.job import Job, Settings
from suite.work.training.group import prepare
from suite.work.training.lap import Lap
from suite.work.training.measure import to_device
from suite.work.training.side_by_side import SideBySide

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "linalg_matrix_exp")
SETS = ((None, "hidden_size", 8), (None, "batch_size", 4), (None, "clip_norm", 1.0), ("adding", "length", 6))


class Watched(TorchDispatchMode):
    """Notes every operation for which a GPU's host would wait; tensors that stay on the host are told beforehand."""

    def __init__(self, at_home=()) -> None:
        super().__init__()
        self.at_home = {tensor.data_ptr() for tensor in at_home}
        self.seen: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        name = func.overloadpacket.__name__
        if name.startswith(WAITS) and args[0].data_ptr() not in self.at_home:
            self.seen.append(name)
        if name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1]):
            self.seen.append("index by a mask")
        return func(*args, **(kwargs or {}))


def steps_of(optimizer):
    """Counts of steps, which torch's optimisers keep on the host."""
    return [value for state in optimizer.state.values() for name, value in state.items() if name == "step"]


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_no_training_step_looks_at_a_value(model, seeds, optimizer, tmp_path):
    sets = (*SETS, (None, "optimizer", optimizer))
    runs = expand(Request(models=(model,), tasks=("adding",), seeds=tuple(range(seeds)), epochs=1, sets=sets))
    job = Job(tuple(p.run for p in runs), runs[0].sources, Settings(engine="fused"), ("",) * seeds)
    trainers = [prepare(p.run, job, tmp_path / "x", lambda event: None, lambda: False).trainer for p in runs]
    together = SideBySide(trainers) if seeds > 1 else None

    def step(batches):
        if together is None:
            trainers[0]._step(to_device(batches[0], trainers[0].device))
        else:
            together._step(together._stacked(batches, Lap()))

    sources = [trainer.epoch_batches() for trainer in trainers]
    step([next(source) for source in sources])
    watched = Watched(steps_of((together or trainers[0]).optimizer))
    batches = [next(source) for source in sources]
    with watched:
        step(batches)
    assert watched.count > 100 and not watched.seen


@pytest.mark.parametrize(
    "look",
    [lambda x: x.item(), lambda x: bool(x > 0), lambda x: x[x > 0], torch.nonzero, lambda x: torch.equal(x, x),
     lambda x: torch.matrix_exp(x.expand(2, 2))],
)  # fmt: skip
def test_a_look_is_seen(look):
    with Watched() as watched:
        look(torch.ones(()))
    assert watched.seen
