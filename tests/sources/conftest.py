"""Small stand-ins of the official files, a data root, and a local server that may serve them."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from tasks.source_types import Download, Mirror
from tasks.sources import SOURCES, import_path
from tests.raw_files import official_layout, small_tables, write_as, zip_bytes
from tests.sources.common import Site, quiet


@pytest.fixture
def layout(monkeypatch, tmp_path):
    contents = official_layout()
    small_tables(monkeypatch, contents, tmp_path)
    return contents


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def imported(layout, tmp_path, root):
    import_path(write_as("zip", tmp_path / "from", layout["mnist"]), root, log=quiet)
    return root


@pytest.fixture
def site():
    made = Site()
    yield made
    made.close()


@pytest.fixture
def one(layout, site, monkeypatch):
    """The glove stand-in behind two mirrors of the local server, with size and checksum known; gives the archive."""
    body = zip_bytes(layout["glove"])

    def told(**changes):
        wanted = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), **changes}
        download = Download("glove.zip", (Mirror(site.url("/a")), Mirror(site.url("/b"))), **wanted)
        monkeypatch.setitem(SOURCES, "glove", dataclasses.replace(SOURCES["glove"], downloads=(download,)))
        return body

    told()
    monkeypatch.delenv("RNNBENCH_OFFLINE", raising=False)
    return told
