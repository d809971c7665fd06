"""Damaged and hostile archives in numbers: an error that names the file, bounded memory, nothing written outside.

The long run: see test_fuzz_data.py
"""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import DataError
from tasks.importing import import_path, recognise
from tasks.sources import SOURCES
from tests.raw_files import official_layout, small_tables, tar_bytes, zip_bytes
from tests.test_fuzz import damaged

LAYOUT = official_layout()


@pytest.fixture(scope="module", autouse=True)
def _tables(tmp_path_factory):
    """The tables know the small files' sizes and checksums."""
    with pytest.MonkeyPatch.context() as patch:
        small_tables(patch, LAYOUT, tmp_path_factory.mktemp("scratch"))
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def contents() -> dict[str, bytes]:
    return {path: body for name in ("mnist", "imdb", "uci_har") for path, body in list(LAYOUT[name].items())}


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def imported(place: Path, name: str, data: bytes) -> None:
    """Import bytes as an archive; nothing may be written outside the data root, nothing half done left in it."""
    root, given_ = place / "root", place / name
    given_.write_bytes(data)
    outside = {path for path in place.rglob("*") if root not in path.parents}
    try:
        import_path(given_, root, log=lambda line: None)
    except DataError as error:
        assert str(error).isprintable() and len(str(error)) < 2_000
    assert {path for path in place.rglob("*") if root not in path.parents} - {root} == outside - {root}
    assert not list(root.glob(".import-*"))
    official = {raw.path for source in SOURCES.values() for raw in source.files}
    for path, body in files_below(root).items():
        name_ = path.relative_to(root).as_posix()
        assert name_ in official or name_.startswith("manifests/"), name_
        if name_.startswith(("MNIST", "UCI HAR")):
            assert body == LAYOUT["mnist" if name_.startswith("MNIST") else "uci_har"].get(name_, body)


# ---- archives --------------------------------------------------------------------------------------------------------

KINDS = {
    "a.tar": lambda: tar_bytes(contents(), ""),
    "a.tar.gz": lambda: tar_bytes(contents(), "gz"),
    "a.tar.xz": lambda: tar_bytes(contents(), "xz"),
    "a.zip": lambda: zip_bytes(contents()),
    "b.zip": lambda: zip_bytes({"inner.zip": zip_bytes(contents())}),
    "train-labels-idx1-ubyte.gz": lambda: gzip.compress(LAYOUT["mnist"]["MNIST/raw/train-labels-idx1-ubyte"]),
}
WHOLE: dict[str, bytes] = {}


@pytest.mark.parametrize("kind", list(KINDS))
@given(data=st.data())
def test_damaged_archives_are_refused_or_whole(kind, data, place):
    whole = WHOLE.setdefault(kind, KINDS[kind]())
    imported(place, kind, data.draw(damaged(whole)))


NAMES = st.text(max_size=20) | st.sampled_from(
    [
        *("MNIST/raw/train-labels-idx1-ubyte", "train/pos/1_9.txt", "a/../../test/neg/2_1.txt", "glove.6B.100d.txt"),
        *("UCI HAR Dataset/README.txt", "data_batch_1", "data_batch_1.bin", "x.zip", "x.tar.gz", "x.gz", ""),
        *("../x", "/etc/x", "C:\\x", "..\\..\\x", "\x1b[31m"),
    ]
)
TYPES = st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE,
                         tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE, b"?"])  # fmt: skip


@given(members=st.lists(st.tuples(NAMES, TYPES, st.integers(0, 1 << 40), st.binary(max_size=200), NAMES), max_size=4))
def test_hostile_tars_write_nothing_outside(members, place):
    target = io.BytesIO()
    for name, kind, size, body, link in members:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, size, link
        try:
            target.write(info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape") + body)
        except (ValueError, UnicodeError):
            continue
    imported(place, "c.tar", target.getvalue())


@given(members=st.lists(st.tuples(NAMES, st.binary(max_size=200), st.integers(0, 0xFFFFFFFF)), max_size=4))
def test_hostile_zips_write_nothing_outside(members, place):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for k, (name, body, attributes) in enumerate(members):
            info = zipfile.ZipInfo(f"{name}" if name else f"n{k}")
            info.external_attr = attributes
            try:
                archive.writestr(info, body)
            except (UnicodeError, UserWarning):
                continue
    imported(place, "d.zip", target.getvalue())


def long_name() -> bytes:
    """A zip whose first local header announces a name of 64 KB: the error would quote all of it."""
    data = bytearray(zip_bytes({f"train/pos/{k}_9.txt": bytes(2000) for k in range(100)} | contents()))
    data[26:28] = b"\xff\xff"
    return bytes(data)


def persistent() -> bytes:
    """The unpickler's own words on this one are two lines."""
    return zip_bytes({"data_batch_1": b"P"})


def nameless() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo("\0"), b"x")
    return target.getvalue()


@pytest.mark.parametrize(
    ("make", "said"), [(long_name, "..."), (nameless, "without a name"), (persistent, "UnpicklingError")]
)
def test_what_the_long_run_found_in_zips(make, said, tmp_path):
    (tmp_path / "a.zip").write_bytes(make())
    with pytest.raises(DataError, match=r"a\.zip") as caught:
        import_path(tmp_path / "a.zip", tmp_path / "root", log=lambda line: None)
    assert said in str(caught.value) and str(caught.value).isprintable() and len(str(caught.value)) < 1000


@given(path=NAMES)
def test_every_recognised_file_has_its_place_in_the_data_root(path):
    from pathlib import PurePosixPath

    found = recognise(PurePosixPath(path))
    if found is not None and found.path:
        assert any(raw.path == found.path for raw in SOURCES[found.source].files)


def limited(code: str, *words: str, megabytes: int = 3000) -> subprocess.CompletedProcess[str]:
    """Run code in a process that may use so much address space."""
    lines = [f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({megabytes << 20}, {megabytes << 20}))", code]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines), *words], capture_output=True, text=True, check=False,
        cwd=Path(__file__).resolve().parent.parent, env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


IMPORT = """
import sys
from pathlib import Path
from tasks.importing import import_path
from tasks.errors import DataError
try:
    import_path(Path(sys.argv[1]), Path(sys.argv[2]), log=print)
except DataError as error:
    print("DataError", error)
# The peak of this program alone: ru_maxrss would also count the process that started it.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


def bomb_gz() -> bytes:
    """352 MiB of zeros, more than the real file has, in a third of a megabyte."""
    made = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 24)
    return b"".join(made.compress(zeros) for _ in range(22)) + made.flush()


def bomb_xz() -> bytes:
    """A small xz file whose header asks for a dictionary of 4 GiB."""
    import lzma

    data = bytearray(lzma.compress(b"x" * 1000, check=lzma.CHECK_NONE))
    size = (data[12] + 1) * 4  # the block header: its last four bytes are its checksum
    header = data[12 : 12 + size - 4]
    at = header.index(b"\x21\x01") + 2  # filter LZMA2 with one byte of properties, the dictionary's size
    header[at] = 40
    data[12 : 12 + size] = header + struct.pack("<I", zlib.crc32(header))
    return bytes(data)


@pytest.mark.parametrize(("name", "make"), [("glove.6B.100d.txt.gz", bomb_gz), ("glove.6B.100d.txt.xz", bomb_xz)])
def test_bombs_cost_neither_memory_nor_disk(name, make, tmp_path):
    (tmp_path / name).write_bytes(make())
    done = limited(IMPORT, str(tmp_path / name), str(tmp_path / "root"))
    assert done.returncode == 0 and "DataError" in done.stdout and name in done.stdout, done.stderr
    assert int(done.stdout.split()[-1]) < 300
    assert not files_below(tmp_path / "root")
