"""The store: writing in one piece, once; checkpoints."""

from __future__ import annotations

import errno
import io
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from suite import files
from suite.errors import CannotWrite
from suite.files import machine, process_start, write_atomic, write_new
from suite.record import RecordError, dumps
from suite.store import safe_name
from suite.work.claims import Claims
from suite.work.job import Job, Settings
from suite.work.training import checkpoint
from tests.harness.grids import planned, undisturbed


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    runs = planned("tests.plugins.tiny:Leaky", seeds=(0,), epochs=2)
    return undisturbed(runs, tmp_path_factory.mktemp("whole"))[runs[0].run.id]


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_atomic, write_new])
@pytest.mark.parametrize("step", ["open", "fsync", "link", "replace", "mkdir"])
def test_a_write_that_fails_anywhere_leaves_all_or_nothing(tmp_path, monkeypatch, write, step):
    path = tmp_path / "a" / "b" / "file"

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step in ("fsync", "link"):
        monkeypatch.setattr(os, step, full)
    else:
        monkeypatch.setattr(Path, step, full)
    touched = {"open": True, "fsync": True, "mkdir": True, "link": write is write_new, "replace": write is write_atomic}
    if touched[step]:
        with pytest.raises(CannotWrite, match=r"cannot write .*: No space left on device"):
            write(path, "text")
        monkeypatch.undo()
        assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    else:
        write(path, "text")
        assert path.read_text() == "text"


def test_a_new_file_keeps_what_is_there(tmp_path):
    path = tmp_path / "file"
    assert write_new(path, "first") and not write_new(path, "second")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]
    write_atomic(path, b"third")
    assert path.read_text() == "third"


def test_a_link_whose_answer_was_lost_is_made(tmp_path, monkeypatch):
    """Over NFS the system may ask again for a link that is already made, and hear that the name is taken."""
    link = os.link

    def lost(own, path):
        link(own, path)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lost)
    assert write_new(tmp_path / "a", "mine") and (tmp_path / "a").read_text() == "mine"
    with Claims(tmp_path / "claims") as claims:
        assert claims.take("run")
    monkeypatch.setattr(os, "link", link)
    assert not write_new(tmp_path / "a", "another") and (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_without_hard_links_names_are_still_kept(tmp_path, monkeypatch, code):
    def no_links(*args):
        raise OSError(code, "no")

    monkeypatch.setattr(os, "link", no_links)
    test_a_new_file_keeps_what_is_there(tmp_path)


def test_of_many_writers_of_one_name_one_wins(tmp_path):
    path, wins = tmp_path / "file", []
    start = threading.Barrier(8)

    def race(k):
        start.wait()
        if write_new(path, str(k)):
            wins.append(k)

    threads = [threading.Thread(target=race, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1 and path.read_text() == str(wins[0]) and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_knows_no_fsync_is_good_enough(tmp_path, monkeypatch):
    plain = os.fsync

    def only_files(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, "Invalid argument")
        plain(handle)

    monkeypatch.setattr(os, "fsync", only_files)
    write_atomic(tmp_path / "a" / "file", "text")
    assert (tmp_path / "a" / "file").read_text() == "text"


@given(st.text(max_size=300))
@example("\U00010400" * 21)
def test_no_name_climbs_out_of_its_folder(name):
    plain = safe_name(name)
    assert Path("folder", plain).parent == Path("folder") and not plain.startswith(".")
    assert len(plain.encode()) <= 80 and "/" not in plain and "\0" not in plain
    assert safe_name(plain) == plain


def test_processes_are_known_by_number_and_start():
    assert process_start(os.getpid()) == process_start(os.getpid()) != ""
    child = subprocess.Popen(["true"])
    end = time.monotonic() + 10
    while process_start(child.pid) is not None:  # a zombie, until it is waited for
        assert time.monotonic() < end
    child.wait()
    assert process_start(child.pid) is None
    assert machine() == machine() and len(machine()) == 8


def test_a_process_that_can_open_no_file_knows_its_machine():
    """Else it would take another name, and what it leaves would be a foreign machine's."""
    code = (
        "import resource, suite.files; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); print(suite.files.machine())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(files.__file__).parent.parent
    )
    assert said.stdout.strip() == machine()


def test_a_record_that_json_cannot_hold_is_refused(record):
    with pytest.raises(RecordError, match="no record may have"):
        dumps({**record, "where": {**record["where"], "data": {"x": float("inf")}}})


# ---- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "c.pt"
    checkpoint.save(path, "a run", {"weights": torch.arange(100.0), "best": {"valid": 0.5}})
    return path


def test_a_checkpoint_comes_back(saved):
    state, trouble = checkpoint.load(saved, "a run")
    assert trouble == "" and torch.equal(state["weights"], torch.arange(100.0)) and state["best"] == {"valid": 0.5}
    assert checkpoint.load(saved.with_name("none"), "a run") == (None, "")
    assert "of another run" in checkpoint.load(saved, "another")[1]


@given(st.data())
def test_a_damaged_checkpoint_is_never_taken(data):
    buffer = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"rnnbench-test-{os.getpid()}.pt"
    try:
        checkpoint.save(buffer, "a run", {"weights": torch.arange(100.0)})
        whole = bytearray(buffer.read_bytes())
        if data.draw(st.booleans()):
            damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
        else:
            place = data.draw(st.integers(0, len(whole) - 1))
            damaged = bytearray(whole)
            damaged[place] ^= data.draw(st.integers(1, 255))
        buffer.write_bytes(damaged)
        state, trouble = checkpoint.load(buffer, "a run")
        assert state is None and "the run starts anew" in trouble and len(trouble.splitlines()) == 1
    finally:
        buffer.unlink(missing_ok=True)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch rnnbench-was-here",))


def test_a_checkpoint_that_would_run_code_is_not_loaded(tmp_path, saved):
    import hashlib

    head = saved.read_bytes().splitlines(keepends=True)[0]
    for body in (pickle.dumps(Evil()), _saved(Evil())):
        saved.write_bytes(head + hashlib.sha256(body).hexdigest().encode() + body)
        state, trouble = checkpoint.load(saved, "a run")
        assert state is None and "cannot be read (" in trouble
    assert not Path("rnnbench-was-here").exists()


def _saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_a_checkpoint_that_does_not_fit_starts_the_run_anew(tmp_path, capsys, record):
    """A class that was changed without raising its version."""
    from suite.work.training.group import run_job

    runs = planned("tests.plugins.tiny:Leaky", seeds=(0,), epochs=2)
    path = tmp_path / "c.pt"
    for state in ({"model": {"nothing": torch.zeros(1)}}, {}, {"model": 3, "optimizer": None}):
        checkpoint.save(path, runs[0].run.id, state)
        events: list = []
        run_job(Job((runs[0].run,), runs[0].sources, Settings(), (str(path),)), events.append)
        assert events[-1].record["status"] == "done" and events[-1].record["where"]["resumed"] == 0
        assert "does not fit" in capsys.readouterr().err
        assert events[-1].record["metrics"] == record["metrics"]


def test_files_imports_nothing_heavy():
    code = "import sys, suite.files, suite.merge, suite.store; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(files.__file__).parent.parent)
