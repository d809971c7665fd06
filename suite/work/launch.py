"""From checked arguments to what the driver needs: devices, executor, watcher."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from suite.errors import UsageError
from suite.plan import Planned
from suite.store import Store
from suite.work.driver import Executor, Watcher, cores, groups_of, split
from suite.work.estimates.sizes import Tasks
from suite.work.job import Settings
from suite.work.terminal import Terminal


def devices(asked: str) -> list[str]:
    """Devices for ``--device``: every visible GPU, or the CPU.

    Raises:
        UsageError: an unknown device, a GPU that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return [f"cuda:{i}" for i in range(count)] or ["cpu"]
    if asked == "cpu":
        return ["cpu"]
    kind, _, index = asked.partition(":")
    if kind != "cuda" or (":" in asked and not index.isdecimal()):
        raise UsageError(f"--device: wanted auto, cpu, cuda or cuda:N, got {asked!r}")
    if count == 0:
        reason = "this torch is a CPU build" if torch.version.cuda is None else "no GPU or no driver is visible"
        raise UsageError(f"--device {asked}: wanted a GPU, got none: {reason}")
    if not index:
        return [f"cuda:{i}" for i in range(count)]
    if int(index) >= count:
        raise UsageError(f"--device {asked}: wanted one of cuda:0 to cuda:{count - 1}, got {asked}")
    return [asked]


def executor(
    args: argparse.Namespace, planned: Sequence[Planned], store: Store, found: Sequence[str]
) -> tuple[Executor, Settings]:
    """The executor asked for, and how its workers run."""
    check_options(args)
    waiting, _ = split(planned, store, rerun_failed=args.rerun == "failed")
    slots = len(found) if found[0] != "cpu" else cores()
    workers = min(args.jobs or slots, max(1, len(groups_of(waiting, args.seeds_per_run))))
    if args.executor == "inline":
        workers = 1
    # From the whole grid, not from what is left of it: another number of threads changes a run's last bits.
    most = 1 if args.executor == "inline" else min(args.jobs or slots, len(groups_of(planned, args.seeds_per_run)))
    threads = args.threads or max(1, cores() // max(1, most))
    places = [found[i % len(found)] for i in range(workers)]
    settings = Settings(
        engine=args.engine,
        device=places[0],
        threads=threads,
        data_dir=None if args.data_dir is None else str(Path(args.data_dir).absolute()),
        checkpoint_seconds=args.checkpoint_seconds,
        deterministic=args.deterministic,
        shared_device=workers > 1,
        seeds_per_run=args.seeds_per_run,
        keep_weights=args.keep_weights,
    )
    if args.executor == "inline":
        from suite.work.executors.inline import InlineExecutor

        return InlineExecutor(), settings
    if args.executor == "ray":
        return _ray(args, waiting, store, settings)
    from suite.work.executors.processes import ProcessExecutor

    return ProcessExecutor(workers, devices=places, stall_seconds=args.stall_seconds), settings


def cluster_devices(args: argparse.Namespace) -> list[str]:
    """Connect to the Ray cluster; the kind of device that its runs use.

    Raises:
        UsageError: no cluster, no ray, or a device that it lacks.
    """
    check_options(args)
    from suite.work.executors import ray_cluster

    ray_cluster.connect(args.address, [*args.models.split(","), *args.tasks.split(",")])
    return [ray_cluster.device(args.device)]


def _ray(
    args: argparse.Namespace, waiting: Sequence[Planned], store: Store, settings: Settings
) -> tuple[Executor, Settings]:  # fmt: skip
    """The Ray executor, once every node has passed its check."""
    from suite.work.estimates.costs import Estimator
    from suite.work.executors import ray_cluster, ray_executor
    from suite.work.executors.cluster import gpu_shares

    threads = args.threads or 1
    gpu_bytes = ray_cluster.check(waiting, args, threads=threads) if waiting else None
    peaks: dict[str, int | None] = {}
    if gpu_bytes is not None:
        estimator = Estimator(store, Tasks(args.data_dir))
        one_each = {one.run.group: one for one in waiting}
        peaks = {group: estimator(one).memory_bytes for group, one in one_each.items()}
        peaks = {group: peak and peak * args.seeds_per_run for group, peak in peaks.items()}
    made = ray_executor.RayExecutor(
        threads=threads, shares=gpu_shares(waiting, peaks, gpu_bytes), most=args.jobs, stall_seconds=args.stall_seconds
    )
    return made, replace(settings, threads=threads, shared_device=True)


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that the executor would ignore."""
    if args.executor == "inline":
        if args.stall_seconds is not None:
            raise UsageError("--stall-seconds: wanted --executor processes or ray: inline has no process to end")
        if (args.jobs or 1) > 1:
            raise UsageError(f"--jobs: wanted 1 with --executor inline, got {args.jobs}")
    if args.stall_seconds == 0:
        raise UsageError("--stall-seconds: wanted > 0, got 0")
    if getattr(args, "address", None) is not None and args.executor != "ray":
        raise UsageError(f"--address: wanted --executor ray, got {args.executor}")


def watcher(args: argparse.Namespace, *, blind: bool = False) -> Watcher:
    """The terminal, and a mirror where asked for; ``blind``: without test scores."""
    terminal: Any = Terminal(blind=blind)
    if args.mirror:
        from suite.work.mirror import Together, build

        return Together([terminal, build(args.mirror, args.results_dir)])
    return terminal
