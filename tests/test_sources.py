"""Raw data: import of folders and archives, what is refused, manifests, and downloads from a real local server."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import io
import json
import lzma
import os
import pickle
import re
import socket
import stat
import tarfile
import threading
import time
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import tasks.archives
import tasks.verifying
from tasks.errors import DataError, DataNotWritten, TaskError
from tasks.fetching import Patience, fetch
from tasks.importing import recognise
from tasks.pickled import cifar_records
from tasks.sources import SOURCES, Download, Mirror, check, data_root, ensure, import_path, state, verify
from tests.raw_files import RECORDS, official_layout, small_tables, tar_bytes, write_as, write_folder, zip_bytes

REAL_SOURCES = dict(SOURCES)
SETS = ("mnist", "cifar10", "uci_har", "imdb", "glove")
KINDS = ("folder", "tar", "tar.gz", "tar.xz", "zip", "loose gz", "loose xz", "zip in zip")


@pytest.fixture
def layout(monkeypatch, tmp_path):
    contents = official_layout()
    small_tables(monkeypatch, contents, tmp_path)
    return contents


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def quiet(line: str) -> None:
    assert "\n" not in line


def refused(words, path, root):
    with pytest.raises(DataError, match=words) as caught:
        import_path(path, root, log=quiet)
    assert "\n" not in str(caught.value)
    assert not root.exists() or not [p for p in root.iterdir() if p.name.startswith(".import-")], "staging left behind"


# ---- the table --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in REAL_SOURCES if not REAL_SOURCES[name].bundled])
def test_every_source_has_terms_mirrors_and_well_formed_checksums(name):
    known = REAL_SOURCES[name]
    assert known.title and known.licence and known.citation and known.homepage and known.downloads
    for raw in known.files:
        assert not raw.required or raw.sha256 or raw.git_sha1
        assert not Path(raw.path).is_absolute() and ".." not in Path(raw.path).parts
        for digest in (raw.sha256, *raw.copies):
            assert digest is None or re.fullmatch("[0-9a-f]{64}", digest)
        assert raw.git_sha1 is None or re.fullmatch("[0-9a-f]{40}", raw.git_sha1)
    for download in known.downloads:
        assert download.mirrors and all(mirror.url.startswith("http") for mirror in download.mirrors)
        assert download.sha256 is None or re.fullmatch("[0-9a-f]{64}", download.sha256)
        assert all(mirror.tried is False for mirror in download.mirrors)  # change it with the first real download


@pytest.mark.parametrize(
    ("path", "name", "target"),
    [
        ("x/train-images-idx3-ubyte", "mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("t10k-labels.idx1-ubyte", "mnist", "MNIST/raw/t10k-labels-idx1-ubyte"),
        ("cifar-10-batches-bin/test_batch.bin", "cifar10", "cifar-10-batches-bin/test_batch.bin"),
        ("cifar-10-batches-py/data_batch_3", "cifar10", "cifar-10-batches-bin/data_batch_3.bin"),
        ("UCI HAR Dataset/train/y_train.txt", "uci_har", "UCI HAR Dataset/train/y_train.txt"),
        (
            "a/test/Inertial Signals/body_gyro_z_test.txt",
            "uci_har",
            "UCI HAR Dataset/test/Inertial Signals/body_gyro_z_test.txt",
        ),
        ("aclImdb/test/neg/12_4.txt", "imdb", ""),
        ("glove.6B.100d.txt", "glove", "glove.6B.100d.txt"),
    ],
)
def test_official_names_are_recognised(path, name, target):
    found = recognise(PurePosixPath(path))
    assert found is not None and (found.source, found.path) == (name, target)


@pytest.mark.parametrize(
    "path",
    [
        "data_batch_6.bin",
        "train/unsup/0_0.txt",
        "train/Inertial Signals/body_acc_x_test.txt",
        "train/y_test.txt",
        "glove.6B.50d.txt",
        "train/pos/readme.txt",
        "mytrain/pos/0_9.txt",
        "train-images-idx3-ubyte.bak",
    ],
)
def test_other_names_are_not(path):
    assert recognise(PurePosixPath(path)) is None


def test_an_unknown_data_set_answers_with_the_near_ones(root):
    with pytest.raises(TaskError, match="unknown data set 'mnits': did you mean mnist"):
        state("mnits", root)


def test_the_data_root_is_the_argument_then_the_variable_then_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("RNNBENCH_DATA", str(tmp_path / "variable"))
    assert data_root(tmp_path / "given") == tmp_path / "given"
    assert data_root(None) == tmp_path / "variable"
    monkeypatch.delenv("RNNBENCH_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root(None) == tmp_path / "cache/rnnbench"


# ---- import: what is taken --------------------------------------------------------------------------------


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


# ---- import: what is refused ------------------------------------------------------------------------------


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
        return (os.system, ("touch /tmp/owned",))


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


# ---- state and verify -------------------------------------------------------------------------------------


@pytest.fixture
def imported(layout, tmp_path, root):
    import_path(write_as("zip", tmp_path / "from", layout["mnist"]), root, log=quiet)
    return root


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


# ---- fetch ------------------------------------------------------------------------------------------------

QUICK = Patience(timeout=0.4, tries=3, pause=0.01)


class Site:
    """A real HTTP server on 127.0.0.1; ``pages`` maps a path to what answers it."""

    def __init__(self):
        self.pages, self.asked, self.release = {}, [], threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append((self.path, self.headers.get("Range")))
                try:
                    site.pages.get(self.path, Site.missing)(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    @staticmethod
    def missing(handler):
        handler.send_error(404)

    @staticmethod
    def answer(handler, status, body, length=None, kind="application/octet-stream", **headers):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        if length is not False:
            handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    @staticmethod
    def serve(body, ranges=True):
        def page(handler):
            asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
            if not asked or not ranges:
                return Site.answer(handler, 200, body)
            start = int(asked[1])
            if start >= len(body):
                return handler.send_error(416)
            place = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return Site.answer(handler, 206, body[start:], Content_Range=place)

        return page

    @staticmethod
    def in_turn(*pages):
        left = list(pages)
        return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


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
