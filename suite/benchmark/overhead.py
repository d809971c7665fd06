"""What the runner adds to a training step: data, gradient norm, logging, signs of life.

The runner trains coRNN at psMNIST's shape (H = 128, the bundled digits); between two of its steps it asks whether to
stop, and a bare step on the same engine is timed there: pairs of neighbours, which a busy machine disturbs alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from suite.benchmark.contenders import Contender, Step
from suite.benchmark.session import CLOCKS, row
from suite.benchmark.shapes import SHAPES
from suite.benchmark.table import Row
from suite.benchmark.timing import Timing
from suite.plan import Request, expand

SHAPE = SHAPES["psmnist"]


class Pairs:
    """Times a bare step whenever the runner asks whether to stop; never stops it."""

    def __init__(self, bare: Callable[[], object], clock: Callable[[], float], device: torch.device) -> None:
        self.bare, self.clock = bare, clock
        self.wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
        self.trainer: Any = None
        self.steps, self.left = -1, 0.0  # the runner's steps at the last call, and when that call ended
        self.own: list[float] = []
        self.beside: list[float] = []

    def __call__(self) -> bool:
        """One bare step a training step; evaluations ask too, and get none."""
        self.wait()
        entered = self.clock()
        steps = self.trainer.total_steps
        if steps == self.steps:
            return False
        self.bare()
        self.wait()
        now = self.clock()
        if steps == self.steps + 1 and steps % self.trainer.steps_per_epoch != 1:  # no evaluation in between
            self.own.append(entered - self.left)  # data, step, norm, logging, checkpoint: all since the last call
            self.beside.append(now - entered)
        self.steps, self.left = steps, now
        return False


def overhead_row(
    *, seconds: float, say: Callable[[str], object], clock: str = "wall", device: torch.device | None = None
) -> Row:
    """A row with the runner's step, its share over the bare one in ``runner_overhead`` and in the note.

    On a GPU every step is waited for, the runner's and the bare one alike, which the runner otherwise does not do.
    """
    from suite.work.building import build_model, build_task
    from suite.work.training.train import Trainer

    device = torch.device("cpu") if device is None else device
    say("measuring the runner's own share of a step: psmnist cornn")
    torch.set_num_threads(1)
    sets = ((None, "hidden_size", SHAPE.H), (None, "batch_size", SHAPE.B))
    torch.set_flush_denormal(True)
    epochs = max(1, min(30, round(seconds / 7)))  # 33 steps and an evaluation each
    (one,) = expand(
        Request(models=("cornn",), tasks=("psmnist",), epochs=epochs, sets=(*sets, ("psmnist", "data", "digits5k")))
    )
    task = build_task(one.run, None).to(device)
    model = build_model(one.run, task, engine="auto").to(device)
    engine = model.recurrence.engine_for(device, torch.float32)
    pairs = Pairs(Step("cornn", engine, SHAPE, device), CLOCKS[clock], device)
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            model, task, one.run, device=device, report=lambda _: None, should_stop=pairs,
            checkpoint=Path(folder) / "checkpoint.pt", checkpoint_seconds=60.0,
        )  # fmt: skip
        pairs.trainer, trainer.flush = trainer, 1
        trainer.fit()
    own, bare = pairs.own, pairs.beside
    if not own:
        raise RuntimeError("suite.speed --overhead: no step of the runner was timed")
    share = statistics.median(a / b for a, b in zip(own, bare)) - 1.0
    note = f"the runner's step over a bare one on {engine}: {share:+.1%}, median of {len(own)} pairs"
    out = row(SHAPE, "cornn", Contender("runner"), 1, Timing.of(own), None, None, note)
    return {**out, "runner_overhead": round(share, 4), "bare_ms": Timing.of(bare).plain()}
