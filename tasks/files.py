"""Writing files so that a reader sees all of one or nothing, and hashing them."""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tasks.errors import DataNotWritten

CHUNK = 1 << 20

# What numpy and zipfile raise for a damaged .npz file: a flipped bit may ask for any compression, shape or type.
DAMAGED_ARRAYS = (OSError, ValueError, KeyError, TypeError, EOFError, OverflowError, MemoryError, RuntimeError,
                  struct.error, zlib.error, zipfile.BadZipFile)  # fmt: skip


def cannot_write(path: Path, error: OSError) -> DataNotWritten:
    """The error of a write that failed, with the system's reason."""
    return DataNotWritten(f"cannot write {path}: {error.strerror or error}; --data-dir takes another folder")


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write ``path`` through a temporary file beside it: flush, fsync, replace.

    Args:
        path: where the file is to stand; its folder is made.
        write: called with the open binary file.

    Raises:
        DataNotWritten: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # its folder may not exist
            temporary.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, so that of several processes one does the work and the others wait for it."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_sha1(path: Path) -> str:
    """Hex SHA-1 of a file as git counts it (with the header ``blob SIZE``)."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
