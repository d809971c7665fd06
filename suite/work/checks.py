"""What is checked of a grid before anything starts: raw data, tasks, sizes, option values, engines."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from models.scan.engines import NAMES
from suite.errors import CANNOT_WRITE, DataMissing, SuiteError, UsageError, unknown
from suite.names import Plugin, resolve
from suite.plan import Planned
from suite.runs import Run
from suite.store import Store
from suite.work.building import check_sizes
from suite.work.driver import split
from suite.work.estimates.sizes import Tasks
from suite.work.telling import tell


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
    for line in dict.fromkeys(_check_model(one, args) for one in groups):
        if line:
            tell(line)
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
    fetch_for([(resolve("task", run.task), run.task_options) for run in runs], data_dir)


def fetch_for(tasks: Iterable[tuple[Plugin, Mapping[str, Any]]], data_dir: Path | None) -> None:
    """As ``fetch``, of tasks with all their options."""
    from tasks import sources
    from tasks.contract import DataError

    needed: dict[str, None] = {}
    try:
        for plugin, options in tasks:
            needed |= dict.fromkeys(plugin.cls.requires(**plugin.arguments(options)))
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


def _check_model(one: Planned, args: argparse.Namespace) -> str:
    """Build the model small, on the CPU: its own checks speak before anything is trained.

    Returns:
        Why ``auto`` passes over its fastest engine on this machine, or nothing.
    """
    from models.contract import ModelError
    from models.scan.engines import EngineError, passed_over
    from suite.keys import options_of

    run = one.run
    plugin = resolve("model", run.model)
    options = plugin.arguments({**run.model_options, **options_of(plugin, run.recipe)})
    try:
        model = plugin.cls(2, min(run.recipe["hidden_size"], 16), engine=args.engine, **options)
        model.precision = run.precision
        model.hidden_size = run.recipe["hidden_size"]
        dtype = torch.float64 if run.precision == "float64" else torch.float32
        engine = model.engine_for(torch.device(run.device_kind), dtype)
        return passed_over(engine, run.device_kind) if args.engine == "auto" and hasattr(model, "cell") else ""
    except (ModelError, EngineError) as error:
        raise UsageError(f"{run.model}: {error}") from error
    except (Exception, SystemExit) as error:  # a plug-in's constructor may raise anything
        raise UsageError(f"model {run.model!r} cannot be built: {type(error).__name__}: {error}") from error
