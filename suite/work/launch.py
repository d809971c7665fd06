"""From checked arguments to what the driver needs: devices, data, executor, watcher."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models.scan.engines import NAMES
from suite.errors import CANNOT_WRITE, DataMissing, SuiteError, UsageError
from suite.names import resolve, unknown
from suite.plan import Planned
from suite.progress import Terminal
from suite.runs import Run
from suite.store import Store
from suite.work.driver import Executor, Watcher, cores, groups_of, split
from suite.work.group import check_sizes
from suite.work.job import Settings
from suite.work.sizes import Tasks
from suite.work.telling import tell


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


def check(
    planned: Sequence[Planned], args: argparse.Namespace, *, store: Store | None = None, dry: bool = False
) -> None:
    """Check all that is to run before anything starts: raw data, tasks, sizes, option values, engines.

    Args:
        planned: the grid.
        args: ``data_dir``, ``engine`` and ``rerun`` of ``suite.run``.
        store: runs that are finished there are not checked.
        dry: fetch nothing, and let raw data be missing.

    Raises:
        DataMissing: raw data that is missing and cannot be fetched, or that is damaged.
        UsageError: an option or hyperparameter out of range, a batch larger than the data, a plug-in that cannot be
            built, an engine that cannot run a model here.
    """
    if args.engine not in ("auto", *NAMES):
        raise UsageError(unknown("engine", args.engine, ("auto", *NAMES)))
    waiting = planned if store is None else split(planned, store, rerun_failed=args.rerun == "failed")[0]
    groups = list({one.run.group: one for one in waiting}.values())
    if not dry:
        fetch([one.run for one in groups], args.data_dir)
    for one in groups:
        _check_model(one, args)
    tasks = Tasks(args.data_dir)
    for one in groups:
        try:
            check_task(one.run, tasks)
        except DataMissing:
            if not dry:
                raise


def fetch(runs: Sequence[Run], data_dir: Path | None) -> None:
    """Fetch what raw data is missing.

    Raises:
        DataMissing: it cannot be fetched, or it is damaged.
    """
    from tasks import sources
    from tasks.contract import DataError

    needed: dict[str, None] = {}
    try:
        for run in runs:
            needed |= dict.fromkeys(resolve("task", run.task).cls.requires(**run.task_options))
        for name in needed:
            sources.ensure(name, data_dir, log=tell)
        sources.check(needed, data_dir)
    except DataError as error:
        raise _data_trouble(error) from error


def _data_trouble(error: Exception) -> DataMissing:
    """A data error with its exit code: 5 where the data root cannot be written, else 4."""
    return DataMissing(str(error), exit_code=CANNOT_WRITE if type(error).__name__ == "DataNotWritten" else None)


def check_task(run: Run, tasks: Tasks) -> None:
    """Build the task once: its own checks speak before anything is trained.

    Raises:
        DataMissing: its data is missing or damaged.
        UsageError: an option out of range, a batch larger than the data, whatever a plug-in raises.
    """
    from tasks.contract import DataError, TaskError

    try:
        check_sizes(run, tasks.get(run.task, dict(run.task_options)))
    except DataError as error:
        raise _data_trouble(error) from error
    except TaskError as error:
        raise UsageError(f"{run.task}: {error}") from error
    except SuiteError:
        raise
    except (Exception, SystemExit) as error:  # a plug-in's constructor may raise anything
        raise UsageError(f"task {run.task!r} cannot be built: {type(error).__name__}: {error}") from error


def _check_model(one: Planned, args: argparse.Namespace) -> None:
    """Build the model small, on the CPU: its own checks speak before anything is trained."""
    from models.contract import ModelError
    from models.scan.engines import EngineError
    from suite.recipes import TRAINER

    run = one.run
    options = {key: value for key, value in run.recipe.items() if key not in TRAINER}
    try:
        model = resolve("model", run.model).cls(
            2, min(run.recipe["hidden_size"], 16), engine=args.engine, **run.model_options, **options
        )
        model.precision = run.precision
        model.hidden_size = run.recipe["hidden_size"]
        dtype = torch.float64 if run.precision == "float64" else torch.float32
        model.engine_for(torch.device(run.device_kind), dtype)
    except (ModelError, EngineError) as error:
        raise UsageError(f"{run.model}: {error}") from error
    except (Exception, SystemExit) as error:  # a plug-in's constructor may raise anything
        raise UsageError(f"model {run.model!r} cannot be built: {type(error).__name__}: {error}") from error


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
    )
    if args.executor == "inline":
        from suite.work.inline import InlineExecutor

        return InlineExecutor(), settings
    if args.executor == "ray":
        return _ray(args, waiting, store, settings)
    from suite.work.processes import ProcessExecutor

    return ProcessExecutor(workers, devices=places, stall_seconds=args.stall_seconds), settings


def cluster_devices(args: argparse.Namespace) -> list[str]:
    """Connect to the Ray cluster; the kind of device that its runs use.

    Raises:
        UsageError: no cluster, no ray, or a device that it lacks.
    """
    check_options(args)
    from suite.work import ray_executor

    ray_executor.connect(args.address, [*args.models.split(","), *args.tasks.split(",")])
    return [ray_executor.device(args.device)]


def _ray(
    args: argparse.Namespace, waiting: Sequence[Planned], store: Store, settings: Settings
) -> tuple[Executor, Settings]:  # fmt: skip
    """The Ray executor, once every node has passed its check."""
    from suite.work import ray_executor
    from suite.work.cluster import gpu_shares
    from suite.work.costs import Estimator

    threads = args.threads or 1
    gpu_bytes = ray_executor.check(waiting, args, threads=threads) if waiting else None
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
