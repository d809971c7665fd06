"""What the tests of the runner share."""

from __future__ import annotations

import time
from pathlib import Path

from suite.record import load
from suite.store import Store
from tests.harness.grids import argv

FAULT = "tests.plugins.faults"
EXECUTORS = ("inline", "processes")


def again(zygote, runs, tmp_path, *words, executor="inline", code=0):
    """The same command once more, to the end."""
    driver = zygote.start(argv(runs, tmp_path / "r", *words, executor=executor), tmp_path / "log")
    assert driver.wait() == code, driver.err.read_text()
    return driver


def checkpoints(tmp_path) -> list[Path]:
    return list((tmp_path / "r" / "checkpoints").glob("*.pt"))


def in_the_middle(driver, runs, tmp_path) -> None:
    """Wait until one run has its record and another its checkpoint."""
    store = Store(tmp_path / "r")
    driver.until(lambda: any(store.has(one.run) for one in runs))
    driver.until(lambda: any(not store.has(one.run) and store.checkpoint_path(one.run).exists() for one in runs))


def resumed(runs, tmp_path) -> int:
    """How many times runs went on from a checkpoint."""
    return sum(load(Store(tmp_path / "r").path(one.run))["where"]["resumed"] for one in runs)


def assert_alone(driver, seconds: float = 15.0) -> None:
    """Nothing that the driver started is left."""
    end = time.monotonic() + seconds
    while driver.family():
        assert time.monotonic() < end, [Path(f"/proc/{p}/cmdline").read_bytes() for p in driver.family()]
        time.sleep(0.02)
