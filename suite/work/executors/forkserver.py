"""Python's fork server, with torch loaded once: a worker starts from it in a fraction of a second.

It starts early and works beside the driver, which loads torch itself meanwhile. No torch here.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

from suite.work.stopping import held_back

PRELOAD = [
    "suite.work.executors.tied_server",
    "suite.work.training.group",
    "models.scan.fused",
    "suite.work.executors.openmp_server",
    "torch._dynamo",  # torch imports it when the first optimiser is made: 1.5 s that each worker would pay
]


def start() -> ForkServerContext:
    """Start the server unless it runs; again where it died.

    Ctrl-C and SIGTERM often go to a whole process group or job (a terminal, ``timeout``, Slurm, systemd). The driver
    alone answers them, so the server and its workers are started with both signals blocked: else the server would die
    of SIGTERM and take the workers along before their checkpoints are written.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    resource_tracker.ensure_running()  # its own start would unblock the signals
    with held_back():
        forkserver.ensure_running()
    return context


def without() -> SpawnContext:
    """A context for workers where the server cannot be reached, for its socket is gone: each loads torch by itself.

    A cluster may empty its folder of temporary files while a grid runs on it for days.
    """
    return multiprocessing.get_context("spawn")


def restore() -> None:
    """Make Python's temporary folder again if it was cleaned away: Python removes it at exit, and would complain."""
    with contextlib.suppress(OSError):
        Path(util.get_temp_dir()).mkdir(mode=0o700, parents=True, exist_ok=True)
