"""Files that are there in full or not at all, and who writes them: the ground that the store stands on.

Nothing here needs file locks, so the folder may lie on a network file system and several processes may write into it:
names appear by hard link, which fails where the name is taken (and by rename where there are no hard links).
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

from suite.errors import CannotWrite

_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}  # some network file systems
_TEMPORARY = re.compile(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.tmp$")


@functools.cache
def machine() -> str:
    """8 hex digits for this boot of this machine (or container): where they agree, process numbers can be compared."""
    words = [platform.node()]
    with suppress(OSError):
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        words.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


machine()  # looked up now: later a process may have no file left to open, and would take another name for good


def process_start(pid: int) -> str | None:
    """When a process of this machine started, in clock ticks; ``""`` where only its being is known; None: it is gone.

    A zombie counts as gone: it will write no more.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            return ""
        return ""
    return None if fields[0] in ("Z", "X") else fields[19]


def temporary(path: Path) -> Path:
    """A name beside ``path`` that says who writes it, so that what a killed process leaves can be removed."""
    return path.with_name(f".{path.name}.{machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each one's name safe on disk."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _write(path: Path, text: str | bytes, *, new: bool) -> bool:
    data = text.encode() if isinstance(text, str) else text
    own = temporary(path)
    try:
        make_folder(path.parent)
        try:
            with own.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            written = _link(own, path) if new else bool(own.replace(path))
        finally:
            with suppress(OSError):  # the reason of the first error is the one to tell
                own.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error
    return written


def _link(own: Path, path: Path) -> bool:
    """Give the finished file its name; False where the name is taken."""
    try:
        os.link(own, path)
    except FileExistsError:
        with suppress(OSError):  # over NFS an answer may be lost, and the link, asked for again, is found made
            return own.samefile(path)
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        own.replace(path)
    return True


def write_atomic(path: Path, text: str | bytes) -> None:
    """Write a file so that a reader sees all of it or nothing, whatever dies when.

    Temporary file in the same folder, flush, fsync, replace, fsync of the folder.

    Raises:
        CannotWrite: with the path and the system's reason.
    """
    _write(path, text, new=False)


def write_new(path: Path, text: str | bytes) -> bool:
    """As ``write_atomic``, but a file that is there is kept.

    Returns:
        False where a file of that name is there.

    Raises:
        CannotWrite: with the path and the system's reason.
    """
    return _write(path, text, new=True)


def abandoned(path: Path, *, grace: float, foreign: float) -> bool:
    """Whether the writer of a temporary file is gone for good.

    Args:
        path: the temporary file.
        grace: seconds that a file of a dead process of this machine is left alone.
        foreign: the same for files of other machines, whose processes cannot be seen.
    """
    match = _TEMPORARY.search(path.name)
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    if match and match[1] == machine():
        return process_start(int(match[2])) is None and age >= grace
    return age >= foreign
