"""Interleaved timing: A B C A B C ..., so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call.

    Attributes:
        median: of all calls.
        q25: lower quartile.
        q75: upper quartile.
        n: calls.
    """

    median: float
    q25: float
    q75: float
    n: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Median and quartiles of at least one call."""
        ms = [1e3 * s for s in seconds]
        low, middle, high = statistics.quantiles(ms, n=4, method="inclusive") if len(ms) > 1 else ms * 3
        return cls(middle, low, high, len(ms))

    def plain(self) -> dict[str, float | int]:
        """As in the stored table, to a tenth of a microsecond."""
        return {"median": round(self.median, 4), "q25": round(self.q25, 4), "q75": round(self.q75, 4), "n": self.n}


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
        device: a GPU is waited for before and after each call.
        clock: wall clock, or ``time.process_time``, which other people's work on the same cores disturbs less.
    """
    wait = torch.cuda.synchronize if device is not None and device.type == "cuda" else lambda: None
    for _ in range(warm):
        for call in calls.values():
            call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names, end = list(calls), time.perf_counter() + seconds
    for i in range(most):
        if i >= least and time.perf_counter() > end:
            break
        for name in names[i % len(names) :] + names[: i % len(names)]:  # another one goes first each time
            wait()
            start = clock()
            calls[name]()
            wait()
            taken[name].append(clock() - start)
    return {name: Timing.of(values) for name, values in taken.items()}
