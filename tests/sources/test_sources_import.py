"""Import of folders and archives: what is taken."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import DataError
from tasks.sources import SOURCES, check, import_path
from tests.raw_files import RECORDS, tar_bytes, write_as, write_folder
from tests.sources.common import KINDS, SETS, quiet


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_is_imported_from_every_kind_of_container(layout, tmp_path, root, name, kind):
    given = write_as(kind, tmp_path / "from", layout[name])
    states = import_path(given, root, log=quiet)
    assert list(states) == [name] and states[name].status == "present"
    assert states[name].variant == f"{name} (official files)"
    if name != "imdb":
        assert all((root / path).read_bytes() == body for path, body in layout[name].items())
    assert {p.name for p in root.iterdir() if p.name.startswith(".")} == set()


def test_a_parent_folder_with_all_of_them_is_imported_at_once(layout, tmp_path, root):
    parent = tmp_path / "parent"
    for name, kind in zip(SETS, ("loose gz", "loose xz", "tar.xz", "tar.gz", "zip")):
        write_as(kind, parent / name, layout[name])
    write_folder(parent, {"notes.txt": b"x", "other.tar": tar_bytes({"a/b.txt": b"x"}, "")})
    assert set(import_path(parent, root, log=quiet)) == set(SETS)
    assert {name: found.status for name, found in check(SETS, root).items()} == dict.fromkeys(SETS, "present")


def test_the_reviews_keep_ids_ratings_and_texts(layout, tmp_path, root):
    from tasks.reviews import load

    import_path(write_as("tar.gz", tmp_path / "from", layout["imdb"]), root, log=quiet)
    reviews = load(root / "IMDB/labelled.npz")
    found = {f"aclImdb/{name}": body for name, body in zip(reviews.names(), reviews.pieces())}
    wanted = {path: body for path, body in layout["imdb"].items() if re.search("/(pos|neg)/", path)}
    assert found == wanted


def _python_version(layout, protocol=2):
    made = {}
    for path, body in layout["cifar10"].items():
        records = np.frombuffer(body, dtype=np.uint8).reshape(RECORDS, 3073)
        batch = {b"labels": records[:, 0].tolist(), b"data": records[:, 1:].copy(), b"filenames": [b"a.png"] * RECORDS}
        name = Path(path).name.removesuffix(".bin")
        made[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol=protocol)
    made["cifar-10-batches-py/batches.meta"] = pickle.dumps({b"label_names": [b"cat"]}, protocol=2)
    return made


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_python_version_of_cifar_becomes_the_official_binary_version(layout, tmp_path, root, protocol):
    given = write_as("tar.gz", tmp_path / "from", _python_version(layout, protocol))
    assert import_path(given, root, log=quiet)["cifar10"].variant == "cifar10 (official files)"


def test_importing_again_changes_nothing(layout, tmp_path, root):
    given = write_as("zip", tmp_path / "from", layout["mnist"])
    first = import_path(given, root, log=quiet)
    assert import_path(given, root, log=quiet) == first


def test_a_file_found_twice_is_taken_once_and_said(layout, tmp_path, root):
    parent = tmp_path / "parent"
    write_as("folder", parent / "a", layout["mnist"])
    write_as("folder", parent / "b", layout["mnist"])
    lines = []
    import_path(parent, root, log=lines.append)
    assert sum("left out" in line for line in lines) == 4


def test_a_complete_copy_that_is_not_byte_identical_is_marked(layout, tmp_path, root, monkeypatch):
    files = list(SOURCES["uci_har"].files)
    for i in (0, 1):
        files[i] = dataclasses.replace(files[i], sha256="0" * 64, copies=(files[i].sha256,))
    monkeypatch.setitem(SOURCES, "uci_har", dataclasses.replace(SOURCES["uci_har"], files=tuple(files)))
    found = import_path(write_as("zip", tmp_path / "from", layout["uci_har"]), root, log=quiet)["uci_har"]
    assert found.usable
    assert found.variant == "uci_har (complete; 2 of 22 files not byte-identical to the official ones)"


def test_a_file_known_by_its_git_checksum_is_official(layout, tmp_path, root, monkeypatch):
    first, *rest = SOURCES["uci_har"].files
    body = layout["uci_har"][first.path]
    blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
    files = (dataclasses.replace(first, sha256=None, git_sha1=blob, copies=("0" * 64,)), *rest)
    monkeypatch.setitem(SOURCES, "uci_har", dataclasses.replace(SOURCES["uci_har"], files=files))
    given = write_as("zip", tmp_path / "from", layout["uci_har"])
    assert import_path(given, root, log=quiet)["uci_har"].variant == "uci_har (official files)"
    changed = {**layout["uci_har"], first.path: body[:-1] + b"?"}
    with pytest.raises(DataError, match="git_sha1"):
        import_path(write_as("zip", tmp_path / "changed", changed), root, log=quiet)
