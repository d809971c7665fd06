"""Drawing shared among processes: the same figures, in the same order, whatever becomes of a process."""

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import partial

import pytest

from suite.report import sharing, style
from suite.report.__main__ import KINDS
from suite.report.__main__ import main as report
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


def test_figures_for_papers(tmp_path):
    """PDF with fonts that journals take, PNG, the same byte for byte; without being asked for they go again."""
    make.fill(tmp_path / "results", tasks=("har2",), models=("cornn",), seeds=range(2), epochs=3)
    assert tuple(KINDS) == tuple(style.KINDS)
    sites = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        words = ["--results-dir", str(tmp_path / "results"), "--reports-dir", str(folder), "--figures", "pdf,png"]
        assert report(words) == 0
        sites.append({path.name: path.read_bytes() for path in (folder / "plots").iterdir()})
    assert sites[0] == sites[1]
    stems = {name.removesuffix(".svg") for name in sites[0] if name.endswith(".svg")}
    assert set(sites[0]) == {f"{stem}.{kind}" for stem in stems for kind in ("svg", *KINDS)}
    for name, content in sites[0].items():
        if name.endswith(".pdf"):
            assert content.startswith(b"%PDF") and b"/FontFile2" in content and b"/Type3" not in content
        if name.endswith(".png"):
            assert content.startswith(b"\x89PNG")
    page = (folder / "tasks" / "har2.html").read_text()
    assert page.count('.pdf">PDF<') == page.count('.png">PNG<') == page.count('.svg">SVG<') > 3
    assert report([*words[:-2]]) == 0 and {path.suffix for path in (folder / "plots").iterdir()} == {".svg"}


def test_an_unknown_kind_of_figure_is_one_line(tmp_path, capsys):
    assert report(["--results-dir", str(tmp_path), "--figures", "pdf,jpeg"]) == 2
    assert "--figures: wanted some of pdf, png, or none; got 'jpeg'" in capsys.readouterr().err


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
