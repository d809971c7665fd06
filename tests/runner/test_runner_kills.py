"""Kill anything, lose nothing: real driver processes that are killed, interrupted, and share a grid."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.record import load
from suite.store import Store
from tests.harness.grids import SLOW, argv, assert_complete, assert_same_results, assert_tidy, planned, undisturbed
from tests.runner.common import EXECUTORS, FAULT, again, assert_alone, checkpoints, in_the_middle, resumed


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_killed_driver_leaves_no_process_and_its_grid_goes_on(zygote, grid, tmp_path, executor):
    runs, wanted = grid
    driver = zygote.start(argv(runs, tmp_path / "r", "--jobs", "1", executor=executor), tmp_path / "log")
    in_the_middle(driver, runs, tmp_path)
    done = {path: path.read_bytes() for path in Store(tmp_path / "r").paths()}
    driver.signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    assert_alone(driver)
    second = again(zygote, runs, tmp_path)
    assert f"{len(done)} skipped" in second.err.read_text()
    assert all(path.read_bytes() == text for path, text in done.items())
    assert_complete(tmp_path / "r", runs, wanted)
    assert resumed(runs, tmp_path) == 1


def test_killed_workers_and_a_killed_fork_server_are_made_up_for(zygote, grid, tmp_path):
    runs, wanted = grid
    driver = zygote.start(argv(runs, tmp_path / "r", "--jobs", "2", executor="processes"), tmp_path / "log")
    driver.until(lambda: checkpoints(tmp_path))
    os.kill(driver.workers()[0], signal.SIGKILL)
    driver.until(lambda: "its worker died (SIGKILL" in driver.err.read_text())
    driver.until(driver.workers)
    os.kill(driver.servers()[0], signal.SIGKILL)
    assert driver.wait() == 0, driver.err.read_text()
    assert_complete(tmp_path / "r", runs, wanted)
    assert_alone(driver)


@pytest.mark.parametrize("then", ["nothing", "worker", "driver"])
def test_a_grid_goes_on_when_its_temporary_files_are_cleaned_away(zygote, grid, tmp_path, then):
    runs, wanted = (grid[0][:1], grid[1]) if then == "nothing" else grid
    temporary = tmp_path / "t"
    temporary.mkdir()
    driver = zygote.start(argv(runs, tmp_path / "r", "--jobs", "1", executor="processes"), tmp_path / "log",
                          env={"TMPDIR": str(temporary)})  # fmt: skip
    driver.until(lambda: checkpoints(tmp_path))
    assert list(temporary.glob("pymp-*/*")), "the fork server's socket"
    shutil.rmtree(temporary)
    if then == "nothing":  # no worker has to start any more
        assert driver.wait() == 0, driver.err.read_text()
    else:
        first = driver.workers()[0]
        os.kill(first, signal.SIGKILL)
        driver.until(lambda: set(driver.spawned()) - {first})
    if then == "worker":
        assert driver.wait() == 0, driver.err.read_text()
        assert "its worker died (SIGKILL" in driver.err.read_text()
    if then == "driver":
        driver.signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
        assert_alone(driver)
        again(zygote, runs, tmp_path)
    assert_complete(tmp_path / "r", runs, wanted)
    assert "Traceback" not in driver.err.read_text()
    assert_alone(driver)


def test_random_states_go_on_too(zygote, tmp_path):
    runs = planned(f"{FAULT}:Dropped", seeds=(0,), epochs=60)
    wanted = undisturbed(runs, tmp_path / "whole")
    driver = zygote.start(argv(runs, tmp_path / "r", "--checkpoint-seconds", "0"), tmp_path / "log")
    driver.until(lambda: checkpoints(tmp_path))
    driver.signal(signal.SIGKILL)
    driver.wait()
    again(zygote, runs, tmp_path)
    assert_complete(tmp_path / "r", runs, wanted)


def test_a_driver_outlives_the_shell_that_started_it(tmp_path):
    """Workers die with their driver; the driver itself must be tied to nobody (nohup, a closed terminal)."""
    words = " ".join(argv(planned("tests.plugins.tiny:Leaky", seeds=(0,)), tmp_path / "r", executor="processes"))
    command = f"{sys.executable} -m suite.run {words} >/dev/null 2>&1 &"
    subprocess.run(["sh", "-c", command], check=True, start_new_session=True)
    end = time.monotonic() + 120
    while not list(Store(tmp_path / "r").paths()):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_to_all_processes_checkpoints_and_stops(zygote, grid, tmp_path, executor, number, code):
    runs, wanted = grid
    slow = argv(runs, tmp_path / "r", "--jobs", "1", "--checkpoint-seconds", "1000", executor=executor)
    driver = zygote.start(slow, tmp_path / "log")
    driver.until(lambda: "epoch 1/3" in driver.err.read_text())
    driver.signal_group(number)  # as a terminal, `timeout` and Slurm do: workers get it too
    assert driver.wait() == code, driver.err.read_text()
    said = driver.err.read_text()
    assert "2 not started, 1 stopped; the same command goes on" in said and "Traceback" not in said
    assert len(checkpoints(tmp_path)) == 1  # written because of the signal: none was due
    assert not list((tmp_path / "r" / "claims").glob("*.claim"))
    assert_alone(driver)
    again(zygote, runs, tmp_path)
    assert_complete(tmp_path / "r", runs, wanted)
    assert resumed(runs, tmp_path) == 1


@pytest.mark.parametrize("executor", EXECUTORS)
def test_two_signals_end_a_run_that_hangs(zygote, tmp_path, executor):
    runs = planned("tests.plugins.broken:Hangs", seeds=(0,))
    driver = zygote.start(argv(runs, tmp_path / "r", executor=executor), tmp_path / "log")
    driver.until(lambda: "starts on engine" in driver.err.read_text())
    driver.signal(signal.SIGINT)
    time.sleep(0.5)
    assert driver.code is None
    driver.signal(signal.SIGINT)
    assert driver.wait(20) == 130
    assert "Traceback" not in driver.err.read_text()
    assert_alone(driver)
    assert_tidy(tmp_path / "r")


def test_a_stop_is_heard_during_an_evaluation(zygote, tmp_path):
    runs = planned("tests.plugins.tiny:Leaky", seeds=(0,), epochs=2, task=f"{FAULT}:SlowEvaluation")
    wanted = undisturbed(runs, tmp_path / "whole")
    driver = zygote.start(argv(runs, tmp_path / "r", "--checkpoint-seconds", "1000"), tmp_path / "log")
    driver.until(lambda: "starts on engine" in driver.err.read_text())
    time.sleep(0.2)  # eight training steps take milliseconds, the evaluations that follow 0.6 s
    driver.signal(signal.SIGINT)
    assert driver.wait() == 130
    assert "epoch 1/2" not in driver.err.read_text() and len(checkpoints(tmp_path)) == 1
    again(zygote, runs, tmp_path)
    assert_complete(tmp_path / "r", runs, wanted)


def test_sigterm_before_the_first_run_is_143(tmp_path):
    command = [sys.executable, "-m", "suite.run", *argv(planned(seeds=(0,), pause=5.0), tmp_path / "r")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    fields = Path(f"/proc/{process.pid}/status")
    while not int(next(x for x in fields.read_text().splitlines() if x.startswith("SigCgt")).split()[1], 16) >> 14 & 1:
        time.sleep(0.005)  # until it takes SIGTERM, in the first tenth of a second
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "Traceback" not in said


@pytest.mark.parametrize("kill", [False, True])
def test_two_drivers_share_a_grid(zygote, tmp_path, kill):
    runs = planned(seeds=range(6), epochs=2, pause=0.02)
    wanted = undisturbed(runs, tmp_path / "whole")
    one, two = (zygote.start(argv(runs, tmp_path / "r"), tmp_path / "log") for _ in range(2))
    if kill:
        one.until(lambda: checkpoints(tmp_path))
        one.signal(signal.SIGKILL)
        one.wait()
    else:
        assert one.wait() == 0, one.err.read_text()
    assert two.wait() == 0, two.err.read_text()
    assert_complete(tmp_path / "r", runs, wanted)
    lines = [line for d in (one, two) for line in d.err.read_text().splitlines() if ": done, test" in line]
    assert len(lines) == len(set(line.partition(": done")[0] for line in lines))  # no run was finished twice
    if not kill:
        assert len(lines) == 6
        assert all(": done, test" in d.err.read_text() for d in (one, two))  # and both had their part


def test_a_run_recorded_twice_is_kept_twice(grid, tmp_path):
    runs, wanted = grid
    store, first = Store(tmp_path / "r"), wanted[runs[0].run.id]
    second = {**first, "seconds": {**first["seconds"], "train": 1e6}}
    assert store.put(first) == store.path(runs[0].run) == store.put(first)
    aside = store.put(second)
    assert aside.parent.parent.parent == tmp_path / "r" / "conflicts" and store.put(second) == aside
    assert load(store.path(runs[0].run))["seconds"] == first["seconds"]
    assert load(aside)["seconds"]["train"] == 1e6
    assert_same_results(load(aside), first)


def test_slow_is_what_the_tests_above_rely_on(grid):
    assert grid[0][0].run.model == SLOW and all(r["seconds"]["train"] > 0.4 for r in grid[1].values())
