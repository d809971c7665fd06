"""Ray's cluster: connecting to it, what it has, and the check of a grid on its nodes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

from suite.errors import SuiteError, UsageError
from suite.plan import Planned
from suite.work.executors.cluster import code, knock

try:
    import ray
    from ray.exceptions import RayError, RuntimeEnvSetupError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as missing:
    raise UsageError(f"--executor ray: wanted the package ray ({missing}): pip install 'rnnbench[ray]'") from missing


def connect(address: str | None, plugins: Iterable[str]) -> None:
    """Connect to a cluster, or start one on this machine.

    Args:
        address: ``auto``, ``host:port``, or None: ``RAY_ADDRESS``, else a cluster of this machine alone.
        plugins: names such as ``my.pkg:MyRNN``, whose packages travel to the workers too.

    Raises:
        UsageError: no cluster answers there, or another version of Ray or Python.
    """
    if ray.is_initialized():
        return
    if address not in (None, "auto", "local"):
        knock(address)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that we start tells nobody
    options: dict[str, Any] = {} if address or os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR,
            runtime_env={"py_modules": code(plugins)}, **options,
        )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UsageError(f"--executor ray: no cluster at {address or 'this machine'}: {error}") from error


def device(asked: str) -> str:
    """``cpu`` or ``cuda``, by what the cluster has.

    Raises:
        UsageError: cuda on a cluster without GPUs, or one GPU by its number.
    """
    gpus = sum(node["Resources"].get("GPU", 0) for node in nodes())
    if asked == "auto":
        return "cuda" if gpus else "cpu"
    if asked not in ("cpu", "cuda"):
        raise UsageError(f"--device: wanted auto, cpu or cuda with --executor ray, which picks the GPU, got {asked!r}")
    if asked == "cuda" and not gpus:
        raise UsageError("--device cuda: wanted a GPU, got a Ray cluster without one")
    return asked


def nodes() -> list[dict[str, Any]]:
    """The nodes that live, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


@ray.remote(num_cpus=0, max_retries=3)
def _look(planned: Sequence[Planned], args: Any) -> tuple[int | None, SuiteError | None]:
    """On a node: check the grid there; memory of its GPU in bytes, and the error a person can mend."""
    import torch

    from suite.work import checks

    memory = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None
    try:
        checks.check(planned, args)
    except SuiteError as error:
        return memory, error
    return memory, None


def check(planned: Sequence[Planned], args: Any, *, threads: int) -> int | None:
    """Check the grid on every node that can run it, each with its own data root.

    Returns:
        Bytes of the smallest GPU, or None where there is none.

    Raises:
        SuiteError: what a node found, with its address.
    """
    able = [node for node in nodes() if node["Resources"].get("CPU", 0) >= threads]
    looks = {}
    for node in able:
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        gpu = 0.01 if node["Resources"].get("GPU", 0) and planned[0].run.device_kind == "cuda" else 0
        look = _look.options(scheduling_strategy=place, num_gpus=gpu)  # type: ignore[attr-defined]
        looks[node["NodeManagerAddress"]] = look.remote(list(planned), args)
    memories = []
    for address, reference in looks.items():
        try:
            memory, error = ray.get(reference)
        except RuntimeEnvSetupError as trouble:
            raise UsageError(f"Ray node {address}: its environment cannot be made: {trouble}") from trouble
        except RayError:
            continue  # a node that left meanwhile
        if error is not None:
            raise type(error)(f"Ray node {address}: {error}", exit_code=error.exit_code)
        memories += [memory] if memory else []
    return min(memories, default=None)
