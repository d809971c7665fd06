"""A whole measurement: every wanted shape, model, engine and number of threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from suite.benchmark import contenders
from suite.benchmark.contenders import LOOP, Step
from suite.benchmark.shapes import Shape
from suite.benchmark.table import Row
from suite.benchmark.timing import Timing, interleaved
from suite.work.tf32 import allow_in_cudnn

GEMM = "gemm"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Wanted:
    """What to measure.

    Attributes:
        pairs: shapes and models.
        engines: their names; ``loop`` is measured where any ratio is wanted.
        threads: numbers of threads, one after the other.
        device: where.
        seconds: for the contenders of one shape and model, all together.
        least: steps of each at least.
        clock: ``wall``, or ``cpu``: processor time, for one thread on a shared machine.
    """

    pairs: tuple[tuple[Shape, str], ...]
    engines: tuple[str, ...]
    threads: tuple[int, ...]
    device: torch.device
    seconds: float
    least: int
    clock: str = "wall"


def measure(wanted: Wanted, say: Callable[[str], object]) -> Iterator[Row]:
    """Rows as they are measured; contenders that cannot run are named through ``say`` and left out."""
    before, flush = torch.get_num_threads(), wanted.device.type == "cpu"
    rounded = allow_in_cudnn(False)  # all contenders multiply float32
    torch.set_flush_denormal(True)  # vanishing gradients are subnormal, and cost 4 to 12 times more
    try:
        for shape, model in wanted.pairs:
            for threads in wanted.threads if flush else (1,):
                torch.set_num_threads(threads)
                yield from _rows(shape, model, threads, wanted, say)
    finally:
        torch.set_num_threads(before)
        allow_in_cudnn(rounded)


def _rows(shape: Shape, model: str, threads: int, wanted: Wanted, say: Callable[[str], object]) -> Iterator[Row]:
    able = []
    for engine in wanted.engines:
        reason = contenders.why_not(model, engine, shape, wanted.device)
        if reason is None:
            able.append(engine)
        else:
            say(f"left out: {shape.name} {model} {engine}: {reason}")
    if not able:
        return
    say(f"measuring {shape.name} {model}, {threads} thread{'s' if threads > 1 else ''}: {', '.join(able)}")
    steps = {engine: Step(model, engine, shape, wanted.device) for engine in able}
    contenders.check_equal(steps)
    calls: dict[str, Callable[[], object]] = {**steps, GEMM: contenders.gemms(model, shape, wanted.device)}
    clock = CLOCKS[wanted.clock]
    times = interleaved(calls, seconds=wanted.seconds, least=wanted.least, device=wanted.device, clock=clock)
    for engine in able:
        yield row(shape, model, engine, threads, times[engine], times.get(LOOP), times[GEMM])


def row(
    shape: Shape, model: str, engine: str, threads: int, step: Timing, loop: Timing | None, gemm: Timing | None,
    note: str = "",
) -> Row:  # fmt: skip
    """One row of the stored table; ratios are those of medians."""
    return {
        "shape": shape.name,
        "task": shape.task,
        "model": model,
        "engine": engine,
        "threads": threads,
        "batch": shape.B,
        "hidden": shape.H,
        "length": shape.T,
        "input": shape.I,
        "step_ms": step.plain(),
        "ratio_to_loop": None if loop is None else round(loop.median / step.median, 3),
        "gemm_ms": None if gemm is None else round(gemm.median, 4),
        "note": note,
    }
