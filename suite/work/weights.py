"""Trained weights, kept where ``--keep-weights`` asks for them: those of the epoch that a record's scores are of.

One file a run, ``weights/<model>/<task>/seed0-<id>.pt`` beside ``records/``: a plain ``torch.save`` of the model's
state, of what is needed to build it again without the task's data, and of the record's checksum, so that weights of
another training of the same run are not taken for those of the record.
"""

from __future__ import annotations

import copy
import hashlib
import io
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.classifier import SequenceModel
from suite.errors import UsageError, unknown, words
from suite.names import resolve
from suite.record import dumps
from suite.runs import Run
from suite.work import provenance
from suite.work.building import build_task, model_for
from suite.work.training.measure import evaluate, evaluation_batch
from tasks.contract import SPLITS, Spec, Split, Task, TaskError

VERSION = 1
_SPEC = {
    "input_size": int, "output_size": int, "length": int, "metric": str, "higher_is_better": bool, "every_step": bool,
}  # fmt: skip


def held(model: nn.Module) -> dict[str, Any]:
    """The model's state, copied to the CPU."""
    return {
        name: value.to("cpu", copy=True) if isinstance(value, torch.Tensor) else copy.deepcopy(value)
        for name, value in model.state_dict().items()
    }


def packed(run: Run, spec: Spec, state: Mapping[str, Any], *, epoch: int, record: Mapping[str, Any]) -> bytes:
    """The bytes of a weights file, read back once.

    Args:
        run: what was trained.
        spec: of its task.
        state: as ``held`` gave it.
        epoch: the epoch after which it was held.
        record: the run's record.
    """
    padding = None if spec.padding_index is None else int(spec.padding_index)
    file = io.BytesIO()
    torch.save(
        {
            "version": VERSION,
            "id": run.id,
            "epoch": epoch,
            "run": run.identity(),
            "spec": {**{key: kind(getattr(spec, key)) for key, kind in _SPEC.items()}, "padding_index": padding},
            "model": dict(state),
            "record": _digest(dumps(record).encode()),
            "plugins": dict(record["where"].get("plugins", {})),
        },
        file,
    )
    data = file.getvalue()
    torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return data


@dataclass(frozen=True)
class Trained:
    """A trained model and where it comes from.

    Attributes:
        model: on the CPU, in evaluation mode: ``model(x, lengths)`` gives outputs (B,O), or (B,T,O) where the task
            reads out every step, for x (B,T,I), or tokens (B,T). ``model.recurrence`` is the architecture alone, which
            takes x (T,B,I).
        run: what was trained; its id is the record's.
        epoch: the epoch with the best validation score, after which the weights were taken.
    """

    model: SequenceModel
    run: Run
    epoch: int

    def task(self, data_dir: Path | str | None = None) -> Task:
        """The task as the run had it: ``task.batches("test", 100, 0)`` yields the batches that were tested."""
        return build_task(self.run, None if data_dir is None else str(data_dir))

    def score(self, split: Split = "test", *, data_dir: Path | str | None = None) -> float:
        """The metric of a split, as the suite measures it: of ``test`` the score that the record has.

        Args:
            split: ``train``, ``valid`` or ``test``.
            data_dir: root of the raw data, or None for the default one.

        Raises:
            UsageError: there is no such split.
            tasks.contract.DataError: raw data is missing or damaged.
        """
        if split not in SPLITS:
            raise UsageError(unknown("split", str(split), SPLITS))
        task = self.task(data_dir)
        device = next(self.model.parameters()).device
        size, training = evaluation_batch(task, self.run.recipe, device), self.model.training
        found, _ = evaluate(self.model, task, split, batch_size=size, device=device)
        self.model.train(training)
        return found


def load_trained(path: Path | str, *, engine: str = "auto") -> Trained:
    """The trained model of a weights file; needs no data, and for a plug-in's model its module.

    A model that was trained with tf32 or bf16 products computes in float32, since only a GPU has the others; there set
    ``model.recurrence.precision``. One of a float64 run takes float64. A plug-in's model or task whose file is another
    than the one that was trained is warned of: it may compute something else.

    Args:
        path: a file under ``weights/`` of a results folder.
        engine: the engine that loops the model over time.

    Raises:
        UsageError: the file is missing or damaged, of another version, or not of the record beside it; or the model
            has changed since.
    """
    path = Path(path)
    found = _read(path)
    try:
        run, spec, state = Run.from_identity(found["run"]), Spec(**found["spec"]), dict(found["model"])
        epoch, digest = int(found["epoch"]), str(found["record"])
    except TaskError as error:
        raise UsageError(f"{path}: {error}") from error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: wanted a file of weights, got a damaged or other file") from error
    _check_record(path, digest)
    try:
        now = resolve("model", run.model).cls.version
        if now != run.model_version:
            raise UsageError(f"wanted {run.model} of version {now}, got version {run.model_version}")
        vectors = state.get("embedding.weight")
        model = model_for(run, spec, lambda: None if vectors is None else torch.zeros_like(vectors), engine=engine)
        if run.precision in ("tf32", "bf16"):
            model.recurrence.precision = "float32"
        model.load_state_dict(state)
        model.recurrence.engine_for(torch.device("cpu"), next(model.parameters()).dtype)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:  # a plug-in, or a class that has changed, may raise anything
        raise UsageError(f"{path}: {run.model} cannot be built: {words(error)}") from error
    for name in sorted(provenance.changed(run, found.get("plugins"))):
        warnings.warn(f"{path}: the code of {name} has changed since these weights were trained", stacklevel=2)
    return Trained(model.eval(), run, epoch)


def _read(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            whole = archive.testzip() is None  # torch itself leaves the archive's checksums unread
        found = torch.load(path, map_location="cpu", weights_only=True) if whole else None
    except OSError as error:
        raise UsageError(f"{path}: wanted a file of weights: {error.strerror or error}") from error
    except Exception as error:  # zipfile and torch raise many kinds for a file that is not whole
        raise UsageError(f"{path}: wanted a file of weights, got a damaged or other file") from error
    if not isinstance(found, dict) or "version" not in found:
        raise UsageError(f"{path}: wanted a file of weights, got a damaged or other file")
    if found["version"] != VERSION:
        raise UsageError(f"{path}: wanted a file of weights of version {VERSION}, got version {found['version']}")
    return found


def _check_record(path: Path, digest: str) -> None:
    """Refuse weights of another training than that of the record beside them."""
    parts = path.absolute().parts
    if len(parts) < 4 or parts[-4] != "weights":
        return
    record = Path(*parts[:-4], "records", *parts[-3:]).with_suffix(".json")
    try:
        text = record.read_bytes()
    except OSError:
        return
    if _digest(text) != digest:
        raise UsageError(f"{path}: wanted the weights of {record.name}, got those of another training of the run")


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
