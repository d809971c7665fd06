"""Who is at work on which run: small files with a heartbeat, so that two drivers on one folder share a grid.

A claim appears by hard link, all of it or nothing, and is touched every few seconds. On the machine that made it, it
ends with its process; seen from another machine it ends when it was not touched for ``expiry`` seconds, by the clock
of the file system. Should two drivers hold one run all the same (a machine that slept), the run is computed twice and
the store keeps both records: nothing is lost.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from suite.errors import CannotWrite
from suite.files import machine, process_start, temporary, write_atomic, write_new

BEAT_SECONDS = 10.0
EXPIRY_SECONDS = 180.0  # attributes of files are cached for up to a minute by NFS clients


@dataclass(frozen=True)
class Claim:
    """What stands in a claim's file.

    Attributes:
        token: tells this claim from any other.
        machine: see ``suite.files.machine``.
        pid: process of the driver.
        start: when that process started, in clock ticks, since process numbers are used again.
    """

    token: str
    machine: str
    pid: int
    start: str

    @classmethod
    def mine(cls) -> Claim:
        """A new claim of this process."""
        return cls(secrets.token_hex(8), machine(), os.getpid(), process_start(os.getpid()) or "")


def read(path: Path) -> Claim | None:
    """The claim in a file; None where it is gone or damaged."""
    try:
        values = json.loads(path.read_bytes())
        claim = Claim(**{name: values[name] for name in ("token", "machine", "pid", "start")})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    words = (claim.token, claim.machine, claim.start)
    good = type(claim.pid) is int and 0 < claim.pid < 1 << 31 and all(isinstance(word, str) for word in words)
    return claim if good and re.fullmatch("[0-9a-f]{16}", claim.token) else None


class Claims:
    """The claims of one driver; use as a context, which keeps them alive and gives them back.

    Args:
        folder: where claims stand.
        beat: seconds between two signs of life.
        expiry: seconds without one after which another machine's claim is void.
    """

    def __init__(self, folder: Path, *, beat: float = BEAT_SECONDS, expiry: float = EXPIRY_SECONDS) -> None:
        self.folder, self.beat, self.expiry = folder, beat, expiry
        self.claim = Claim.mine()
        self._text = json.dumps(asdict(self.claim))
        self._held: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="rnnbench-claims", daemon=True)

    def __enter__(self) -> Claims:
        self.sweep()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.release(list(self._held))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.claim"

    def _live(self) -> None:
        while not self._over.wait(self.beat):
            for name in list(self._held):
                with suppress(OSError):  # a claim that cannot be touched expires: at worst the run is computed twice
                    os.utime(self._path(name))

    def take(self, name: str) -> bool:
        """Claim a run; False where another driver is at work on it, or is just claiming it.

        Raises:
            CannotWrite: the folder cannot be written.
        """
        path = self._path(name)
        if not write_new(path, self._text) and not self._take_over(path):
            return False
        self._held.add(name)
        return True

    def release(self, names: Iterable[str]) -> None:
        """Give claims back; those that another driver took meanwhile are its own."""
        for name in names:
            self._held.discard(name)
            if read(self._path(name)) == self.claim:
                _remove(self._path(name))

    def sweep(self) -> None:
        """Remove claims of drivers that are gone: of runs that have their record nobody else would."""
        for path in self.folder.glob("*.claim"):
            with suppress(CannotWrite):  # a finished grid is shown from a read-only folder too
                if self._take_over(path):
                    _remove(path)
        for right in self.folder.glob(".*.void"):
            if self._stale(right, read(right)):
                _remove(right)

    def _take_over(self, path: Path) -> bool:
        """Put this driver's claim in the place of one whose driver is gone; False where that one holds.

        Of several drivers that see it void, the one that makes a file named by the void claim has the right to it.
        """
        found = read(path)
        if not self._stale(path, found):
            return False
        right = path.with_name(f".{path.stem}.{'damaged' if found is None else found.token}.void")
        if not write_new(right, self._text):
            if self._stale(right, read(right)):
                _remove(right)
            return False
        try:
            if read(path) != found:
                return False
            write_atomic(path, self._text)
            return True
        finally:
            _remove(right)

    def _stale(self, path: Path, found: Claim | None) -> bool:
        """Whether the driver that made the file is gone."""
        if found is not None and found.machine == machine():
            start = process_start(found.pid)
            return start is None or (bool(start and found.start) and start != found.start)
        try:
            return self._clock() - path.stat().st_mtime > self.expiry
        except OSError:  # it is gone, or cannot be seen now: another look later
            return False

    def _clock(self) -> float:
        """Now, by the clock of the file system: the clocks of machines differ."""
        own = temporary(self.folder / "clock")
        try:
            own.touch()
            return own.stat().st_mtime
        finally:
            own.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    with suppress(OSError):  # a claim that cannot be removed expires
        path.unlink(missing_ok=True)
