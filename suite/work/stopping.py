"""Ctrl-C and SIGTERM: the first asks every run to checkpoint and stop, the second ends them at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from suite.errors import INTERRUPTED, TERMINATED

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 300.0  # a worker that was asked to stop and does not is killed after this; its checkpoint stays
TRAINING = "rnnbench-training"  # name of the thread in which the inline executor trains


class Stopper:
    """Counts stop signals while it is entered as a context.

    Attributes:
        count: stop signals so far.
        exit_code: 130 after SIGINT, 143 after SIGTERM, 0 before any.
    """

    def __init__(self) -> None:
        self.count = 0
        self.exit_code = 0
        self._old: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if not self.exit_code:
            self.exit_code = INTERRUPTED if number == signal.SIGINT else TERMINATED
        if self.count > 2:  # somebody insists: leave the ordinary way
            raise KeyboardInterrupt

    def __enter__(self) -> Stopper:
        if threading.current_thread() is threading.main_thread():  # Python takes signals there alone
            for number in SIGNALS:
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old.clear()

    def ask(self) -> None:
        """Stop as after a first signal, for a reason of one's own; the exit code is the caller's affair."""
        self.count = max(self.count, 1)

    def asked(self) -> bool:
        """Whether to stop."""
        return self.count > 0

    def insisted(self) -> bool:
        """Whether to stop at once."""
        return self.count > 1


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the block with exit code 143, as long as nobody (a ``Stopper``) takes it instead."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


@contextmanager
def held_back() -> Iterator[None]:
    """Stop signals wait inside. A process started inside never sees them, nor does any that it starts."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def leave(code: int) -> int:
    """The way out of a command: its exit code, or, where a thread still trains, the end of the process here and now.

    After a second Ctrl-C nobody waits for such a thread any more, and Python's own way out can abort on it.
    """
    if not any(thread.name == TRAINING for thread in threading.enumerate()):
        return code
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
