"""What a run would be made of, without training it: its task, its model's parameters and the work of a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.classifier import SequenceModel
from models.contract import ModelError, Recurrence
from models.scan.cell import width
from models.stacked import Stacked
from suite.errors import UsageError
from suite.names import resolve
from suite.runs import Run, canonical, seed_for
from suite.work.building import recurrence_for, seeded
from tasks.contract import Task


class Tasks:
    """Tasks built once for their sizes; runs that differ in their seed alone share one.

    Args:
        data_dir: the data root, or None for the default one.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self.data_dir = data_dir
        self._built: dict[str, Task | Exception] = {}

    def get(self, name: str, options: Any) -> Task:
        """The task with these options.

        Raises:
            Exception: what its constructor raised, each time again; ``DataError`` where raw data is missing.
        """
        key = canonical([name, options])
        if key not in self._built:
            try:
                plugin = resolve("task", name)
                self._built[key] = plugin.cls(
                    seed=seed_for("data", name, 0), data_dir=self.data_dir, **plugin.arguments(options)
                )
            except Exception as error:  # a plug-in may raise anything
                self._built[key] = error
        found = self._built[key]
        if isinstance(found, Exception):
            raise found
        return found


def bare_model(run: Run, task: Task) -> SequenceModel:
    """The run's model without its embedding, on the CPU; no global random state is changed.

    Args:
        run: model, its options and its recipe.
        task: says I and O.

    Raises:
        UsageError: a hyperparameter out of range, or whatever a plug-in raises, in one line.
    """
    try:
        with seeded(0):
            return SequenceModel(recurrence_for(run, task.spec, engine="auto"), task.spec.output_size)
    except ModelError as error:
        raise UsageError(f"{run.model}: {error}") from error
    except Exception as error:  # a plug-in's constructor may raise anything
        raise UsageError(f"model {run.model!r} cannot be built: {type(error).__name__}: {error}") from error


def likely_engine(model: SequenceModel, engine: str, device_kind: str) -> str:
    """The engine that would be taken, by a CPU with a compiler or a GPU of today; nothing is built to find out."""
    cell = _cell(_layers(model)[0])
    if engine != "auto":
        return engine
    if cell is None or not hasattr(cell, "forward_"):
        return "reference"
    if device_kind == "cuda":
        return "triton"
    return "native" if hasattr(cell, "functor") else "fused"


def stored_blocks(model: SequenceModel) -> int | None:
    """Blocks of (B,H) that training stores a time step; None for a model that defines no cell.

    A cell with ``step`` alone need not say what it saves: then all of a, as autograd keeps at least so much.
    """
    cells = [_cell(layer) for layer in _layers(model)]
    if any(cell is None for cell in cells):
        return None
    return sum(int(cell.states + getattr(cell, "saved", width(cell))) for cell in cells)


def products(model: SequenceModel) -> int:
    """Multiplications of one time step for one example: of the cell's products, or else as many as parameters."""
    total = 0
    for layer in _layers(model):
        cell, H, I = _cell(layer), layer.hidden_size, layer.input_size
        if cell is None:
            return model.sizes()["parameters"]
        total += int(cell.products * cell.recurrent * H * H + cell.inputs * H * I)
    return total


def _layers(model: SequenceModel) -> list[Recurrence]:
    recurrence = model.recurrence
    return list(recurrence.layers) if isinstance(recurrence, Stacked) else [recurrence]  # type: ignore[arg-type]


def _cell(layer: Recurrence) -> Any:
    maker = getattr(layer, "cell", None)
    return maker() if callable(maker) else None
