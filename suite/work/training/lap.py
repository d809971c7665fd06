"""Three clocks read together: the wall's, the processor time of this process, and its waiting for a core."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import NamedTuple

THREADS = Path("/proc/self/task")
SEEN_EVERY = 1.0  # seconds


class Times(NamedTuple):
    """What a stretch of work took, in seconds.

    Attributes:
        wall: by the wall clock.
        processor: of the processor, all threads of the process. On one thread less than ``wall`` says that the thread
            waited: for a core that others used, or for a device.
        waited: that a thread of the process stood ready without a core: of the one that waited longest, since threads
            that share a product wait for each other. NaN where the system does not tell.
    """

    wall: float
    processor: float
    waited: float


def waiting() -> dict[str, int]:
    """Nanoseconds that each thread of this process has stood ready without a core so far; empty where none is told."""
    found: dict[str, int] = {}
    try:
        threads = list(THREADS.iterdir())
    except OSError:
        return found
    for thread in threads:
        try:
            ran, waited, _ = (thread / "schedstat").read_text().split()
        except (OSError, ValueError):
            continue  # the thread has ended, or this system has no such file
        if int(ran):  # a kernel that does not count says 0
            found[thread.name] = int(waited)
    return found


class Lap:
    """The three clocks since the last reading.

    How long threads waited is looked up once a second, not at every step, and where ``restart`` and ``rest`` say so: at
    both ends of an epoch's training, so that what lies between two epochs is not counted.
    """

    def __init__(self) -> None:
        self.restart(look=True)

    def restart(self, *, look: bool = False) -> None:
        """Forget the time since the last reading; with ``look`` the waiting since then too."""
        self._wall, self._processor = time.perf_counter(), time.process_time()
        if look:
            self._waiting, self._seen_at = waiting(), self._wall

    def take(self) -> Times:
        """The times since the last reading, and restart; waiting is counted where it is looked up."""
        wall, processor = self._wall, self._processor
        self.restart()
        times = Times(self._wall - wall, self._processor - processor, 0.0)
        if self._wall - self._seen_at < SEEN_EVERY:
            return times
        return times._replace(waited=self.rest())

    def rest(self) -> float:
        """Seconds of waiting since they were last looked up, and restart."""
        before = self._waiting
        self.restart(look=True)
        longest = max((now - before.get(name, 0) for name, now in self._waiting.items()), default=math.nan)
        return longest / 1e9
