"""Two clocks read together: the wall's, and the processor time of this process."""

from __future__ import annotations

import time


class Lap:
    """Wall-clock and processor seconds since the last reading.

    Processor time is of all threads of the process. Over a stretch of training on one thread the two are equal; less
    processor time says that the thread waited for a core that others used, or for a device.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget the time since the last reading."""
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def take(self) -> tuple[float, float]:
        """Wall-clock and processor seconds since the last reading, and restart."""
        wall, processor = self._wall, self._processor
        self.restart()
        return self._wall - wall, self._processor - processor
