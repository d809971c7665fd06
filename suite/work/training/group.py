"""From a job to its records: build task and model, train, measure; a failure is a record too."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models.scan.engines import broken
from suite.errors import words
from suite.record import dumps, finite, validate
from suite.runs import Run, seed_for
from suite.work import provenance
from suite.work.building import build_model, build_task, check_sizes, seeded
from suite.work.job import Finished, Job, Progress, Settings, Stopped
from suite.work.telling import tell
from suite.work.training import checkpoint as checkpoints
from suite.work.training import peak
from suite.work.training.measure import to_device, untouched
from suite.work.training.obeyed import loss_of
from suite.work.training.records import Prepared, failure, record_of
from suite.work.training.side_by_side import CannotStack, SideBySide
from suite.work.training.tf32 import allow_in_cudnn, cublas
from suite.work.training.train import StopRequested, Trainer
from suite.work.weights import packed

Event = Progress | Finished | Stopped


def prepare_process(settings: Settings) -> None:
    """Threads, flush-to-zero and determinism of this process, before any thread pool starts.

    Vanishing gradients are subnormal numbers; without flush-to-zero a step costs 4 to 12 times more.
    """
    torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(True)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
        torch.backends.cudnn.benchmark = False
    if settings.deterministic != torch.are_deterministic_algorithms_enabled():
        # not use_deterministic_algorithms, which does the same and imports all of torch's compiler, for seconds
        torch.set_deterministic_debug_mode("error" if settings.deterministic else "default")


def run_job(job: Job, report: Callable[[Event], None], should_stop: Callable[[], bool] = lambda: False) -> None:
    """Train the job's runs and report each one's record; nothing is raised for a run that fails."""
    prepare_process(job.settings)
    left = {run.id for run in job.runs}
    if len(left) > 1 and not _unfit():
        left = _train_together(job, report, should_stop)
    for run, path in zip(job.runs, job.checkpoints, strict=True):
        if run.id not in left:
            continue
        if should_stop():
            report(Stopped(run.id))
            continue
        if broken := _unfit():
            report(Finished(failure(run, job, broken, provenance.now())))
            continue
        alone = replace(job, runs=(run,), checkpoints=(path,))
        ready, started = None, provenance.now()
        try:
            _forget()
            ready = prepare(run, alone, Path(path), report, should_stop)
            with _training(ready):
                reason = ready.trainer.fit()
            report(_finished(ready, reason, alone))
        except StopRequested:
            report(Stopped(run.id))
        except (Exception, SystemExit) as error:  # whatever a plug-in raises becomes the run's own record
            report(Finished(_failed(run, alone, error, started, ready)))
            _probe(run, torch.device(job.settings.device))


def _train_together(job: Job, report: Callable[[Event], None], should_stop: Callable[[], bool]) -> set[str]:
    """Train all runs of the job side by side; ids of those that have to go one by one."""
    held: dict[str, Prepared] = {}

    def ended(trainer: Trainer, reason: str) -> None:
        """A run is over, if it diverged before the others: its record does not wait for theirs."""
        report(_finished(held.pop(trainer.run.id), reason, job))

    try:
        ready = [prepare(run, job, Path(p), report, should_stop) for run, p in zip(job.runs, job.checkpoints)]
        clock = time.perf_counter()
        together = SideBySide([one.trainer for one in ready], ended)
        tried = time.perf_counter() - clock  # it takes a step, which compiles the kernels of all
        for one in ready:
            one.compile += tried
    except Exception as error:  # told, and then each run speaks for itself
        tell(f"{job.runs[0].model} {job.runs[0].task}: seeds go one by one: {error}")
        return {run.id for run in job.runs}
    held |= {one.trainer.run.id: one for one in ready}
    try:
        with _training(ready[0]):
            together.fit()
    except StopRequested:
        for name in held:
            report(Stopped(name))
    except (Exception, SystemExit) as error:
        _probe(job.runs[0], torch.device(job.settings.device))
        if not _unfit():  # alone they go on from their checkpoints: one seed's error is not the others'
            why = str(error) if isinstance(error, CannotStack) or peak.ran_out(error) else words(error)
            tell(f"{job.runs[0].model} {job.runs[0].task}: seeds go one by one: {why.partition(chr(10))[0]}")
            return set(held)
        for one in held.values():
            report(Finished(_failed(one.trainer.run, job, error, one.started, one)))
    return set()


def _finished(ready: Prepared, reason: str, job: Job) -> Finished:
    """The run's record and weights; where a plug-in put something into it that no record holds, its failure."""
    try:
        record = validate(json.loads(dumps(finite(record_of(ready, reason, job)))))
    except (TypeError, ValueError, RecursionError) as error:
        return Finished(failure(ready.trainer.run, job, error, ready.started))
    if not job.settings.keep_weights or not ready.trainer.best:
        return Finished(record)
    return Finished(record, *_weights(ready.trainer, record))


def _failed(run: Run, job: Job, error: BaseException, started: str, ready: Prepared | None) -> dict[str, Any]:
    """The record of a failure with the epochs before it, or without them where those cannot be recorded."""
    try:
        made = failure(run, job, error, started, None if ready is None else ready.trainer)
        return validate(json.loads(dumps(finite(made))))
    except (TypeError, ValueError, RecursionError):
        return failure(run, job, error, started)


def _weights(trainer: Trainer, record: Mapping[str, Any]) -> tuple[bytes | None, str]:
    """The weights of the best epoch, or why there are none."""
    if trainer.best_weights is None:
        return None, "the best epoch came before they were asked for"
    try:
        epoch = trainer.best["epoch"]
        return packed(trainer.run, trainer.task.spec, trainer.best_weights, epoch=epoch, record=record), ""
    except Exception as error:  # of whatever a plug-in put into its model's state
        return None, f"they cannot be saved: {words(error)}"


@contextmanager
def _training(ready: Prepared) -> Iterator[None]:
    """The run's own random state while it trains; most models use none."""
    run = ready.trainer.run
    with seeded(seed_for("train", run.model, run.task, run.seed)):
        if ready.state is not None:
            torch.set_rng_state(ready.state["rng"])
            if ready.state["cuda_rng"] is not None:
                torch.cuda.set_rng_state(ready.state["cuda_rng"], ready.trainer.device)
        yield


def _prepare_device(device: torch.device, run: Run) -> None:
    """The device current, its peak counted from here; cuDNN's products as exact as the run's precision says."""
    if device.type == "cuda":
        torch.cuda.init()  # the counters do not do it themselves, and refuse a device that nothing has used yet
        if device.index is not None:
            torch.cuda.set_device(device)
        allow_in_cudnn(run.precision not in ("float32", "float64"))
        cublas()
    peak.reset(device)


def prepare(
    run: Run, job: Job, path: Path, report: Callable[[Event], None], should_stop: Callable[[], bool]
) -> Prepared:  # fmt: skip
    """Build task, model and trainer, and go to the checkpoint's position where there is one."""
    settings, clock, started = job.settings, time.perf_counter(), provenance.now()
    device = torch.device(settings.device)
    _prepare_device(device, run)
    task = build_task(run, settings.data_dir)
    check_sizes(run, task)
    task = task.to(device)

    def trainer() -> Trainer:
        model = build_model(run, task, engine=settings.engine).to(device)
        return Trainer(
            model, task, run, device=device, report=report, should_stop=should_stop,
            checkpoint=path, checkpoint_seconds=settings.checkpoint_seconds, keep_weights=settings.keep_weights,
        )  # fmt: skip

    made, state = _resumed(trainer, path, run)
    prepared, clock = time.perf_counter() - clock, time.perf_counter()
    engine = made.model.recurrence.engine_for(device, next(made.model.parameters()).dtype)
    if device.type == "cuda" and len(job.runs) == 1:  # seeds side by side try a step of their own
        _first_step(made)
    compiled = time.perf_counter() - clock
    leg = provenance.leg(settings, engine=engine, together=len(job.runs))
    made.legs = [*(one for one in made.legs if one != leg), leg]
    report(
        Progress(
            run.id,
            "start",
            made.epoch,
            run.budget.epochs,
            engine=engine,
            metric=task.spec.metric,
            resumed_from=made.epoch - 1,
        )
    )
    said = provenance.plugins(run), provenance.described(run)
    return Prepared(made, engine, state, prepared, compiled, started, *said)


def _first_step(trainer: Trainer) -> None:
    """Forward and backward of a batch, discarded: kernels are compiled or recorded here, not in a training step.

    It leaves no gradient, and puts random states and buffers back (running statistics of a third-party model).
    """
    first = next(iter(trainer.task.batches("train", trainer.recipe["batch_size"], 1)))
    batch = to_device(first, trainer.device, trainer.dtype)
    with untouched(trainer.model):
        loss_of(trainer.task, trainer.model(batch.x, batch.lengths), batch).backward()
    trainer.optimizer.zero_grad(set_to_none=True)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)


def _forget() -> None:
    """Free what an earlier run of this process left on a GPU: a later one's peak memory must not count it."""
    graph = sys.modules.get("models.scan.graph")
    if graph is not None:
        graph.clear()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # Triton's kernels and other processes take their memory from the driver


_lost: list[str] = []  # the run under which this process lost its GPU


def _probe(run: Run, device: torch.device) -> None:
    """After a failure: whether the GPU still answers. What a kernel did wrong, every later call of the process repeats.

    The error's kind does not say: Triton's, cuBLAS's and cuDNN's are plain RuntimeErrors.
    """
    if device.type == "cuda" and torch.cuda.is_initialized():
        try:
            torch.cuda.synchronize(device)
        except RuntimeError:
            _lost.append(f"{run.model} {run.task} seed {run.seed}")


def _unfit() -> str:
    """Why this process can train nothing more, or nothing: a recording, or the GPU itself, that failed."""
    if model := broken():
        failed = f"{model} could not be recorded as a CUDA graph"
    elif _lost:
        failed = f"the GPU failed under {_lost[0]}"
    else:
        return ""
    return f"not tried: {failed} in this process; --rerun failed tries again"


def _resumed(make: Callable[[], Trainer], path: Path, run: Run) -> tuple[Trainer, dict[str, Any] | None]:
    """A trainer at its checkpoint's position, with the checkpoint's state; or a new one, told why."""
    trainer = make()
    state, trouble = checkpoints.load(path, run.id)
    if state is not None:
        try:
            trainer.restore(state)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            trouble = f"checkpoint {path.name} does not fit ({type(error).__name__}): the run starts anew"
            trainer, state = make(), None  # a part of it may have been taken over
    if trouble:
        tell(trouble)
    return trainer, state
