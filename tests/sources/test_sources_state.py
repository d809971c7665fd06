"""Manifests, state and verification of a data root."""

from __future__ import annotations

import json
import os

import pytest

import tasks.archives
import tasks.verifying
from tasks.errors import DataError
from tasks.sources import SOURCES, check, import_path, state, verify
from tests.raw_files import small_tables, write_as, write_folder
from tests.sources.common import quiet


def test_files_are_hashed_once_and_again_only_when_they_change(imported, monkeypatch):
    hashed = []
    monkeypatch.setattr(tasks.verifying, "sha256", lambda path: hashed.append(path) or "0" * 64)
    assert state("mnist", imported).usable and not hashed
    path = imported / SOURCES["mnist"].files[0].path
    os.utime(path, ns=(1, 1))
    assert state("mnist", imported).status == "altered" and hashed == [path]


def test_verify_finds_a_change_that_kept_size_and_time(imported):
    path = imported / SOURCES["mnist"].files[1].path
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert state("mnist", imported).usable
    found = verify("mnist", imported)
    assert found.status == "altered" and path.name in found.message and "delete it, then run" in found.message


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"files": 3}', '{"files": {"a": 1}}'])
def test_a_damaged_manifest_is_made_anew(imported, text):
    path = imported / "manifests/mnist.json"
    path.unlink() if text is None else path.write_text(text)
    assert state("mnist", imported).usable
    assert set(json.loads(path.read_text())["files"]) == {raw.path for raw in SOURCES["mnist"].files}


def test_files_put_there_by_hand_are_taken_without_an_import(layout, root):
    write_folder(root, layout["mnist"])
    assert state("mnist", root).variant == "mnist (official files)"


def test_missing_and_truncated_files_are_named(imported):
    first, second = (imported / raw.path for raw in SOURCES["mnist"].files[:2])
    first.unlink()
    assert state("mnist", imported).status == "incomplete" and first.name in state("mnist", imported).message
    second.write_bytes(second.read_bytes()[:50])
    assert "has 50 bytes, wanted 120" in state("mnist", imported).message


def test_a_damaged_review_file_is_named(layout, tmp_path, root):
    import_path(write_as("zip", tmp_path / "from", layout["imdb"]), root, log=quiet)
    path = root / "IMDB/labelled.npz"
    path.write_bytes(path.read_bytes()[:-100])
    found = state("imdb", root)
    assert found.status == "altered" and "labelled.npz is damaged" in found.message


def test_the_grid_is_checked_in_one_go(imported):
    with pytest.raises(DataError, match=r"cifar10: not in .*; imdb: not in"):
        check(["mnist", "cifar10", "imdb", "digits5k", "cifar10"], imported)


def test_the_key_changes_with_the_contents(imported, layout, tmp_path, monkeypatch):
    before = state("mnist", imported).key
    path, body = next(iter(layout["mnist"].items()))
    other = {"mnist": {**layout["mnist"], path: body[::-1]}}
    small_tables(monkeypatch, other, tmp_path)
    (imported / path).write_bytes(body[::-1])
    assert state("mnist", imported).key != before
