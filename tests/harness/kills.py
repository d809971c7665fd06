"""Kills real drivers, workers and fork servers at random moments, over and over, and checks that nothing is lost.

``python -m tests.harness.kills --kills 1000`` prints the figures that stand in docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.plan import Planned
from suite.record import load
from suite.store import Store
from tests.harness.grids import argv, assert_complete, planned, undisturbed
from tests.harness.zygote import Driver, Zygote

FAULT = "tests.plugins.faults"
GRIDS: tuple[dict[str, Any], ...] = (
    {"model": f"{FAULT}:Slow", "seeds": range(4), "epochs": 3, "pause": 0.01},
    {"model": f"{FAULT}:Dropped", "seeds": range(4), "epochs": 30},
    {"model": "cornn", "seeds": range(3), "epochs": 8},
)


@dataclass
class Campaign:
    """What was done and what was found.

    Attributes:
        rng: draws moments and victims.
        kills: by kind; ``signals`` beside them: Ctrl-C and SIGTERM, which are no kills.
        torn: temporary files found after kills: writes that were hit in the middle.
    """

    rng: random.Random
    folder: Path
    zygote: Zygote
    kills: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    grids: int = 0
    runs: int = 0
    drivers: int = 0
    resumed: int = 0
    torn: int = 0
    kept: int = 0
    wanted: dict[int, dict[str, Any]] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        return {
            "kills": sum(self.kills.values()), "by kind": dict(sorted(self.kills.items())),
            "signals": dict(sorted(self.signals.items())), "grids": self.grids, "runs": self.runs,
            "drivers": self.drivers, "runs resumed from a checkpoint": self.resumed,
            "temporary files of writes that were hit": self.torn, "records compared byte by byte": self.kept,
        }  # fmt: skip

    # ---- one grid ----------------------------------------------------------------------------------------------------

    def grid(self) -> None:
        """One small grid under kills, until it is complete."""
        number = self.rng.randrange(len(GRIDS))
        runs = planned(**GRIDS[number])
        if number not in self.wanted:
            self.wanted[number] = undisturbed(runs, self.folder / f"undisturbed{number}")
        root = self.folder / f"grid{self.grids}"
        while not self._life(runs, root):
            pass
        self._once_more(runs, root)
        assert_complete(root, runs, self.wanted[number])
        self.resumed += sum(load(path)["where"]["resumed"] for path in Store(root).paths())
        self.grids, self.runs = self.grids + 1, self.runs + len(runs)
        shutil.rmtree(root)

    def _once_more(self, runs: list[Planned], root: Path) -> None:
        """The same command on a complete grid computes nothing, and clears away what a killed driver left (a claim)."""
        again = self.zygote.start(argv(runs, root), self.folder / "log")
        assert again.wait(120) == 0, again.err.read_text()
        assert f"0 runs to do, {len(runs)} already there" in again.err.read_text()
        self.drivers += 1

    def _life(self, runs: list[Planned], root: Path) -> bool:
        """Start one driver or two, disturb them, see what is left. True where one of them came to its end."""
        before = self._records(root)
        executor = "processes" if self.rng.random() < 0.3 else "inline"
        count = 2 if executor == "inline" and self.rng.random() < 0.2 else 1
        drivers = []
        for _ in range(count):
            words = argv(runs, root, "--checkpoint-seconds", "0.02", executor=executor)
            drivers.append(self.zygote.start(words, self.folder / "log"))
        self.drivers += count
        for driver in drivers:
            self._disturb(driver, executor)
        for driver in drivers:
            driver.wait(120)
        self._check(drivers, runs, root, before)
        return any(driver.code == 0 for driver in drivers)

    def _disturb(self, driver: Driver, executor: str) -> None:
        """Wait for a random moment, then kill or interrupt; workers up to twice before."""
        if executor == "processes":
            with contextlib.suppress(AssertionError, TimeoutError):
                driver.until(driver.workers, timeout=30 if self.rng.random() < 0.8 else self.rng.uniform(0, 3))
            deaths = self.rng.randrange(3)  # a third death of one run, the fork server's counted, would be its failure
            for _ in range(deaths):
                self._pause(driver, 0.3)
                self._kill("worker", self.rng.choice(driver.workers() or [0]))
        self._pause(driver, 1.0 if executor == "processes" else 0.8)
        self._end(driver, executor, server=executor == "processes" and deaths < 2)

    def _pause(self, driver: Driver, longest: float) -> None:
        driver.ended.wait(self.rng.uniform(0.0, longest))

    def _end(self, driver: Driver, executor: str, *, server: bool) -> None:
        kind = self.rng.random()
        if driver.code is not None:
            return
        if kind < 0.08:
            number = self.rng.choice([signal.SIGINT, signal.SIGTERM])
            with contextlib.suppress(ProcessLookupError):
                driver.signal_group(number)
                self.signals[number.name] += 1
        elif executor == "inline" or kind < 0.45:
            self._kill("driver", driver.pid)
        elif kind < 0.75 or not server:
            workers = driver.workers()
            self._kill("driver", driver.pid)
            for pid in workers:
                self._kill("worker, with its driver", pid)
        else:
            for pid in driver.servers():
                self._kill("fork server", pid)
            self._pause(driver, 0.3)
            self._kill("driver", driver.pid)

    def _kill(self, kind: str, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if pid > 0:
                os.kill(pid, signal.SIGKILL)
                self.kills[kind] += 1

    # ---- checks ------------------------------------------------------------------------------------------------------

    def _records(self, root: Path) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in Store(root).paths()}

    def _check(self, drivers: list[Driver], runs: list[Planned], root: Path, before: dict[Path, bytes]) -> None:
        """Nothing runs on, every record is sound, those of before are as they were, none of their runs was repeated."""
        end = time.monotonic() + 20
        for driver in drivers:
            while left := driver.family():
                assert time.monotonic() < end, f"processes outlive their driver: {left}"
                time.sleep(0.005)
        after = self._records(root)
        for path, text in before.items():
            assert after.get(path) == text, f"{path} was changed"
        self.kept += len(before)
        for path in after:
            load(path)
        store = Store(root)
        odd = {path: path.read_text()[-2000:] for path in (*store.failure_paths(), *store.conflict_paths())}
        assert not odd, odd
        done = {f"seed {one.run.seed}: starts" for one in runs if Store(root).path(one.run) in before}
        for driver in drivers:
            said = driver.err.read_text()
            assert "Traceback" not in said, said
            assert not any(words in said for words in done), f"a finished run was repeated:\n{said}"
            assert driver.code in (0, 130, 143, -signal.SIGKILL), f"exit code {driver.code}:\n{said}"
        self.torn += len(list(root.rglob(".*.tmp")))


def campaign(kills: int, *, seed: int = 0, seconds: float = 1e9, say: Any = None) -> dict[str, Any]:
    """Kill so many processes, or for so long; the figures. Raises AssertionError where anything was lost."""
    end, started = time.monotonic() + seconds, time.monotonic()
    zygote = Zygote()
    with tempfile.TemporaryDirectory(prefix="rnnbench-kills-") as folder:
        one = Campaign(random.Random(seed), Path(folder), zygote)
        try:
            while sum(one.kills.values()) < kills and time.monotonic() < end:
                one.grid()
                if say is not None:
                    say(f"{sum(one.kills.values())} kills, {one.grids} grids, {time.monotonic() - started:.0f} s")
        except BaseException:
            for path in sorted((Path(folder) / "log").glob("*.err"), key=lambda path: path.stat().st_mtime)[-3:]:
                print(f"---- {path.name}\n{path.read_text()}", file=sys.stderr)
            raise
        finally:
            zygote.close()
        return {**one.figures(), "minutes": round((time.monotonic() - started) / 60, 1), "seed": seed}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--kills", type=int, default=1000)
    p.add_argument("--seconds", type=float, default=1e9)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    print(json.dumps(campaign(args.kills, seed=args.seed, seconds=args.seconds, say=lambda text: print(text, file=sys.stderr)), indent=1))  # noqa: E501  # fmt: skip


if __name__ == "__main__":
    main()
