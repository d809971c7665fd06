"""Downloads from a real local server."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.errors import DataError, DataNotWritten
from tasks.fetching import fetch
from tasks.source_types import Download, Mirror
from tasks.sources import SOURCES, ensure, state, verify
from tests.raw_files import zip_bytes
from tests.sources.common import QUICK, Site, quiet


def _fetched(root, lines=None):
    fetch("glove", root, log=quiet if lines is None else lines.append, patience=QUICK)
    assert verify("glove", root).usable
    assert not list(root.rglob("*.part")) and not list((root / "downloads").glob("glove"))


def _not_fetched(words, root):
    with pytest.raises(DataError, match=words) as caught:
        fetch("glove", root, log=quiet, patience=QUICK)
    assert "\n" not in str(caught.value) and "rnnbench data import PATH" in str(caught.value)
    assert state("glove", root).status == "missing"
    assert not [p for p in root.rglob("*") if p.is_file() and p.name == "glove.zip"], "a wrong file has the final name"


def test_fetch_downloads_and_imports(one, site, root):
    site.pages["/a"] = Site.serve(one())
    _fetched(root)
    assert site.asked == [("/a", None)]


def test_fetch_of_several_files_imports_them_together(layout, site, root, monkeypatch):
    downloads = []
    for path, body in layout["mnist"].items():
        packed = gzip.compress(body)
        name = f"{Path(path).name}.gz"
        site.pages[f"/{name}"] = Site.serve(packed)
        downloads.append(
            Download(name, (Mirror(site.url(f"/{name}")),), len(packed), hashlib.sha256(packed).hexdigest())
        )
    monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], downloads=tuple(downloads)))
    assert ensure("mnist", root, log=quiet).usable
    asked = len(site.asked)
    assert ensure("mnist", root, log=quiet).usable and len(site.asked) == asked == 4


def test_a_cut_connection_is_resumed_where_it_broke(one, site, root):
    body = one()
    cut = lambda handler: Site.answer(handler, 200, body[:100], length=len(body))  # noqa: E731
    site.pages["/a"] = Site.in_turn(cut, Site.serve(body))
    lines = []
    _fetched(root, lines)
    assert lines[0] == f"glove: fetching it into {root}"  # where a mistyped --data-dir shows
    assert site.asked == [("/a", None), ("/a", "bytes=100-")]
    assert any("cut off at 100" in line for line in lines)


def test_a_download_goes_on_after_the_process_died(one, site, root):
    body = one()
    (root / "downloads/glove").mkdir(parents=True)
    (root / "downloads/glove/glove.zip.part").write_bytes(body[:77])
    site.pages["/a"] = Site.serve(body)
    _fetched(root)
    assert site.asked == [("/a", "bytes=77-")]


def test_a_mirror_that_cannot_resume_sends_the_whole_file(one, site, root):
    body = one()
    (root / "downloads/glove").mkdir(parents=True)
    (root / "downloads/glove/glove.zip.part").write_bytes(body[:77])
    site.pages["/a"] = Site.serve(body, ranges=False)
    _fetched(root)


@pytest.mark.parametrize("left", [b"x" * 77, b"x" * 10_000])
def test_what_an_earlier_try_left_is_dropped_where_it_does_not_fit(one, site, root, left):
    (root / "downloads/glove").mkdir(parents=True)
    (root / "downloads/glove/glove.zip.part").write_bytes(left)
    site.pages["/a"] = Site.serve(one())
    _fetched(root)
    assert site.asked[-1] == ("/a", None)


def test_a_mirror_without_the_file_is_left_for_the_next(one, site, root):
    site.pages["/b"] = Site.serve(one())
    _fetched(root)
    assert [path for path, _ in site.asked] == ["/a", "/b"]


def test_a_wrong_checksum_is_left_for_the_next_mirror(one, site, root):
    body = one()
    site.pages["/a"] = Site.serve(body[:-1] + b"?")
    site.pages["/b"] = Site.serve(body)
    _fetched(root)


def test_a_server_error_is_tried_again(one, site, root):
    site.pages["/a"] = Site.in_turn(lambda handler: handler.send_error(503), Site.serve(one()))
    _fetched(root)
    assert [path for path, _ in site.asked] == ["/a", "/a"]


def test_a_stalled_server_is_given_up_after_the_time_out(one, site, root):
    body = one()

    def stall(handler):
        Site.answer(handler, 200, body[:50], length=len(body))
        handler.wfile.flush()
        site.release.wait(30)

    site.pages["/a"], site.pages["/b"] = stall, Site.serve(body)
    start = time.perf_counter()
    lines = []
    _fetched(root, lines)
    assert time.perf_counter() - start < 15 and any("no data for 0.4 s" in line for line in lines)


def test_a_server_that_never_answers_is_given_up(one, site, root):
    site.pages["/a"] = lambda handler: site.release.wait(30) and None
    site.pages["/b"] = Site.serve(one())
    _fetched(root)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Site.missing, "HTTP 404"),
        (lambda h: h.send_error(500), "HTTP 500"),
        (lambda h: Site.answer(h, 200, b"<!DOCTYPE html><p>log in", length=False), "a web page came in place"),
        (
            lambda h: Site.answer(h, 200, b"x", length=False, kind="text/html; charset=utf-8"),
            "a web page came in place",
        ),
        (lambda h: Site.answer(h, 200, b"x" * 10), "10 bytes came, wanted"),
        (lambda h: Site.answer(h, 200, b"", length=0), "0 bytes came, wanted"),
        (lambda h: Site.answer(h, 200, b"x" * 100_000), "it announces 100,000 bytes, wanted at most"),
        (lambda h: Site.answer(h, 200, b"x" * 100_000, length=False), "more than .* bytes came"),
        (lambda h: Site.answer(h, 200, b"x" * 20, length=1_000_000_000_000), "it announces 1,000,000,000,000"),
        (lambda h: h.wfile.write(b"no http at all\r\n\r\n"), "no http at all"),
        (lambda h: None, "127.0.0.1"),
    ],
)
def test_what_is_not_the_file_is_never_taken(one, site, root, page, words):
    one()
    site.pages.update({"/a": page, "/b": page})
    _not_fetched(f"glove: glove.zip: no mirror delivered it .*{words}", root)


def test_right_size_and_wrong_checksum_on_every_mirror(one, site, root):
    site.pages.update(dict.fromkeys(("/a", "/b"), Site.serve(one()[::-1])))
    _not_fetched("sha256 .*, wanted", root)


def test_an_archive_without_a_known_checksum_is_held_against_its_contents(one, site, root, layout):
    one(bytes=None, sha256=None)
    path, body = next(iter(layout["glove"].items()))
    site.pages.update(dict.fromkeys(("/a", "/b"), Site.serve(zip_bytes({path: body[::-1]}))))
    _not_fetched("has sha256 .*, wanted", root)
    site.pages["/a"] = Site.serve(zip_bytes({path: body}))
    _fetched(root)


def test_a_closed_port_is_one_line(one, root, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    download = dataclasses.replace(SOURCES["glove"].downloads[0], mirrors=(Mirror(f"http://127.0.0.1:{port}/a"),))
    monkeypatch.setitem(SOURCES, "glove", dataclasses.replace(SOURCES["glove"], downloads=(download,)))
    _not_fetched("Connection refused", root)


def test_two_processes_that_fetch_the_same_download_it_once(one, site, root):
    body, started, go = one(), threading.Event(), threading.Event()

    def slow(handler):
        started.set()
        assert go.wait(10)
        Site.serve(body)(handler)

    site.pages["/a"] = slow
    patience = dataclasses.replace(QUICK, timeout=20.0)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, "glove", root, log=quiet, patience=patience)
        assert started.wait(10)
        second = pool.submit(fetch, "glove", root, log=quiet, patience=patience)
        time.sleep(0.2)  # it waits for the lock
        go.set()
        assert first.result() is second.result() is None
    assert verify("glove", root).usable and site.asked == [("/a", None)]


@pytest.mark.parametrize("call", [lambda root: ensure("glove", root), lambda root: fetch("glove", root, log=quiet)])
def test_offline_opens_no_connection(one, site, root, monkeypatch, call):
    site.pages["/a"] = Site.serve(one())
    monkeypatch.setenv("RNNBENCH_OFFLINE", "1")
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("a connection was opened"))
    with pytest.raises(DataError, match="RNNBENCH_OFFLINE is set"):
        call(root)
    assert not site.asked


def test_fetching_what_is_bundled_does_nothing(root):
    fetch("digits5k", root, log=quiet, patience=QUICK)
    assert not root.exists()


def test_a_data_root_that_cannot_be_written_stops_a_fetch(one, site, tmp_path):
    site.pages["/a"] = Site.serve(one())
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(DataNotWritten, match="cannot write"):
        fetch("glove", blocked, log=quiet, patience=QUICK)
    assert not site.asked
