"""Download: resumes, retries, takes the next mirror, and never leaves a half file under the final name.

A download grows as ``NAME.part``. It gets its name only when size and checksum are right; then it is unpacked like
any import, which checks the unpacked files too. (pooch cannot resume and knows one address a file, so the transfer
is written here on ``urllib``.)
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from tasks.catalogue import source
from tasks.errors import DataError
from tasks.files import CHUNK, cannot_write, locked, sha256
from tasks.importing import import_path
from tasks.source_types import Download, Log
from tasks.verifying import inspect


@dataclass(frozen=True)
class Patience:
    """How long a download goes on trying.

    Attributes:
        timeout: seconds without any data before a connection counts as dead.
        tries: connections to one mirror before the next one is taken.
        pause: seconds before the second try; doubled for each further one.
    """

    timeout: float = 30.0
    tries: int = 4
    pause: float = 1.0


class _Refused(Exception):
    """This mirror will not deliver the file: take the next one."""


class _Cut(Exception):
    """The transfer broke off: go on from where it is."""


def _words(error: object) -> str:
    """An error of the network in one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__


def _open(url: str, offset: int, timeout: float) -> http.client.HTTPResponse:
    headers = {"User-Agent": "rnnbench", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        kind = _Cut if error.code >= 500 or error.code in (408, 429) else _Refused
        raise kind(f"HTTP {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        kind = _Refused if isinstance(reason, socket.gaierror) else _Cut  # an unknown host stays unknown
        raise kind(_words(reason)) from error


def _is_page(kind: str, start: bytes) -> bool:
    """Whether a web page came in place of the file."""
    text = start.lstrip()[:15].lower()
    return kind.startswith("text/html") or text.startswith((b"<!doctype html", b"<html"))


def _receive(answer: http.client.HTTPResponse, file: BinaryIO, limit: int, timeout: float) -> None:
    """Append the answer to ``file``, at most up to ``limit`` bytes."""
    announced = answer.headers.get("Content-Length")
    wanted = file.tell() + int(announced) if announced and announced.isdigit() else None
    if wanted is not None and wanted > limit:
        raise _Refused(f"it announces {wanted:,} bytes, wanted at most {limit:,}")
    kind = (answer.headers.get("Content-Type") or "").lower()
    while True:
        try:
            chunk = answer.read(CHUNK)
        except TimeoutError as error:
            raise _Cut(f"no data for {timeout:g} s") from error
        except (http.client.HTTPException, OSError) as error:
            raise _Cut(_words(error)) from error
        if not chunk:
            break
        if file.tell() == 0 and _is_page(kind, chunk):
            raise _Refused("a web page came in place of the file")
        if file.tell() + len(chunk) > limit:
            raise _Refused(f"more than {limit:,} bytes came")
        file.write(chunk)
    if wanted is not None and file.tell() < wanted:
        raise _Cut(f"cut off at {file.tell():,} of {wanted:,} bytes")


def _transfer(url: str, part: Path, download: Download, timeout: float) -> None:
    """One connection: go on from the bytes that ``part`` has, or start anew where the mirror cannot."""
    offset = part.stat().st_size if part.exists() else 0
    if download.bytes is not None and offset == download.bytes:
        return  # all of it is there: only the checksum was missing
    with _open(url, offset, timeout) as answer:
        resumed = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(f"bytes {offset}-")
        with part.open("ab" if resumed else "wb") as file:
            _receive(answer, file, download.bytes or download.max_bytes, timeout)


def _check(part: Path, download: Download) -> None:
    size = part.stat().st_size
    if download.bytes is not None and size != download.bytes:
        raise _Refused(f"{size:,} bytes came, wanted {download.bytes:,}")
    if download.sha256 and (found := sha256(part)) != download.sha256:
        raise _Refused(f"sha256 {found[:12]}…, wanted {download.sha256[:12]}…")


def _from_mirror(url: str, part: Path, download: Download, patience: Patience, log: Log) -> None:
    """Get the whole file from one mirror; raises ``_Refused`` or ``_Cut`` where it will not come."""
    for attempt in range(1, patience.tries + 1):
        started_at = part.stat().st_size if part.exists() else 0
        try:
            _transfer(url, part, download, patience.timeout)
            _check(part, download)
            return
        except _Refused:
            part.unlink(missing_ok=True)
            if not started_at or attempt == patience.tries:
                raise
            log(f"{download.file}: what an earlier try left does not fit, starting anew")
        except _Cut as error:
            if attempt == patience.tries:
                raise
            log(f"{download.file}: {error}; trying again ({attempt + 1} of {patience.tries})")
            time.sleep(patience.pause * 2 ** (attempt - 1))


def download_file(download: Download, folder: Path, *, log: Log, patience: Patience) -> Path:
    """Download one file into ``folder``, from the first mirror that delivers it.

    Returns:
        The file; it has the right size and checksum, where these are known.

    Raises:
        DataError: no mirror delivered it; the message gives the reason of each.
    """
    path, part = folder / download.file, folder / f"{download.file}.part"
    if path.is_file():
        return path
    reasons = []
    for mirror in download.mirrors:
        host = urlsplit(mirror.url).netloc
        log(f"{download.file}: downloading from {host}")
        try:
            _from_mirror(mirror.url, part, download, patience, log)
        except (_Refused, _Cut) as error:
            reasons.append(f"{host}: {error}")
            log(f"{download.file}: {reasons[-1]}")
            continue
        part.replace(path)
        return path
    raise DataError(f"{download.file}: no mirror delivered it ({'; '.join(reasons)})")


def offline() -> bool:
    """Whether ``RNNBENCH_OFFLINE`` forbids connections (set, and not 0)."""
    return os.environ.get("RNNBENCH_OFFLINE", "0") not in ("", "0")


def fetch(name: str, root: Path, *, log: Log, patience: Patience = Patience()) -> None:
    """Download a data set and import it into the data root.

    Args:
        name: key of ``tasks.sources.SOURCES``.
        root: the data root.
        log: called with one line at a time.
        patience: time-outs and retries.

    Raises:
        DataError: offline, no mirror delivered a file, or what came is not the data set.
        DataNotWritten: the data root cannot be written.
    """
    known = source(name)
    if known.bundled:
        return
    if offline():
        raise DataError(f"{name}: RNNBENCH_OFFLINE is set, nothing is downloaded: use 'rnnbench data import PATH'")
    folder = root / "downloads" / name
    try:
        before = inspect(name, root, deep=False).usable
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(root / "downloads" / f".{name}.lock"):
            if not before and inspect(name, root, deep=False).usable:  # another process fetched it meanwhile
                return
            folder.mkdir(exist_ok=True)
            log(f"{name}: fetching it into {root}")
            for download in known.downloads:
                download_file(download, folder, log=log, patience=patience)
            try:
                import_path(folder, root, log=log)
            finally:
                shutil.rmtree(folder, ignore_errors=True)  # what was refused must not be taken for good again
    except OSError as error:
        raise cannot_write(folder, error) from error
    except DataError as error:
        if type(error) is not DataError:
            raise
        raise DataError(f"{name}: {error}; 'rnnbench data import PATH' takes a copy from elsewhere") from error
