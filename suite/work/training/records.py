"""From a trained run to its record, and from an error to a failure's."""

from __future__ import annotations

import statistics
import traceback
from dataclasses import dataclass
from typing import Any

import torch

from suite.errors import UsageError
from suite.record import SCHEMA
from suite.runs import Run
from suite.work import provenance
from suite.work.job import Job
from suite.work.training.measure import digits
from suite.work.training.peak import peak_bytes
from suite.work.training.train import Trainer
from tasks.contract import Task

_WORDS = 10_000  # characters of an error's message and of its traceback that are kept


@dataclass
class Prepared:
    """A run that is ready to train.

    Attributes:
        trainer: model, task and optimiser, at the checkpoint's position where there was one.
        engine: the engine that runs.
        state: the checkpoint's state, or None.
        prepare: seconds it took to build task and model.
        compile: seconds it took to build or load the engine; on a GPU with a first step, which compiles kernels.
        started: UTC time.
        plugins: hash of the file of a model and task that are not of this project, as the run began.
        descriptions: what these say of themselves.
    """

    trainer: Trainer
    engine: str
    state: dict[str, Any] | None
    prepare: float
    compile: float
    started: str
    plugins: dict[str, str]
    descriptions: dict[str, dict[str, str]]


def record_of(ready: Prepared, reason: str, job: Job) -> dict[str, Any]:
    """The record of a run that ended with ``reason``."""
    trainer, settings = ready.trainer, job.settings
    run, task, model = trainer.run, trainer.task, trainer.model
    times = {"prepare": ready.prepare, "compile": ready.compile, **trainer.seconds, **_step_times(trainer.step_times)}
    return {
        "schema": SCHEMA,
        "id": run.id,
        "status": "diverged" if reason == "non_finite" or not trainer.best else "done",  # no finite validation score
        "stop_reason": reason,
        "run": run.identity(),
        "sources": dict(job.sources),
        "metrics": _metrics(trainer, task),
        "seconds": {key: digits(value, 6) for key, value in times.items()},
        "size": {**model.sizes(), "peak_bytes": peak_bytes(trainer.device)},
        "curve": trainer.curve,
        "profiles": trainer.profiles,
        "where": {
            **provenance.where(settings, engine=ready.engine),
            "started": ready.started,
            "finished": provenance.now(),
            "data": dict(task.facts),
            "preset": settings.preset,
            "resumed": trainer.resumed,
            "blocks": list(model.recurrence.block_names),
            "seeds_together": len(job.runs),
            "plugins": ready.plugins,
            "descriptions": ready.descriptions,
            "legs": trainer.legs[:-1],
        },
        "error": None,
    }


def _step_times(times: list[float]) -> dict[str, float | None]:
    """Quartiles of the kept step times, the first few (warm-up) left out."""
    times = times[3:] or times
    if len(times) < 2:
        only = times[0] if times else None
        return {"step_q25": only, "step_median": only, "step_q75": only}
    low, middle, high = statistics.quantiles(times, n=4)
    return {"step_q25": low, "step_median": middle, "step_q75": high}


def _metrics(trainer: Trainer, task: Task) -> dict[str, Any]:
    best, last = trainer.best, trainer.curve[-1] if trainer.curve else {}
    return {
        "name": task.spec.metric,
        "higher_is_better": task.spec.higher_is_better,
        "test": best.get("test"),
        "test_last": last.get("test"),
        "valid": digits(best.get("valid")),
        "best_epoch": best.get("epoch"),
        "test_loss": best.get("test_loss"),
        "chance": digits(task.spec.chance),
    }


def _plugins(run: Run) -> dict[str, str]:
    try:
        return provenance.plugins(run)
    except UsageError:  # its class is gone, which may be the failure
        return {}


def failure(
    run: Run, job: Job, error: BaseException | str, started: str, trainer: Trainer | None = None
) -> dict[str, Any]:
    """The record of a run that failed: same schema, no metrics, the error in words.

    Args:
        run: the run.
        job: its job.
        error: what was raised, or, where the worker itself died, how.
        started: UTC time.
        trainer: as far as it came, or None: the epochs that it finished stand in the record.
    """
    message, dead = str(error) or type(error).__name__, isinstance(error, str)
    trace = "" if isinstance(error, str) else "".join(traceback.format_exception(error)[-6:])
    zero = dict.fromkeys(("prepare", "compile", "train", "train_processor", "train_waited", "evaluate"), 0.0)
    return {
        "schema": SCHEMA,
        "id": run.id,
        "status": "failed",
        "stop_reason": "error",
        "run": run.identity(),
        "sources": dict(job.sources),
        "metrics": {
            "name": "unknown", "higher_is_better": True,
            **dict.fromkeys(("test", "test_last", "valid", "best_epoch", "test_loss", "chance")),
        },
        "seconds": {
            **zero,
            **({} if trainer is None else {name: digits(value, 6) or 0.0 for name, value in trainer.seconds.items()}),
            **dict.fromkeys(("step_median", "step_q25", "step_q75")),
        },
        "size": {
            "parameters": 0, "embedding_parameters": 0,
            "peak_bytes": None if dead else peak_bytes(torch.device(job.settings.device)),
        },
        "curve": [] if trainer is None else trainer.curve,
        "profiles": [] if trainer is None else trainer.profiles,
        "where": {
            **provenance.where(job.settings, engine=job.settings.engine),
            "started": started, "finished": provenance.now(), "data": {}, "preset": job.settings.preset, "resumed": 0,
            "plugins": _plugins(run),
        },
        "error": {
            "type": "WorkerDied" if dead else type(error).__name__,
            "message": message[:_WORDS],
            "traceback": trace[-_WORDS:],
        },
    }  # fmt: skip
