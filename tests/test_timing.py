"""Interleaved timing, on a CPU; a GPU's part is played."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch

from suite.benchmark import timing
from suite.benchmark.timing import Timing, interleaved


def test_calls_are_interleaved_and_another_goes_first_each_time():
    order = []
    times = interleaved({n: lambda n=n: order.append(n) for n in "abc"}, seconds=0.0, least=3, warm=1)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert all(t.n == 3 for t in times.values())


def test_quartiles():
    assert Timing.of([0.001, 0.002, 0.003, 0.004, 0.005]) == Timing(3.0, 2.0, 4.0, 5)
    assert Timing.of([0.002]) == Timing(2.0, 2.0, 2.0, 1, None)
    assert Timing.of([0.002, 0.004], [0.5, 1.0]).host == 0.75


def test_on_a_gpu_the_part_that_launching_takes_is_known(monkeypatch):
    """The clock of the host and the events of the device, played: launching takes 3 of 4 seconds."""

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            pass

        def elapsed_time(self, other):
            return 4000.0

    ticks = iter([10.0, 13.0])
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert timing._on_gpu(lambda: None, device=torch.device("cuda"), together=2) == (2.0, 0.75)


@pytest.mark.parametrize(
    "ms,together", [(0.0, 10), (1.0, 10), (10.0, 10), (11.0, 9), (50.0, 2), (200.0, 1), (5000.0, 1)]
)
def test_on_a_gpu_short_calls_follow_each_other_and_long_ones_do_not(ms, together, monkeypatch):
    """Each call is tried once first; how many follow each other is then the same in every turn."""
    asked = []

    def on_gpu(call, *, device, together=1):
        asked.append(together)
        for _ in range(together):
            call()
        return ms / 1e3, 0.25

    monkeypatch.setattr(timing, "_on_gpu", on_gpu)
    monkeypatch.setattr(timing, "_raise_clocks", lambda device: None)
    calls = []
    times = interleaved({"one": lambda: calls.append(1)}, seconds=0.0, least=3, device=torch.device("cuda"))
    assert asked == [1, together, together, together] and times["one"].n == 3 and times["one"].host == 0.25
    assert len(calls) == 2 + 3 * together, "the warm-up, the trial, and three turns"
