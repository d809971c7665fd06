"""What an executor hands to a worker and what comes back. Plain values only: they cross process borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.runs import Run


@dataclass(frozen=True)
class Settings:
    """How to run, as against what: nothing here is part of a run's id.

    Attributes:
        engine: engine asked for.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        threads: threads of one run.
        data_dir: data root.
        checkpoint_seconds: a checkpoint is due after so many, and written between two steps.
        deterministic: ask torch for deterministic algorithms.
        shared_device: other runs train on the same machine at the same time.
        preset: preset asked for.
        seeds_per_run: seeds that one worker trains side by side.
        keep_weights: hand the weights of the best epoch back with the record.
        code: commit of the code and whether it has changes, as the driver sees it; None: the worker looks itself.
    """

    engine: str = "auto"
    device: str = "cpu"
    threads: int = 1
    data_dir: str | None = None
    checkpoint_seconds: float = 60.0
    deterministic: bool = False
    shared_device: bool = False
    preset: str | None = None
    seeds_per_run: int = 1
    keep_weights: bool = False
    code: tuple[str | None, bool | None] | None = None


@dataclass(frozen=True)
class Job:
    """Runs that one worker trains: one, or several seeds of one run side by side.

    Attributes:
        runs: they differ in their seed alone.
        sources: the source of each recipe value.
        settings: how to run.
        checkpoints: a checkpoint path for each run.
    """

    runs: tuple[Run, ...]
    sources: Mapping[str, str]
    settings: Settings
    checkpoints: tuple[str, ...]

    @property
    def key(self) -> str:
        """A name for the job: the first run's id."""
        return self.runs[0].id


@dataclass(frozen=True)
class Progress:
    """A sign of life from a run in training.

    Attributes:
        id: the run's id.
        kind: ``start``, ``step`` or ``epoch``.
        epoch: the epoch in work, or just finished, from 1.
        epochs: epochs of the budget.
        step: steps done in this epoch.
        steps: steps of an epoch.
        seconds: training seconds so far.
        row: the curve's entry, with ``epoch``.
        best: best validation metric so far.
        engine: the engine that runs, with ``start``.
        resumed_from: epoch a checkpoint went on from, with ``start``.
        metric: the metric's name, with ``start``.
    """

    id: str
    kind: str
    epoch: int
    epochs: int
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    row: Mapping[str, Any] = field(default_factory=dict)
    best: float | None = None
    engine: str = ""
    resumed_from: int = 0
    metric: str = ""


@dataclass(frozen=True)
class Finished:
    """A run's record, finished, diverged or failed.

    Attributes:
        record: as it is written.
        weights: the bytes of a weights file, where one was asked for and there is one.
        lacking: why there is none, where one was asked for.
    """

    record: Mapping[str, Any]
    weights: bytes | None = None
    lacking: str = ""


@dataclass(frozen=True)
class Stopped:
    """A run stopped on request; its checkpoint is written."""

    id: str
