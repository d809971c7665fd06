"""Kill anything, lose nothing: real driver processes that are killed, interrupted, starved and cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from suite.files import machine
from suite.record import load
from suite.store import Store
from tests.harness.grids import SLOW, argv, assert_complete, assert_same_results, assert_tidy, planned, undisturbed
from tests.harness.zygote import Zygote

FAULT = "tests.plugins.faults"
EXECUTORS = ("inline", "processes")


@pytest.fixture(scope="module")
def zygote():
    made = Zygote()
    yield made
    made.close()


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Three slow runs and what they give undisturbed."""
    runs = planned(seeds=range(3), epochs=3, pause=0.02)
    return runs, undisturbed(runs, tmp_path_factory.mktemp("undisturbed"))


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


# ---- killed ----------------------------------------------------------------------------------------------------------


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


# ---- stopped ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_to_all_processes_checkpoints_and_stops(zygote, grid, tmp_path, executor, number, code):
    runs, wanted = grid
    slow = argv(runs, tmp_path / "r", "--jobs", "1", "--checkpoint-seconds", "1000", executor=executor)
    driver = zygote.start(slow, tmp_path / "log")
    driver.until(lambda: "epoch 1/3" in driver.err.read_text())
    driver.signal_group(number)  # as a terminal, `timeout` and Slurm do: workers get it too
    assert driver.wait() == code, driver.err.read_text()
    assert "1 stopped" in driver.err.read_text() and "Traceback" not in driver.err.read_text()
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


# ---- runs that fail --------------------------------------------------------------------------------------------------


FAILURES = {
    "tests.plugins.broken:Raises": "no luck",
    f"{FAULT}:Dies": "worker died 3 times: SIGKILL, perhaps out of memory",
    f"{FAULT}:Crashes": "worker died 3 times: Segmentation fault",
    f"{FAULT}:Greedy": "memory",
    f"{FAULT}:Quits": "0",
    f"{FAULT}:Loquacious": "long words",
}


def test_every_kind_of_failure_is_a_record_of_its_own(zygote, tmp_path):
    models = [*FAILURES, f"{FAULT}:NotFinite", "tests.plugins.tiny:Leaky"]
    words = argv(planned("tests.plugins.tiny:Leaky", seeds=(0,)), tmp_path / "r", "--jobs", "2", executor="processes")
    words[1] = ",".join(models)
    driver = zygote.start(words, tmp_path / "log")
    assert driver.wait(120) == 1, driver.err.read_text()
    store = Store(tmp_path / "r")
    failed = {r["run"]["model"]: r for r in map(load, store.failure_paths())}
    assert set(failed) == set(FAILURES)
    for model, words_ in FAILURES.items():
        assert words_ in failed[model]["error"]["message"].lower() or words_ in failed[model]["error"]["message"], model
        assert len(failed[model]["error"]["message"]) <= 10_000
    done = {r["run"]["model"]: r["status"] for r in store.records()}
    assert done == {f"{FAULT}:NotFinite": "diverged", "tests.plugins.tiny:Leaky": "done"}
    assert not list((tmp_path / "r" / "claims").iterdir())
    assert "Traceback" not in driver.err.read_text()


def test_a_run_that_hangs_is_ended_where_it_is_asked_for(zygote, tmp_path):
    runs = planned("tests.plugins.broken:Hangs", seeds=(0,))
    driver = zygote.start(argv(runs, tmp_path / "r", "--stall-seconds", "1.5", executor="processes"), tmp_path / "log")
    assert driver.wait() == 1, driver.err.read_text()
    (failed,) = map(load, Store(tmp_path / "r").failure_paths())
    assert failed["error"]["message"] == "worker died 3 times: no sign of life for 1.5 s"


def test_a_worker_that_dies_once_goes_on_from_its_checkpoint(zygote, tmp_path):
    runs = planned(f"{FAULT}:DiesOnce", seeds=(0,))
    flags = {"RNNBENCH_TEST_FLAGS": str(tmp_path)}
    driver = zygote.start(argv(runs, tmp_path / "r", "--checkpoint-seconds", "0", executor="processes"),
                          tmp_path / "log", env=flags)  # fmt: skip
    assert driver.wait() == 0, driver.err.read_text()
    (record,) = Store(tmp_path / "r").records()
    assert record["where"]["resumed"] == 1
    wanted = undisturbed(planned("tests.plugins.tiny:Leaky", seeds=(0,)), tmp_path / "whole")
    assert len(record["curve"]) == len(next(iter(wanted.values()))["curve"])


def test_failed_runs_wait_for_rerun_and_a_retry_overwrites_nothing(zygote, tmp_path):
    runs = planned("tests.plugins.broken:Raises", seeds=(0,))
    again(zygote, runs, tmp_path, code=1)
    store = Store(tmp_path / "r")
    (first,) = store.failure_paths()
    text = first.read_bytes()
    assert "1 skipped" in again(zygote, runs, tmp_path, code=1).err.read_text()
    assert list(store.failure_paths()) == [first]
    store.checkpoint_path(runs[0].run).parent.mkdir(exist_ok=True)
    store.checkpoint_path(runs[0].run).write_bytes(b"left over")  # a checkpoint does not make it run again either
    assert "1 skipped" in again(zygote, runs, tmp_path, code=1).err.read_text()
    again(zygote, runs, tmp_path, "--rerun", "failed", code=1)
    assert len(list(store.failure_paths())) == 2 and first.read_bytes() == text


def test_a_grid_goes_on_when_nobody_reads_what_it_says(zygote, grid, tmp_path):
    runs, wanted = grid
    read, write = os.pipe()
    driver = zygote.start(argv(runs, tmp_path / "r"), tmp_path / "log", stderr=write)
    os.read(read, 10)  # before our end is closed: the driver opens it by name
    os.close(write)
    os.close(read)
    assert driver.wait() == 0
    assert_complete(tmp_path / "r", runs, wanted)


# ---- folders ---------------------------------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, *words: str):
    """Something mounted on ``folder``; skips where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *words, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting needs more rights than this test has: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_full_disk_is_one_line_and_the_grid_goes_on_once_there_is_room(zygote, grid, tmp_path, executor):
    runs, wanted = grid
    with mounted(tmp_path / "r", "-t", "tmpfs", "-o", "size=256k", "tmpfs"):
        driver = zygote.start(argv(runs, tmp_path / "r", "--jobs", "1", executor=executor), tmp_path / "log")
        driver.until(lambda: any(True for _ in Store(tmp_path / "r").paths()))
        ballast = tmp_path / "r" / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        assert driver.wait() == 5, driver.err.read_text()
        last = driver.err.read_text().splitlines()[-1]
        assert "cannot write" in last and "No space left on device" in last and "Traceback" not in last
        done = {path: path.read_bytes() for path in Store(tmp_path / "r").paths()}
        assert again(zygote, runs, tmp_path, code=5).err.read_text().count("\n") == 1
        ballast.unlink()
        again(zygote, runs, tmp_path)
        assert all(path.read_bytes() == text for path, text in done.items())
        assert_complete(tmp_path / "r", runs, wanted)


def test_a_file_size_limit_is_a_write_error_like_any_other(zygote, grid, tmp_path):
    runs, _ = grid
    limits = {"RLIMIT_FSIZE": 1024}
    driver = zygote.start(argv(runs, tmp_path / "r"), tmp_path / "log", limits=limits)
    assert driver.wait() == 5 and "File too large" in driver.err.read_text()
    assert driver.err.read_text().count("\n") == 1


def test_a_read_only_folder_is_one_line(zygote, grid, tmp_path):
    runs, _ = grid
    with mounted(tmp_path / "r", "-t", "tmpfs", "-o", "ro", "tmpfs"):
        driver = again(zygote, runs, tmp_path, code=5)
    assert "Read-only file system" in driver.err.read_text() and driver.err.read_text().count("\n") == 1


def test_a_finished_grid_is_shown_from_a_read_only_folder(zygote, tmp_path):
    runs = planned("tests.plugins.tiny:Leaky", seeds=(0, 1))
    again(zygote, runs, tmp_path)
    with mounted(tmp_path / "shown", "-o", "bind,ro", str(tmp_path / "r")) as shown:
        driver = zygote.start(argv(runs, shown), tmp_path / "log")
        assert driver.wait() == 0, driver.err.read_text()
    assert "2 skipped" in driver.err.read_text() and "Leaky" not in driver.err.read_text()


def test_a_file_in_place_of_the_folder_is_one_line(zygote, grid, tmp_path):
    (tmp_path / "r").write_text("not a folder")
    driver = again(zygote, grid[0], tmp_path, code=5)
    assert driver.err.read_text().count("\n") == 1 and "cannot write" in driver.err.read_text()


def test_what_a_killed_process_left_is_swept_up(zygote, grid, tmp_path):
    runs, wanted = grid
    store = Store(tmp_path / "r")
    dead = subprocess.Popen(["true"])
    dead.wait()
    torn = store.path(runs[0].run).with_name(f".x.json.{machine()}-{dead.pid}-00000000.tmp")
    alive = torn.with_name(f".x.json.{machine()}-{os.getpid()}-00000000.tmp")
    foreign = torn.with_name(".x.json.00000000-1-00000000.tmp")
    torn.parent.mkdir(parents=True)
    for path in (torn, alive, foreign):
        path.write_text("half a rec")
        os.utime(path, (time.time() - 60, time.time() - 60))
    again(zygote, runs, tmp_path)
    assert not torn.exists() and alive.exists() and foreign.exists()
    os.utime(foreign, (1, 1))
    stale = store.checkpoint_path(runs[0].run)
    stale.write_bytes(b"a checkpoint whose driver was killed after it had written the record")
    again(zygote, runs, tmp_path)
    assert not foreign.exists() and not stale.exists() and alive.exists()
    alive.unlink()
    assert_complete(tmp_path / "r", runs, wanted)


def test_a_broken_record_is_told_and_left_alone(zygote, grid, tmp_path):
    runs, wanted = grid
    path = Store(tmp_path / "r").path(runs[0].run)
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": 1')
    driver = again(zygote, runs, tmp_path, code=1)
    assert f"broken record, left as it is: {path}" in driver.err.read_text()
    assert path.read_text() == '{"schema": 1'
    path.unlink()
    again(zygote, runs, tmp_path)
    assert_complete(tmp_path / "r", runs, wanted)


# ---- two drivers -----------------------------------------------------------------------------------------------------


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
