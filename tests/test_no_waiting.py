"""A training step looks at no value: on a GPU the host would wait there for all that it has asked for so far.

The steps run on the CPU, where nothing waits, and every operation is seen as torch dispatches it. Where there is a GPU,
tests/test_gpu_training.py lets torch itself refuse to wait.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from models import MODELS
from suite.plan import Request, expand
from suite.work.job import Job, Settings
from suite.work.training.group import prepare
from suite.work.training.lap import Lap
from suite.work.training.measure import to_device
from suite.work.training.side_by_side import SideBySide

WAITS = re.compile(
    r"_*(local_scalar_dense|nonzero|masked_select|is_nonzero|equal|unique|bincount|histc|multinomial|repeat_interleave"
    r"|linalg_(?!vector_norm)|pack_padded_sequence|lu_|cholesky|assert_async)"
)
MASKS = re.compile(r"_*(unsafe_)?index(_put)?(_impl)?_?")
LOOKS = ("tolist", "cpu", "numpy", "__array__")  # on a CPU these dispatch nothing
WORDS = "tests.plugins.tiny:Words"
TASKS = {
    "adding": (("adding", "length", 6),),
    "tests.plugins.tiny:Parity": (),
    WORDS: (),
    "psmnist": (("psmnist", "data", "digits5k"),),
}


class _Dispatched(TorchDispatchMode):
    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen, self.count = seen, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        name = func.overloadpacket.__name__
        if WAITS.match(name):
            self.seen.append(name)
        if MASKS.fullmatch(name) and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
            self.seen.append(f"{name} by a mask")
        return func(*args, **(kwargs or {}))


@contextmanager
def watched():
    """Notes the names of all that a GPU's host would wait for, as it comes, and counts operations."""
    seen: list[str] = []

    def told(name, original):
        def look(self, *args, **kwargs):
            seen.append(name)
            return original(self, *args, **kwargs)

        return look

    with ExitStack() as stack:
        for name in LOOKS:
            stack.enter_context(patch.object(torch.Tensor, name, told(name, getattr(torch.Tensor, name))))
        yield stack.enter_context(_Dispatched(seen))


def read_to_the_end(batch, number):
    """The batch as a task gives it whose examples end at steps of their own."""
    return batch._replace(lengths=torch.arange(len(batch.y)) % 3 + number + 1)


@pytest.mark.parametrize(
    ("model", "task", "optimizer"),
    [*((model, "adding", "adam") for model in sorted(MODELS)),
     ("exprnn", "adding", "rmsprop"), ("fastrnn", "adding", "sgd"),
     *(("tanh", task, "rmsprop") for task in list(TASKS)[1:])],
)  # fmt: skip
@pytest.mark.parametrize("seeds", [1, 3])
def test_no_training_step_looks_at_a_value(model, task, optimizer, seeds, tmp_path):
    keys = {"hidden_size": 8, "batch_size": 4, "clip_norm": 1.0, "optimizer": optimizer}
    sets = (*((None, key, value) for key, value in keys.items()), *TASKS[task])
    runs = expand(Request(models=(model,), tasks=(task,), seeds=tuple(range(seeds)), epochs=1, sets=sets))
    job = Job(tuple(p.run for p in runs), runs[0].sources, Settings(engine="fused"), ("",) * seeds)
    trainers = [prepare(p.run, job, tmp_path / "x", lambda event: None, lambda: False).trainer for p in runs]
    together = SideBySide(trainers) if seeds > 1 else None
    sources = [trainer.epoch_batches() for trainer in trainers]

    def step():
        batches = [next(source) for source in sources]
        if task == WORDS:
            batches = [read_to_the_end(batch, number) for number, batch in enumerate(batches)]
        if together is None:
            trainers[0]._step(to_device(batches[0], trainers[0].device))
        else:
            together._step(together._stacked(batches, Lap()))

    step()
    with watched() as mode:
        step()
    assert mode.count > 100 and not mode.seen


@pytest.mark.parametrize(
    "look",
    [lambda x: x.item(), lambda x: x.tolist(), lambda x: x.cpu(), lambda x: x.numpy(), float, bool, torch.nonzero,
     lambda x: x[x > 0], lambda x: x[(x > 0).byte()], lambda x: x.masked_fill_(x > 0, 2).index_put_((x > 0,), x),
     lambda x: torch.equal(x, x), torch.unique, lambda x: torch.bincount(x[0].long()), torch.linalg.inv,
     torch.matrix_exp, lambda x: x.repeat_interleave(x.long().flatten()), lambda x: torch.multinomial(x, 1),
     lambda x: nn.utils.rnn.pack_padded_sequence(x.view(1, 1, 1), torch.ones(1).long())],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
def test_a_look_is_seen(look):
    x = torch.ones(1, 1)
    with watched() as mode:
        look(x)
    assert mode.seen


def test_what_only_computes_is_not_taken_for_a_look():
    x = torch.rand(4, 4)
    with watched() as mode:
        torch.where(x > 0, x, 0.0).index_select(0, torch.arange(2))[torch.tensor([1, 0])].norm()
    assert not mode.seen and mode.count
