"""A whole measurement: every wanted shape, model, engine and number of threads."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from models.scan.engines import EngineError, broken
from suite.benchmark import contenders
from suite.benchmark.contenders import LOOP, Contender, Step
from suite.benchmark.judge import Judge, Unequal
from suite.benchmark.shapes import Shape
from suite.benchmark.table import Row
from suite.benchmark.timing import Timing, interleaved
from suite.work.training.peak import ran_out
from suite.work.training.tf32 import allow_in_cudnn, cublas

GEMM = "gemm"
HOST_BOUND = 0.9  # part of a step's time on a GPU that launching it takes, from which on the host may set the pace
LONGEST = 300  # characters of an error that a line has
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Wanted:
    """What to measure.

    Attributes:
        pairs: shapes and models.
        contenders: what is timed; the plain loop too where any ratio is wanted.
        threads: numbers of threads, one after the other.
        device: where.
        seconds: for the contenders of one shape and model, all together.
        least: steps of each at least.
        clock: ``wall``, or ``cpu``: processor time, for one thread on a shared machine.
    """

    pairs: tuple[tuple[Shape, str], ...]
    contenders: tuple[Contender, ...]
    threads: tuple[int, ...]
    device: torch.device
    seconds: float
    least: int
    clock: str = "wall"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the contenders, as in the column ``engine``."""
        return tuple(one.name for one in self.contenders)


def measure(wanted: Wanted, say: Callable[[str], object], wrong: list[str] | None = None) -> Iterator[Row]:
    """Rows as they are measured; contenders that cannot run are named through ``say`` and left out.

    Args:
        wanted: what.
        say: told what goes on.
        wrong: gets a line for each contender that is not timed because it does not compute the same as the first one,
            because the device's memory does not hold it, or because it raises.
    """
    before, flush = torch.get_num_threads(), wanted.device.type == "cpu"
    rounded, products = allow_in_cudnn(False), cublas()
    torch.set_flush_denormal(True)  # vanishing gradients are subnormal, and cost 4 to 12 times more
    told = _Told(say, [] if wrong is None else wrong)
    try:
        for shape, model in wanted.pairs:
            for threads in wanted.threads if flush else (1,):
                torch.set_num_threads(threads)
                with told.of(f"{shape.name} {model}"):
                    yield from _rows(shape, model, threads, wanted, told)
                if failed := broken():
                    told.stopped(f"{failed} could not be recorded as a CUDA graph; go on without engine graph")
                    return
                if not _answers(wanted.device):
                    told.stopped(f"the GPU failed under {shape.name} {model}")
                    return
    finally:
        torch.set_num_threads(before)
        allow_in_cudnn(rounded)
        cublas(products)


@dataclass(frozen=True)
class _Told:
    """Says what is left out and what is wrong, and goes on."""

    say: Callable[[str], object]
    wrong: list[str]

    def stopped(self, why: str) -> None:
        """Tell that nothing more is timed."""
        self.say(f"stopped: {why}")
        self.wrong.append(f"stopped: {why}")

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Tell what happens within the block to what has this name; other errors pass."""
        try:
            yield
        except EngineError as error:
            self.say(f"left out: {name}: {re.sub(r'^engine [a-z]+: ', '', str(error))}")
        except (Unequal, RuntimeError) as error:
            if not isinstance(error, Unequal) and not ran_out(error):
                raise
            self._not_timed(name, str(error))

    @contextmanager
    def whatever(self, name: str) -> Iterator[None]:
        """As ``of``, around a model's own code, which may raise anything: an error is told with its kind."""
        try:
            with self.of(name):
                yield
        except (Exception, SystemExit) as error:
            self._not_timed(name, str(error), type(error).__name__)

    def _not_timed(self, name: str, why: str, kind: str = "") -> None:
        first = next((line.strip() for line in why.splitlines() if line.strip()), "")[:LONGEST]
        line = ": ".join(word for word in ("not timed", name, kind, first) if word)
        self.say(line)
        self.wrong.append(line)


class _Raised(Exception):
    """What a step or the matrix products raised while they were timed; holds their name."""

    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__(name)
        self.name, self.error = name, error


def _answers(device: torch.device) -> bool:
    """Whether a GPU still does anything: after an illegal memory access, say, every call to it raises."""
    if device.type != "cuda" or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def _rows(shape: Shape, model: str, threads: int, wanted: Wanted, told: _Told) -> Iterator[Row]:
    label = f"{shape.name} {model}"
    steps = _able(shape, model, wanted, told)
    if not steps or broken():
        return
    names = ", ".join(steps)
    told.say(f"measuring {label}, {threads} thread{'s' if threads > 1 else ''}: {names}")
    calls: dict[str, Callable[[], object]] = {**steps}
    if wanted.device.type == "cpu":  # on a GPU they would wait for the host that launches them one by one
        with told.whatever(f"{label} {GEMM}"):
            gemms = contenders.gemms(model, shape)
            calls |= {} if gemms is None else {GEMM: gemms}
    times = _timed(calls, label, wanted, told)
    for one in wanted.contenders:
        if one.name in times:
            gemm = times.get(GEMM) if one.seeds == 1 and one.precision == "float32" else None
            yield row(shape, model, one, threads, times[one.name], times.get(LOOP), gemm)


def _able(shape: Shape, model: str, wanted: Wanted, told: _Told) -> dict[str, Step]:
    """The steps that can be made and compute the same, by their contender's name."""
    steps: dict[str, Step] = {}
    first: Judge | None = None
    for one in wanted.contenders:
        with told.whatever(f"{shape.name} {model} {one.name}"):
            step = one.step(model, shape, wanted.device)
            judge = first or Judge(one.name, step)
            judge.check(one.name, step)
            first = judge  # not before: one that raises could judge no other
            if wanted.device.type == "cuda":
                step()  # `graph` records at the second step what the first one asked for: that may fail too
            steps[one.name] = step
    return steps


def _timed(calls: dict[str, Callable[[], object]], label: str, wanted: Wanted, told: _Told) -> dict[str, Timing]:
    """What each takes; one that raises is told and taken out, and the others are timed anew."""
    clock = CLOCKS[wanted.clock]
    while calls.keys() - {GEMM} and not broken():
        named = {name: _named(name, call) for name, call in calls.items()}
        try:
            return interleaved(named, seconds=wanted.seconds, least=wanted.least, device=wanted.device, clock=clock)
        except _Raised as raised:
            with told.whatever(f"{label} {raised.name}"):
                raise raised.error from None
            calls = {name: call for name, call in calls.items() if name != raised.name}
    return {}


def _named(name: str, call: Callable[[], object]) -> Callable[[], object]:
    """The call, whose errors say whose they are."""

    def named() -> object:
        try:
            return call()
        except (Exception, SystemExit) as error:
            raise _Raised(name, error) from error

    return named


def row(
    shape: Shape, model: str, contender: Contender, threads: int, step: Timing, loop: Timing | None,
    gemm: Timing | None, note: str = "",
) -> Row:  # fmt: skip
    """One row of the stored table; ratios are those of medians, over as many of the loop's steps as there are seeds."""
    seeds = contender.seeds
    if step.host is not None and step.host > HOST_BOUND:
        note = "; ".join(part for part in (note, f"launching takes {step.host:.0%} of it") if part)
    return {
        "shape": shape.name,
        "task": shape.task,
        "model": model,
        "engine": contender.name,
        "precision": contender.precision,
        "seeds": seeds,
        "threads": threads,
        "batch": shape.B,
        "hidden": shape.H,
        "length": shape.T,
        "input": shape.I,
        "step_ms": step.plain(),
        "ratio_to_loop": None if loop is None else round(seeds * loop.median / step.median, 3),
        "gemm_ms": None if gemm is None else round(gemm.median, 4),
        "note": note,
    }
