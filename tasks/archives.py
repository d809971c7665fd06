"""Reading folders and archives from outside: every member as a stream, nothing unpacked by its own name.

Refused by name: members that climb out of the archive, links, devices, and archives that unpack to more than
``MAX_TOTAL`` bytes or hold more than ``MAX_MEMBERS`` members.
"""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple, cast

from tasks.errors import DataError

MAX_TOTAL = 4 << 30  # of one archive, unpacked; the largest real one (aclImdb) has half a gigabyte
MAX_MEMBERS = 500_000  # aclImdb has 150,000
MAX_WORDS = 300  # of an error's own text: a damaged header can make a name of 64 KB
DEPTH = 2  # the archive of UCI holds another archive

Wanted = Callable[[PurePosixPath], int]

DAMAGED = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile)


class Member(NamedTuple):
    """One file: its path inside the folder or archive, a stream, and where it came from (for messages)."""

    path: PurePosixPath
    stream: IO[bytes]
    origin: str


def is_tar(name: str) -> bool:
    """Whether the name says tar, compressed or not."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz"))


def is_archive(name: str) -> bool:
    """Whether the name says tar, zip, or one compressed file."""
    return is_tar(name) or name.lower().endswith((".zip", ".gz", ".xz"))


def _words(text: object) -> str:
    """Somebody else's words on one short line, without control characters: they go to a terminal."""
    words = "".join(sign if sign.isprintable() else "?" for sign in str(text))
    return words if len(words) <= MAX_WORDS else words[:MAX_WORDS] + "..."


def _quoted(name: str) -> str:
    """A member's name for a message."""
    return repr(name if len(name) <= MAX_WORDS else name[:MAX_WORDS] + "...")


@contextmanager
def translated(origin: str) -> Iterator[None]:
    """Turn the many errors of reading an archive into one DataError that names it."""
    try:
        yield
    except DAMAGED as error:
        raise DataError(f"{origin} is truncated or damaged ({_words(error)})") from error
    except MemoryError as error:  # an xz file may ask for a dictionary of 4 GiB
        raise DataError(f"{origin} asks for more memory than there is: refused") from error
    except (OSError, NotImplementedError, UnicodeError) as error:
        raise DataError(f"cannot read {origin}: {_words(error)}") from error


def copy_bounded(stream: IO[bytes], target: BinaryIO, limit: int, what: str) -> int:
    """Copy a stream; more than ``limit`` bytes is an error naming ``what``. Returns the bytes copied."""
    copied = 0
    while chunk := stream.read(1 << 20):
        copied += len(chunk)
        if copied > limit:
            raise DataError(f"{what} unpacks to more than {limit:,} bytes: refused")
        target.write(chunk)
    return copied


def _safe(name: str, origin: str) -> PurePosixPath:
    """A member's name as a path; one that climbs out of the archive is refused."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
        raise DataError(f"{origin}: member {_quoted(name)} climbs out of the archive: refused")
    return path


class _Bound:
    """Counts what an archive's headers announce."""

    def __init__(self, origin: str) -> None:
        self.origin, self.total, self.members = origin, 0, 0

    def add(self, name: str, size: int) -> None:
        self.total += size
        self.members += 1
        if self.total > MAX_TOTAL:
            raise DataError(f"{self.origin}: member {_quoted(name)} takes it beyond {MAX_TOTAL:,} bytes: refused")
        if self.members > MAX_MEMBERS:
            raise DataError(f"{self.origin}: more than {MAX_MEMBERS:,} members: refused")


@contextmanager
def _decompressed(file: BinaryIO, name: str) -> Iterator[IO[bytes]]:
    """A tar's stream. tarfile's own decompression takes a truncated archive for a short one, so it is done here."""
    if name.lower().endswith("gz"):
        with gzip.open(file) as stream:
            yield cast(IO[bytes], stream)
    elif name.lower().endswith("xz"):
        with lzma.open(file) as stream:
            yield stream
    else:
        yield file


def _tar(file: BinaryIO, origin: str, wanted: Wanted, depth: int) -> Iterator[Member]:
    bound = _Bound(origin)
    with _decompressed(file, origin) as plain, tarfile.open(fileobj=plain, mode="r|*") as archive:
        for member in archive:
            path = _safe(member.name, origin)
            bound.add(member.name, member.size)
            if member.isdir():
                continue
            if not member.isfile():
                kind = "a link" if member.issym() or member.islnk() else "no plain file"
                raise DataError(f"{origin}: member {_quoted(member.name)} is {kind}: refused")
            stream = archive.extractfile(member)
            assert stream is not None  # isfile() holds
            yield from _descend(path, stream, origin, wanted, depth)


def _zip(file: BinaryIO, origin: str, wanted: Wanted, depth: int) -> Iterator[Member]:
    bound = _Bound(origin)
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.filename:
                raise DataError(f"{origin}: a member without a name: refused")
            path = _safe(info.filename, origin)
            if info.is_dir():
                continue
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                raise DataError(f"{origin}: member {_quoted(info.filename)} is a link: refused")
            if not wanted(path) and not is_archive(path.name):
                continue  # never unpacked, so its size does not count
            bound.add(info.filename, info.file_size)
            if info.flag_bits & 1:
                raise DataError(f"{origin}: member {_quoted(info.filename)} is encrypted: refused")
            with archive.open(info) as stream:
                yield from _descend(path, stream, origin, wanted, depth)


@contextmanager
def _spooled(stream: IO[bytes], what: str) -> Iterator[BinaryIO]:
    """An inner archive as a temporary file that can be searched."""
    with tempfile.TemporaryFile() as file:
        copy_bounded(stream, file, MAX_TOTAL, what)
        file.seek(0)
        yield file


def _descend(path: PurePosixPath, stream: IO[bytes], origin: str, wanted: Wanted, depth: int) -> Iterator[Member]:
    """A member itself, or what is in it where it is an archive."""
    name = path.name.lower()
    if not is_archive(name):
        if wanted(path):
            yield Member(path, stream, f"{origin}: {_words(path)}")
        return
    if is_tar(name) or name.endswith(".zip"):
        if depth < DEPTH:
            with _spooled(stream, f"{origin}: {_words(path)}") as file:
                yield from _open(file, path, f"{origin}: {_words(path)}", wanted, depth + 1)
    elif wanted(path.with_suffix("")):
        yield from _open(stream, path, f"{origin}: {_words(path)}", wanted, depth + 1)


def _open(file: IO[bytes], path: PurePosixPath, origin: str, wanted: Wanted, depth: int) -> Iterator[Member]:
    name = path.name.lower()
    if is_tar(name):
        yield from _tar(file, origin, wanted, depth)  # type: ignore[arg-type]
    elif name.endswith(".zip"):
        yield from _zip(file, origin, wanted, depth)  # type: ignore[arg-type]
    else:
        inner = path.with_suffix("")
        if wanted(inner):
            with gzip.open(file) if name.endswith(".gz") else lzma.open(file) as stream:
                yield Member(inner, cast(IO[bytes], stream), origin)


def _files(folder: Path) -> Iterator[Path]:
    """Plain files below a folder, sorted, hidden ones left out; links to folders are not followed."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if not name.startswith(".") and path.is_file():
                yield path


def members(path: Path, wanted: Wanted) -> Iterator[Member]:
    """Every wanted file of a folder, an archive, or a folder of archives.

    Args:
        path: folder or file.
        wanted: a member's path to a number above 0 where it is wanted, else 0; others are not unpacked from zips.

    Yields:
        Members whose streams are to be read before the next is asked for.

    Raises:
        DataError: nothing there, a damaged archive, or a member that is refused; the message names it.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    found = _files(path) if path.is_dir() else iter([path])
    for file in found:
        inside = PurePosixPath(*file.absolute().parts[1:])  # so that `aclImdb/train` itself is known, too
        archive = is_archive(file.name)
        if not archive and not wanted(inside):
            continue
        with translated(str(file)), file.open("rb") as stream:
            if archive:
                yield from _open(stream, inside, str(file), wanted, 1)
            else:
                yield Member(inside, stream, str(file))
