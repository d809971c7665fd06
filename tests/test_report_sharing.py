"""Drawing shared among processes: the same figures, in the same order, whatever becomes of a process."""

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import partial

import pytest

from suite.report import sharing
from suite.report.render import render
from tests import report_records as make

MANY = sharing.FEW + 7


def square(number: int, parent: int) -> tuple[int, bool]:
    return number * number, os.getpid() == parent


@pytest.mark.parametrize("count", [1, 2, 3, MANY + 1])
def test_each_piece_is_done_once_and_in_order(count):
    found = sharing.shared([partial(square, n, os.getpid()) for n in range(MANY)], count)
    assert [value for value, _ in found] == [n * n for n in range(MANY)]
    assert [here for _, here in found] == [n % min(count, MANY) == 0 for n in range(MANY)]


def test_few_pieces_start_no_process():
    assert all(here for _, here in sharing.shared([partial(square, n, os.getpid()) for n in range(3)], 4))


def test_the_share_of_a_killed_process_is_done_here():
    parent = os.getpid()

    def piece(number: int) -> int:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert sharing.shared([partial(piece, n) for n in range(MANY)], 3) == list(range(MANY))


def test_an_error_is_raised_here():
    def piece(number: int) -> int:
        if number == MANY - 1:
            raise ZeroDivisionError(number)
        return number

    with pytest.raises(ZeroDivisionError, match=str(MANY - 1)):
        sharing.shared([partial(piece, n) for n in range(MANY)], 2)


def test_without_room_for_a_process_all_is_done_here(monkeypatch):
    def start(self):
        raise BlockingIOError("no process left")

    monkeypatch.setattr("multiprocessing.context.ForkProcess.start", start)
    found = sharing.shared([partial(square, n, os.getpid()) for n in range(MANY)], 3)
    assert all(here for _, here in found) and len(found) == MANY


def test_no_process_is_left():
    before = multiprocessing.active_children()
    sharing.shared([partial(square, n, os.getpid()) for n in range(MANY)], 3)
    assert [process for process in multiprocessing.active_children() if process not in before] == []


def test_a_site_is_the_same_byte_for_byte(tmp_path, monkeypatch):
    make.fill(tmp_path / "results", tasks=("har2",), seeds=range(2), epochs=3)
    monkeypatch.setattr(sharing, "FEW", 2)
    sites = []
    for processes in (1, 3):
        folder = tmp_path / str(processes)
        assert render(tmp_path / "results", folder, warn=print, processes=processes)
        sites.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert sites[0] == sites[1] and any(path.suffix == ".svg" for path in sites[0])
