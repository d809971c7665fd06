"""The record's fields, a sentence each: the schema that ``suite.record`` checks and ``suite.list --schema`` prints.

Units: seconds, bytes, fractions in [0,1].
"""

from __future__ import annotations

from dataclasses import dataclass

from suite.runs import SCHEMA, TRACKS


@dataclass(frozen=True)
class Field:
    """One field of the record: its type, its sentence, whether it may be null, and whether older records lack it."""

    type: type | tuple[type, ...]
    sentence: str
    null: bool = False
    late: bool = False


NUMBER = (int, float)
FIELDS: dict[str, Field] = {
    "schema": Field(int, f"Version of this schema; {SCHEMA} today."),
    "id": Field(str, "First 12 hex digits of sha256 over the canonical JSON of `run`."),
    "status": Field(
        str, "done, diverged (loss or gradient norm not finite), or failed (an error; only under failures/)."
    ),
    "stop_reason": Field(str, "budget (all epochs), max_seconds, non_finite, or error."),
    "run": Field(dict, "The run's identity: everything that can change the numbers (suite/runs.py)."),
    "run.model": Field(str, "Name in the model table, or my.pkg:MyRNN."),
    "run.task": Field(str, "Name in the task table, or my.pkg:MyTask."),
    "run.seed": Field(int, "Seeds of data and initialisation are drawn from it."),
    "run.model_version": Field(int, "Version of the model's class."),
    "run.task_version": Field(int, "Version of the task's class."),
    "run.model_options": Field(dict, "Options that the model table's row fixes."),
    "run.task_options": Field(dict, "Every option of the task, the data variant among them."),
    "run.recipe": Field(
        dict, "Keys of the trainer (later ones where they differ from their default) and of the model."
    ),
    "run.budget": Field(dict, "How long it may train."),
    "run.budget.epochs": Field(int, "Epochs at most."),
    "run.budget.max_seconds": Field(NUMBER, "Training seconds at most.", True),
    "run.track": Field(str, f"One of {', '.join(TRACKS)}."),
    "run.precision": Field(str, "Arithmetic of the recurrence."),
    "run.device_kind": Field(str, "cpu or cuda."),
    "sources": Field(
        dict, "For each key of the recipe, where its value comes from: published, adapted, tuned here, default or set."
    ),
    "metrics": Field(dict, "The figures of merit; each in the task's metric."),
    "metrics.name": Field(str, "accuracy (a fraction), mse, or a third-party task's own."),
    "metrics.higher_is_better": Field(bool, "Whether a larger value is better."),
    "metrics.test": Field(NUMBER, "Test metric at the epoch with the best validation metric: the headline.", True),
    "metrics.test_last": Field(NUMBER, "Test metric after the last epoch.", True),
    "metrics.valid": Field(NUMBER, "Best validation metric.", True),
    "metrics.best_epoch": Field(int, "Epoch (from 1) of the best validation metric.", True),
    "metrics.test_loss": Field(NUMBER, "Mean test loss at the best epoch.", True),
    "metrics.chance": Field(NUMBER, "Metric of a constant guess.", True),
    "seconds": Field(dict, "Wall-clock times."),
    "seconds.prepare": Field(NUMBER, "Building task and model."),
    "seconds.compile": Field(NUMBER, "Building or loading the engine's kernels."),
    "seconds.train": Field(NUMBER, "Training steps, all parts of an interrupted run added."),
    "seconds.train_processor": Field(
        NUMBER,
        "Processor time of the process (all threads) in those steps: with one thread on a CPU, less than `train` where "
        "other work had the core.",
        late=True,
    ),
    "seconds.train_waited": Field(
        NUMBER,
        "Time in those steps that a thread stood ready while other work had the cores (the thread that waited "
        "longest); null where the system does not tell.",
        null=True,
        late=True,
    ),
    "seconds.evaluate": Field(NUMBER, "Evaluations and gradient profiles."),
    "seconds.step_median": Field(NUMBER, "Median of a training step.", True),
    "seconds.step_q25": Field(NUMBER, "Lower quartile of a training step.", True),
    "seconds.step_q75": Field(NUMBER, "Upper quartile of a training step.", True),
    "size": Field(dict, "Sizes of the model and of the process."),
    "size.parameters": Field(int, "Trained parameters with read-out, embedding left out."),
    "size.embedding_parameters": Field(int, "Trained parameters of the embedding; 0 where there is none."),
    "size.peak_bytes": Field(int, "Peak memory: of the process on a CPU, of the device on a GPU.", True),
    "curve": Field(list, "One entry an epoch, from 1 on: the fields of CURVE."),
    "profiles": Field(list, "Gradient profiles: the fields of PROFILE."),
    "where": Field(dict, "Provenance: what ran it, where and when; not part of the id."),
    "error": Field(dict, "type and message of the error of a failed run.", True),
}
CURVE: dict[str, Field] = {
    "epoch": Field(int, "From 1."),
    "steps": Field(int, "Optimiser steps so far."),
    "train_loss": Field(NUMBER, "Mean training loss over the epoch, as seen before each step.", True),
    "valid": Field(NUMBER, "Validation metric after the epoch.", True),
    "valid_loss": Field(NUMBER, "Mean validation loss after the epoch.", True),
    "test": Field(
        NUMBER, "Test metric after the epoch; null where the recipe evaluates test only at a new best.", True
    ),
    "test_loss": Field(NUMBER, "Mean test loss after the epoch.", True),
    "seconds": Field(NUMBER, "Training seconds so far."),
    "grad_norm": Field(
        list,
        "Quantiles 0, 0.1, 0.5, 0.9, 1 of the total gradient norm (before clipping) over the epoch's steps.",
    ),
    "lr": Field(NUMBER, "Learning rate of the epoch's last step."),
    "diagnostics": Field(dict, "What the model measures of itself after the epoch."),
}
PROFILE: dict[str, Field] = {
    "epoch": Field(int, "After this epoch; 0 is the untrained model."),
    "length": Field(int, "T of the examples."),
    "t": Field(list, "Time steps (from 0) at which the norms stand; 512 at most."),
    "norms": Field(
        list,
        "One list a state block (block 0 is h): Frobenius norm over (B, block) of dL/d(state_t). On a CPU "
        "numbers below 1.2e-38 are flushed to zero: norms under 1e-30 are no measurement.",
    ),
}
WHERE: dict[str, Field] = {
    "cpu": Field(str, "Processor model."),
    "capability": Field(str, "Instruction set that torch uses on the processor: AVX2, AVX512.", late=True),
    "features": Field(list, "Instruction sets of the processor that change the last bits of results.", late=True),
    "gpu": Field(str, "GPU model.", True),
    "driver": Field(str, "Version of the GPU's driver.", True, late=True),
    "cuda": Field(str, "Version of CUDA that torch was built with, where a GPU ran.", True, late=True),
    "cores": Field(int, "Cores the process could use."),
    "host": Field(str, "First 8 hex digits of a hash of the host's name."),
    "threads": Field(int, "Threads of the run."),
    "engine": Field(str, "Engine that ran, not the one asked for by auto."),
    "deterministic": Field(bool, "Whether torch was asked for deterministic algorithms.", late=True),
    "libraries": Field(dict, "Versions of python, torch, numpy and of this package."),
    "commit": Field(str, "Commit of the code, where it is a checkout.", True),
    "dirty": Field(bool, "Whether the checkout had uncommitted changes.", True),
    "shared_device": Field(bool, "Whether other runs trained on the machine at the same time."),
    "started": Field(str, "UTC time, ISO 8601."),
    "finished": Field(str, "UTC time, ISO 8601."),
    "data": Field(dict, "The task's own facts: data variant, provenance of the files, normalisation."),
    "preset": Field(str, "Preset the run was asked with.", True),
    "resumed": Field(int, "How many times the run went on from a checkpoint."),
    "blocks": Field(list, "Names of the state blocks of the profiles.", late=True),
    "legs": Field(list, "Parts of a resumed run by another machine, engine, thread count or seed group.", late=True),
    "plugins": Field(dict, "Of a third-party model or task: hash of the file that holds its class.", late=True),
    "descriptions": Field(dict, "Of the same: first words of its docstring, its source, its title.", late=True),
    "seeds_together": Field(int, "Seeds that were trained side by side in one process.", late=True),
}
