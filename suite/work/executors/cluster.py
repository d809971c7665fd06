"""A cluster, as far as it concerns no ray: its address, the code that travels there, the part of a GPU for a run."""

from __future__ import annotations

import importlib
import math
import socket
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from suite.errors import UsageError
from suite.plan import Planned

GIB = 1 << 30
OWN = ("models", "tasks", "suite")


def code(plugins: Iterable[str]) -> list[str]:
    """Folders and files of the packages that workers need beside their libraries.

    Args:
        plugins: names such as ``my.pkg:MyRNN``; a plug-in that is installed as a library is on the nodes already.
    """
    home = Path(__file__).resolve().parents[3]
    found = {name: home / name for name in OWN}
    libraries = Path(sysconfig.get_paths()["purelib"]).resolve()
    for plugin in plugins:
        top = plugin.partition(":")[0].partition(".")[0]
        if ":" in plugin and top not in found:
            module = importlib.import_module(top)
            place = Path(module.__file__ or next(iter(module.__path__))).resolve()
            place = place.parent if place.name == "__init__.py" else place
            if libraries not in place.parents:
                found[top] = place
    return [str(path) for path in found.values()]


def knock(address: str) -> None:
    """Refuse an address where nothing answers: Ray itself tries for minutes.

    Raises:
        UsageError: no ``HOST:PORT``, or nobody there.
    """
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal():
        raise UsageError(f"--address: wanted auto or HOST:PORT of the head, mostly port 6379, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"--executor ray: no cluster at {address}: {error}") from error


def gpu_share(peak_bytes: int | None, gpu_bytes: int | None) -> float:
    """The part of a GPU for one run: 1, 1/2, 1/4 or 1/8, with half as much again as estimated and 1 GiB to spare."""
    if not peak_bytes or not gpu_bytes:
        return 1.0
    part = (1.5 * peak_bytes + GIB) / gpu_bytes
    return max(0.125, 2.0 ** math.ceil(math.log2(part))) if part < 1 else 1.0


def gpu_shares(
    planned: Sequence[Planned], peaks: Mapping[str, int | None], gpu_bytes: int | None
) -> dict[str, float]:  # fmt: skip
    """The part of a GPU for each group of runs; empty for runs on CPUs.

    Args:
        planned: the runs.
        peaks: by group, bytes that a run needs.
        gpu_bytes: of the smallest GPU.
    """
    groups = {one.run.group for one in planned if one.run.device_kind == "cuda"}
    return {group: gpu_share(peaks.get(group), gpu_bytes) for group in groups}
