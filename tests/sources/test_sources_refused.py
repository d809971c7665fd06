"""Import of folders and archives: what is refused."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import pickle
import re
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import tasks.archives
import tasks.verifying
from tasks.errors import DataError, DataNotWritten
from tasks.importing import recognise
from tasks.pickled import cifar_records
from tasks.sources import SOURCES, import_path, state, verify
from tests.raw_files import tar_bytes, write_as, write_folder, zip_bytes
from tests.sources.common import SETS, quiet, refused


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "zip", "loose gz", "loose xz"])
def test_a_truncated_container_is_refused(layout, tmp_path, root, name, kind):
    given = write_as(kind, tmp_path / "from", layout[name])
    path = given if given.is_file() else next(p for p in sorted(given.rglob("*")) if p.is_file() and _known(p))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(r"truncated or damaged|incomplete", given, root)
    assert state(name, root).status == "missing"


def _known(path):
    return recognise(PurePosixPath(*path.with_suffix("").parts[1:])) is not None


@pytest.mark.parametrize("name", ["mnist", "cifar10", "uci_har", "glove"])
def test_an_altered_file_is_refused_and_named(layout, tmp_path, root, name):
    path, body = next(iter(layout[name].items()))
    changed = {**layout[name], path: body[:10] + bytes([body[10] ^ 1]) + body[11:]}
    refused(rf"{name}: .*{Path(path).name} has sha256 .*, wanted", write_as("zip", tmp_path, changed), root)


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: body + b"x"])
def test_a_file_of_another_size_is_refused(layout, tmp_path, root, change):
    path, body = next(iter(layout["mnist"].items()))
    refused("bytes", write_as("tar.gz", tmp_path, {**layout["mnist"], path: change(body)}), root)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "uci_har"])
def test_a_missing_file_is_named(layout, tmp_path, root, name):
    contents = dict(layout[name])
    lost = next(raw.path for raw in SOURCES[name].files if raw.required)
    del contents[lost]
    refused(f"{name}: incomplete, {Path(lost).name} not found", write_as("zip", tmp_path, contents), root)


def test_a_wrong_number_of_reviews_is_said(layout, tmp_path, root):
    contents = dict(layout["imdb"])
    del contents["aclImdb/test/neg/1_2.txt"]
    refused("wanted 3 reviews in each of 4 folders: test/neg has 2", write_as("tar", tmp_path, contents), root)


def test_an_altered_review_is_refused(layout, tmp_path, root):
    contents = {**layout["imdb"], "aclImdb/test/neg/1_2.txt": b"another text"}
    refused("imdb: .* has sha256", write_as("tar", tmp_path, contents), root)


def test_a_good_data_set_beside_a_bad_one_is_still_imported(layout, tmp_path, root):
    write_as("zip", tmp_path / "parent/a", layout["mnist"])
    write_as("zip", tmp_path / "parent/b", dict(list(layout["cifar10"].items())[1:]))
    refused("cifar10: incomplete", tmp_path / "parent", root)
    assert state("mnist", root).usable and state("cifar10", root).status == "missing"


def test_a_bad_import_leaves_what_was_there(layout, tmp_path, root):
    import_path(write_as("zip", tmp_path / "good", layout["mnist"]), root, log=quiet)
    path, body = next(iter(layout["mnist"].items()))
    refused("sha256", write_as("zip", tmp_path / "bad", {**layout["mnist"], path: body[::-1]}), root)
    assert verify("mnist", root).usable


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere", "no such file or folder"),
        (lambda folder: folder, "no known data set found"),
        (lambda folder: write_folder(folder / "x", {"a.txt": b"x"}), "no known data set found"),
        (lambda folder: write_folder(folder, {"x.zip": b"no zip at all"}) / "x.zip", "truncated or damaged"),
        (lambda folder: write_folder(folder, {"x.tar.gz": b"no tar at all"}) / "x.tar.gz", "truncated or damaged"),
        (lambda folder: write_folder(folder, {"x.tar": b""}) / "x.tar", "truncated or damaged"),
        (
            lambda folder: write_folder(folder, {"test_batch.bin.xz": b"?"}) / "test_batch.bin.xz",
            "truncated or damaged",
        ),
    ],
)
def test_nothing_or_no_archive_is_one_clear_line(layout, tmp_path, root, make, words):
    (tmp_path / "from").mkdir()
    refused(words, make(tmp_path / "from"), root)


def _tar_with(info, body=b""):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        info.size = len(body)
        archive.addfile(info, io.BytesIO(body))
    return target.getvalue()


def _info(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (_info("../../MNIST/raw/train-labels-idx1-ubyte"), "climbs out of the archive: refused"),
        (_info("/etc/train-labels-idx1-ubyte"), "climbs out of the archive: refused"),
        (_info("a/../../x"), "climbs out of the archive: refused"),
        (_info("train-labels-idx1-ubyte", tarfile.SYMTYPE, "/etc/passwd"), "is a link: refused"),
        (_info("train-labels-idx1-ubyte", tarfile.LNKTYPE, "other"), "is a link: refused"),
        (_info("train-labels-idx1-ubyte", tarfile.CHRTYPE), "is no plain file: refused"),
        (_info("train-labels-idx1-ubyte", tarfile.FIFOTYPE), "is no plain file: refused"),
    ],
)
def test_a_dangerous_tar_member_is_refused_by_name(layout, tmp_path, root, info, words):
    path = tmp_path / "evil.tar"
    path.write_bytes(_tar_with(info))
    refused(rf"evil\.tar: member '{re.escape(info.name)}' {words}", path, root)
    assert {p.name for p in tmp_path.iterdir()} <= {"evil.tar", "root", "packed.npz"}


@pytest.mark.parametrize("name", ["../x.bin", "/abs/test_batch.bin", "..\\x.bin", "C:/test_batch.bin"])
def test_a_climbing_zip_member_is_refused_by_name(layout, tmp_path, root, name):
    path = tmp_path / "evil.zip"
    path.write_bytes(zip_bytes({name: b"x"}))
    refused("climbs out of the archive: refused", path, root)


def test_a_link_in_a_zip_is_refused_by_name(layout, tmp_path, root):
    path = tmp_path / "evil.zip"
    info = zipfile.ZipInfo("test_batch.bin")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refused(r"member 'test_batch\.bin' is a link: refused", path, root)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_bomb_is_refused_when_it_exceeds_the_files_size(layout, tmp_path, root, pack):
    suffix = "gz" if pack is gzip.compress else "xz"
    path = tmp_path / f"train-images-idx3-ubyte.{suffix}"
    path.write_bytes(pack(bytes(50_000_000)))
    refused("unpacks to more than 120 bytes: refused", path, root)


def test_a_zip_bomb_is_refused_when_it_exceeds_the_files_size(layout, tmp_path, root):
    path = tmp_path / "bomb.zip"
    path.write_bytes(zip_bytes({"glove.6B.100d.txt": bytes(50_000_000)}))
    refused("unpacks to more than 120 bytes: refused", path, root)


def test_a_review_of_a_megabyte_is_refused(layout, tmp_path, root):
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(tar_bytes({"aclImdb/train/pos/0_9.txt": bytes((1 << 20) + 1)}, "gz"))
    refused("unpacks to more than 1,048,576 bytes: refused", path, root)


def test_an_archive_that_unpacks_to_too_much_or_holds_too_many_is_refused(layout, tmp_path, root, monkeypatch):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes({f"{i}.txt": bytes(1000) for i in range(20)}, ""))
    monkeypatch.setattr(tasks.archives, "MAX_TOTAL", 10_000)
    refused(r"member '10\.txt' takes it beyond 10,000 bytes: refused", path, root)
    monkeypatch.setattr(tasks.archives, "MAX_TOTAL", 1 << 30)
    monkeypatch.setattr(tasks.archives, "MAX_MEMBERS", 5)
    refused("more than 5 members: refused", path, root)


class _Evil:
    def __reduce__(self):
        return (os.system, ("touch owned",))


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (_Evil(), r"\.system is not allowed"),
        ({b"labels": [1], b"data": _Evil()}, r"\.system is not allowed"),
        ({b"labels": [1]}, "KeyError"),
        ([1, 2], "no CIFAR-10 batch"),
        (
            {b"labels": [1, 2], b"data": np.zeros((1, 3072), np.uint8)},
            r"wanted uint8 pixels \(2, 3072\), got \(1, 3072\)",
        ),
        ({b"labels": [1], b"data": np.zeros((1, 3072), np.float32)}, "wanted uint8 pixels"),
        ({b"labels": [300], b"data": np.zeros((1, 3072), np.uint8)}, "no CIFAR-10 batch"),
        ({b"labels": [1], b"data": b"x"}, "wanted uint8 pixels"),
    ],
)
def test_a_pickle_may_hold_arrays_and_nothing_else(batch, words):
    with pytest.raises(DataError, match=words):
        cifar_records(pickle.dumps(batch, protocol=2), "data_batch_1")


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps({b"labels": [1]})[:-3]])
def test_no_pickle_at_all_is_one_line(data):
    with pytest.raises(DataError, match="data_batch_1: no CIFAR-10 batch"):
        cifar_records(data, "data_batch_1")


def test_a_pickle_cannot_ask_for_a_huge_array():
    code = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR."
    with pytest.raises(DataError, match="of shape"):
        cifar_records(code, "data_batch_1")


def test_a_data_root_that_cannot_be_written_is_said(layout, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(DataNotWritten, match=r"cannot write .*--data-dir takes another folder"):
        import_path(write_as("zip", tmp_path / "from", layout["mnist"]), blocked, log=quiet)


def test_a_full_disk_is_said_and_leaves_nothing(layout, tmp_path, root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tasks.importing.copy_bounded", full)
    with pytest.raises(DataError, match="No space left on device"):
        import_path(write_as("zip", tmp_path / "from", layout["mnist"]), root, log=quiet)
    assert not any(p.name.startswith(".import-") for p in root.iterdir())
