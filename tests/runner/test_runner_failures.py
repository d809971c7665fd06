"""Runs that fail, and folders that cannot be written: one record or one line, and the grid goes on."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from suite.files import machine
from suite.record import load
from suite.store import Store
from tests.harness.grids import argv, assert_complete, planned, undisturbed
from tests.runner.common import EXECUTORS, FAULT, again

FAILURES = {
    f"{FAULT}:Full": "cuda out of memory",
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
    assert all(failed[f"{FAULT}:{name}"]["size"]["peak_bytes"] > 0 for name in ("Full", "Greedy"))
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
    said = again(zygote, runs, tmp_path, code=1).err.read_text()
    assert "1 failed earlier" in said and "skipped" not in said and "--rerun failed tries it again\n" in said
    assert list(store.failure_paths()) == [first]
    store.checkpoint_path(runs[0].run).parent.mkdir(exist_ok=True)
    store.checkpoint_path(runs[0].run).write_bytes(b"left over")  # a checkpoint does not make it run again either
    assert "1 failed earlier" in again(zygote, runs, tmp_path, code=1).err.read_text()
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
    dead = 2**22 + 1  # above the kernel's highest number: a process that ended may see its number taken again
    torn = store.path(runs[0].run).with_name(f".x.json.{machine()}-{dead}-00000000.tmp")
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
