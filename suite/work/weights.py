"""Trained weights, kept where ``--keep-weights`` asks for them: those of the epoch that a record's scores are of.

One file a run, ``weights/<model>/<task>/seed0-<id>.pt`` beside ``records/``: a plain ``torch.save`` of the model's
state and of what is needed to build it again without the task's data.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch

from models.classifier import SequenceModel
from suite.errors import UsageError
from suite.names import resolve
from suite.runs import Run
from suite.work.building import model_for
from tasks.contract import Spec

VERSION = 1
_SPEC = ("input_size", "output_size", "length", "metric", "higher_is_better", "padding_index")


def packed(run: Run, spec: Spec, state: Mapping[str, torch.Tensor], *, epoch: int) -> bytes:
    """The bytes of a weights file.

    Args:
        run: what was trained.
        spec: of its task.
        state: the model's ``state_dict``, on the CPU.
        epoch: the epoch after which it was taken.
    """
    file = io.BytesIO()
    torch.save(
        {
            "version": VERSION,
            "id": run.id,
            "epoch": epoch,
            "run": run.identity(),
            "spec": {key: getattr(spec, key) for key in _SPEC},
            "model": dict(state),
        },
        file,
    )
    return file.getvalue()


def load_model(path: Path | str, *, engine: str = "auto") -> SequenceModel:
    """The trained model of a weights file, on the CPU and in evaluation mode.

    Args:
        path: a file under ``weights/`` of a results folder.
        engine: the engine that loops it over time.

    Returns:
        ``model(x, lengths)`` gives outputs (B,O) for x (B,T,I), or tokens (B,T); ``model.recurrence`` is the
        architecture alone.

    Raises:
        UsageError: the file is missing, damaged, or of another version; or the model has changed since.
    """
    run, spec, state = _read(Path(path))
    now = resolve("model", run.model).cls.version
    if now != run.model_version:
        raise UsageError(f"{path}: wanted weights of {run.model} version {now}, got version {run.model_version}")
    vectors = state.get("embedding.weight")
    model = model_for(run, spec, None if vectors is None else torch.zeros_like(vectors), engine=engine)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UsageError(f"{path}: wanted weights of {run.model} as it is now: {reason}") from error
    return model.eval()


def _read(path: Path) -> tuple[Run, Spec, dict[str, torch.Tensor]]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"{path}: wanted a file of weights: {error.strerror or error}") from error
    except Exception as error:  # torch raises many kinds for a file that is not whole, or that it did not write
        raise UsageError(f"{path}: wanted a file of weights, got a damaged or other file") from error
    try:
        version, run, spec, state = held["version"], Run.from_identity(held["run"]), Spec(**held["spec"]), held["model"]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: wanted a file of weights, got a damaged or other file") from error
    if version != VERSION:
        raise UsageError(f"{path}: wanted a file of weights of version {VERSION}, got version {version}")
    return run, spec, state
