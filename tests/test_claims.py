"""Claims: of several drivers on one folder, one trains a run."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite.errors import CannotWrite
from suite.work import claims
from suite.work.claims import Claim, Claims
from suite.work.job import Settings
from suite.work.todo import Todo
from tests.harness.grids import planned


def gone() -> Claim:
    """The claim of a process of this machine that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return replace(Claim.mine(), pid=child.pid)


def put(path: Path, claim: Claim, *, age: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(claim)))
    os.utime(path, (time.time() - age, time.time() - age))


def test_a_run_has_one_claim_until_it_is_given_back(tmp_path):
    with Claims(tmp_path) as one, Claims(tmp_path) as two:
        assert one.take("a") and not two.take("a") and two.take("b")
        two.release(["a"])  # not its own
        assert not two.take("a")
        one.release(["a"])
        assert two.take("a") and not one.take("a")
    assert not list(tmp_path.iterdir())


def test_the_claim_of_a_dead_process_is_void_at_once(tmp_path):
    put(tmp_path / "a.claim", gone())
    with Claims(tmp_path) as mine:
        assert mine.take("a")


def test_a_process_number_that_is_used_again_is_another_process(tmp_path):
    put(tmp_path / "a.claim", replace(Claim.mine(), start="1"))
    with Claims(tmp_path) as mine:
        assert mine.take("a")


@pytest.mark.parametrize(("age", "free"), [(10.0, False), (1000.0, True)])
def test_another_machines_claim_is_void_without_a_heartbeat(tmp_path, age, free):
    put(tmp_path / "a.claim", replace(gone(), machine="00000000"), age=age)
    with Claims(tmp_path) as mine:
        assert mine.take("a") is free


def test_a_living_driver_keeps_its_claims_fresh(tmp_path):
    with Claims(tmp_path, beat=0.02) as mine:
        assert mine.take("a")
        os.utime(tmp_path / "a.claim", (1, 1))
        end = time.monotonic() + 10
        while (tmp_path / "a.claim").stat().st_mtime < 100:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": 1}', '{"token":"x","machine":"y","pid":"z","start":""}'])
def test_a_damaged_claim_holds_until_it_is_old(tmp_path, text):
    path = tmp_path / "a.claim"
    path.write_text(text)
    with Claims(tmp_path) as mine:
        assert not mine.take("a")
        os.utime(path, (1, 1))
        assert mine.take("a")


def test_of_many_drivers_that_see_a_void_claim_one_gets_it(tmp_path):
    for round_ in range(20):
        name = f"run{round_}"
        put(tmp_path / f"{name}.claim", gone())
        drivers = [Claims(tmp_path) for _ in range(6)]
        start, wins = threading.Barrier(6), []

        def race(driver, start=start, wins=wins, name=name):
            start.wait()
            if driver.take(name):
                wins.append(driver)

        threads = [threading.Thread(target=race, args=(driver,)) for driver in drivers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(wins) <= 1
        if not wins:  # whoever had the right lost it to nobody: the next look gets the claim
            assert any(driver.take(name) for driver in drivers)
        found = claims.read(tmp_path / f"{name}.claim")
        assert found in [driver.claim for driver in drivers]


def test_claims_and_rights_of_dead_drivers_are_swept(tmp_path):
    put(tmp_path / "a.claim", gone())
    put(tmp_path / ".a.0123456789abcdef.void", gone())
    put(tmp_path / "b.claim", Claim.mine())
    with Claims(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["b.claim"]


def test_a_stale_claim_in_a_folder_that_cannot_be_written_is_left(tmp_path, monkeypatch):
    put(tmp_path / "a.claim", gone())
    monkeypatch.setattr(claims, "write_new", broken)
    with Claims(tmp_path):
        assert (tmp_path / "a.claim").is_file()


def broken(*_):
    raise CannotWrite("Read-only file system")


def test_a_claim_that_changed_hands_meanwhile_is_left(tmp_path, monkeypatch):
    """Another driver took the void claim over between our look and our right to it."""
    path, other = tmp_path / "a.claim", Claim.mine()
    put(path, gone())
    real = claims.write_new

    def first_another(target, text):
        if target.suffix == ".void":
            put(path, other)
        return real(target, text)

    monkeypatch.setattr(claims, "write_new", first_another)
    assert not Claims(tmp_path).take("a")
    assert claims.read(path) == other and list(tmp_path.iterdir()) == [path]


def test_a_run_that_was_finished_between_the_look_and_the_claim_is_not_run_again(tmp_path):
    (one,) = planned("tests.plugins.tiny:Leaky", seeds=(0,), epochs=1)
    looks = iter([False, True])
    store = SimpleNamespace(failures=lambda run: [], has=lambda run: next(looks))
    with Claims(tmp_path) as mine:
        todo = Todo([[one]], store, Settings(), mine, trouble=pytest.fail)
        assert todo.take() is None and todo.empty and todo.elsewhere == {one.run.id: one}
        assert not list(tmp_path.iterdir())
