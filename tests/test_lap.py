"""What a stretch of training took: by the clock, of the processor, and waiting for a core."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time

import pytest

from suite.work.training.lap import Lap, waiting


def test_a_lap_tells_work_from_waiting():
    lap = Lap()
    while time.process_time() - lap._processor < 0.02:
        pass
    wall, processor, _ = lap.take()
    assert wall > 0 and processor >= 0.02
    time.sleep(0.1)
    wall, processor, _ = lap.take()
    assert processor < 0.05 < 0.1 <= wall


@pytest.mark.skipif(not waiting(), reason="this system does not tell how long a thread waits for a core")
def test_a_lap_tells_how_long_a_thread_waited_for_its_core():
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # of this thread; the child takes it over
    try:
        with subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=-1) as other:
            assert other.stdout is not None
            other.stdout.readline()
            lap, wall, waited = Lap(), 0.0, 0.0
            for _ in range(8):  # short epochs: training of a tenth of a second, then something else
                lap.restart(look=True)
                for _ in range(10):
                    end = time.perf_counter() + 0.01
                    while time.perf_counter() < end:
                        pass
                    times = lap.take()
                    wall, waited = wall + times.wall, waited + times.waited
                waited += lap.rest()
                time.sleep(0.05)
            other.kill()
    finally:
        os.sched_setaffinity(0, cores)
    assert 0.1 * wall < waited <= 1.05 * wall


def test_without_an_answer_of_the_system_waiting_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr("suite.work.training.lap.THREADS", tmp_path)
    assert math.isnan(Lap().rest())
    for text in ("0 0 0", "no numbers", ""):
        (tmp_path / "1").mkdir(exist_ok=True)
        (tmp_path / "1" / "schedstat").write_text(text)
        assert waiting() == {}
