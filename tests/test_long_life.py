"""A grid of a thousand tiny runs: memory stays level in driver, fork server and workers, nothing is left behind."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest

from suite.store import Store
from tests.harness.grids import argv, assert_tidy, planned
from tests.harness.zygote import Driver, Zygote

RUNS = 1000


def resident_kb(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), None)


def descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    except OSError:
        return 0


def level(samples: list[int]) -> tuple[float, float]:
    """Median of the second tenth and of the last tenth of the samples."""
    tenth = max(1, len(samples) // 10)
    return statistics.median(samples[tenth : 2 * tenth]), statistics.median(samples[-tenth:])


def watch(driver: Driver) -> dict[str, list[int]]:
    """Memory and open files, twice a second, until the driver ends."""
    names = ("driver", "driver files", "fork server", "server files", "workers")
    seen: dict[str, list[int]] = {name: [] for name in names}
    while driver.code is None:
        workers = driver.workers()
        for server in driver.servers():
            seen["fork server"].append(resident_kb(server) or 0)
            seen["server files"].append(descriptors(server))
        seen["driver"].append(resident_kb(driver.pid) or 0)
        seen["driver files"].append(descriptors(driver.pid))
        found = [kb for kb in map(resident_kb, workers) if kb]
        seen["workers"].append(max(found, default=0))
        driver.ended.wait(0.5)
    return {name: [value for value in values if value] for name, values in seen.items()}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_a_thousand_runs_in_level_memory(tmp_path, executor, record_property):
    runs = planned("tests.plugins.tiny:Leaky", seeds=range(RUNS), epochs=2)
    shared = set(os.listdir("/dev/shm"))  # noqa: PTH208
    zygote = Zygote()
    start = time.monotonic()
    driver = zygote.start(argv(runs, tmp_path / "r", executor=executor), tmp_path / "log")
    seen = watch(driver)
    seconds = time.monotonic() - start
    assert driver.wait() == 0, driver.err.read_text()[-2000:]
    assert len(list(Store(tmp_path / "r").paths())) == RUNS
    assert_tidy(tmp_path / "r")
    end = time.monotonic() + 10
    while driver.family():
        assert time.monotonic() < end
    zygote.close()
    print(f"{executor}: {RUNS} runs in {seconds:.0f} s, {seconds / RUNS:.3f} s a run")
    for name, values in seen.items():
        if values:
            early, late = level(values)
            print(f"  {name}: {early:.0f} -> {late:.0f}, most {max(values)}")
            if "files" in name:
                assert late <= early + 4, name
            else:
                assert late <= 1.1 * early + 20_000, name  # kB
    assert set(os.listdir("/dev/shm")) <= shared  # noqa: PTH208


@pytest.mark.slow
def test_a_run_starts_in_well_under_a_second_after_the_first(zygote, tmp_path):
    """By the clock, 24 runs against 4, so that what the first one costs is left out; a run takes some 0.2 s."""
    times = []
    for count in (4, 24):
        runs = planned("tests.plugins.tiny:Leaky", seeds=range(count), epochs=1)
        words = argv(runs, tmp_path / f"r{count}", "--jobs", "1", executor="processes")
        start = time.monotonic()
        driver = zygote.start(words, tmp_path / "log")
        assert driver.wait(120) == 0, driver.err.read_text()
        times.append(time.monotonic() - start)
    print(f"{(times[1] - times[0]) / 20:.3f} s a run")
    assert (times[1] - times[0]) / 20 < 1.0
