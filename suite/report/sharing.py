"""Drawing shared among processes: a figure is a function of records alone, and matplotlib uses one core."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

T = TypeVar("T")

FEW = 40  # with fewer pieces a process costs more than it saves
MOST = 8  # processes


def processes() -> int:
    """How many processes draw: one a core that this process may use."""
    return min(MOST, len(os.sched_getaffinity(0)))


def shared(pieces: Sequence[Callable[[], T]], count: int) -> list[T]:
    """What each piece gives, in their order.

    Forked processes take their share each and end; nothing is sent to them. The share of one that fails, or that cannot
    be started, is done here, where an error is raised as it would have been.

    Args:
        pieces: functions that depend on nothing that another one changes.
        count: processes at most, this one too.
    """
    count = 1 if len(pieces) < FEW else min(count, len(pieces))
    found: dict[int, T] = {}
    others = [_start(pieces, range(k, len(pieces), count)) for k in range(1, count)]
    for i in range(0, len(pieces), count):
        found[i] = pieces[i]()
    for process, receiver in filter(None, others):
        with receiver, suppress(EOFError, OSError):
            found |= receiver.recv()
        process.join()
    return [found[i] if i in found else piece() for i, piece in enumerate(pieces)]


def _start(pieces: Sequence[Callable[[], T]], which: Sequence[int]) -> tuple[BaseProcess, Connection] | None:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(pieces, which, receiver, sender), daemon=True)
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of forks beside threads; those here are a linear algebra library's, which handles forks
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            process.start()
    except OSError:  # no process or memory left
        receiver.close()
        sender.close()
        return None
    sender.close()
    return process, receiver


def _work(pieces: Sequence[Callable[[], Any]], which: Sequence[int], receiver: Connection, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the first process speaks for all
    receiver.close()
    try:
        sender.send({i: pieces[i]() for i in which})
    except Exception:  # done again by the first process, whose error is told
        os._exit(1)
