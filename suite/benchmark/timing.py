"""Interleaved timing: A B C A B C ..., so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

TOGETHER = 10, 0.1  # calls between two CUDA events at most, and seconds that they may take


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call.

    Attributes:
        median: of all calls.
        q25: lower quartile.
        q75: upper quartile.
        n: calls.
        host: on a GPU the median part of a call's time that the host took to launch it; near 1 the device may wait for
            the host, and the figure say nothing of the kernels. None on a CPU.
    """

    median: float
    q25: float
    q75: float
    n: int
    host: float | None = None

    @classmethod
    def of(cls, seconds: Sequence[float], hosts: Sequence[float] = ()) -> Timing:
        """Median and quartiles of at least one call; ``hosts`` are the parts that launching took, if known."""
        ms = [1e3 * s for s in seconds]
        low, middle, high = statistics.quantiles(ms, n=4, method="inclusive") if len(ms) > 1 else ms * 3
        return cls(middle, low, high, len(ms), statistics.median(hosts) if hosts else None)

    def plain(self) -> dict[str, float | int]:
        """As in the stored table, to a tenth of a microsecond."""
        return {"median": round(self.median, 4), "q25": round(self.q25, 4), "q75": round(self.q75, 4), "n": self.n}


Taken = tuple[float, float | None]  # seconds of a call, and the part of them in which the host launched it


def _by_clock(call: Callable[[], object], *, clock: Callable[[], float]) -> Taken:
    start = clock()
    call()
    return clock() - start, None


def _on_gpu(call: Callable[[], object], *, device: torch.device, together: int = 1) -> Taken:
    """A call on the device, gaps between its kernels included: the mean of some that follow each other."""
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        launching = time.perf_counter()
        for _ in range(together):
            call()
        launching = time.perf_counter() - launching
        end.record()
        torch.cuda.synchronize(device)
    seconds = start.elapsed_time(end) / 1e3
    return seconds / together, launching / seconds


def _together(seconds: float) -> int:
    """How many calls that take so long follow each other: many short ones, so that they wait for no host."""
    most, longest = TOGETHER
    return max(1, min(most, int(longest / max(seconds, 1e-9))))


def _raise_clocks(device: torch.device, seconds: float = 1.0) -> None:
    """Keep the device busy for so long: idle it runs at a fraction of its clock, which first samples would show."""
    a = torch.randn(4096, 4096, device=device)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(10):
            a @ a
        torch.cuda.synchronize(device)


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    least: int,
    most: int = 1000,
    warm: int = 1,
    device: torch.device | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time every call in turn until the time is used.

    Args:
        calls: what is timed, by name.
        seconds: for all together, without the warm-up.
        least: calls of each at least.
        most: calls of each at most.
        warm: calls of each before the clock runs.
        device: on a GPU a call is a tenth of ten that follow each other, between two CUDA events: training steps
            do not wait for each other either. Of calls that take longer than 10 ms there are fewer.
        clock: wall clock, or ``time.process_time``, which other people's work on the same cores disturbs less; not
            used on a GPU.
    """
    for _ in range(warm):
        for call in calls.values():
            call()
    timed: dict[str, Callable[[], Taken]] = {n: partial(_by_clock, call, clock=clock) for n, call in calls.items()}
    if device is not None and device.type == "cuda":
        _raise_clocks(device)
        on_gpu = {n: partial(_on_gpu, call, device=device) for n, call in calls.items()}
        timed = {n: partial(one, together=_together(one()[0])) for n, one in on_gpu.items()}
    taken: dict[str, list[Taken]] = {name: [] for name in calls}
    names, end = list(calls), time.perf_counter() + seconds
    for i in range(most):
        if i >= least and time.perf_counter() > end:
            break
        for name in names[i % len(names) :] + names[: i % len(names)]:  # another one goes first each time
            taken[name].append(timed[name]())
    return {
        name: Timing.of([seconds for seconds, _ in values], [host for _, host in values if host is not None])
        for name, values in taken.items()
    }
