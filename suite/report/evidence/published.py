"""Published results: cited figures and learning curves.

The figures stand in ``published.csv`` (rows read in their source, none from memory), the curves in
``published_curves.csv``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from suite.report import wording
from suite.report.evidence.entries import Array
from suite.report.evidence.groups import Section


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
        model: name in the model table.
        task: name in the task table.
        metric: accuracy or mse.
        value: the figure; accuracies as fractions.
        sd: the standard deviation that the source gives, or None.
        kind: mean, single, best, or unknown: which runs the figure stands for.
        n: runs behind it, or None where the source does not say.
        selection: best_valid, last, best_test, or unknown: which epoch's test metric it is.
        hidden_units: H, or None where the source does not say.
        parameters: trained parameters, or None.
        epochs: epochs of training, or None.
        requires: task options that must have these values for a comparison.
        differs: what else differs from our protocol; empty where nothing is known to.
        recipe: whether the source gives the hyperparameters of this row.
        source: where the figure was read.
    """

    model: str
    task: str
    metric: str
    value: float
    sd: float | None
    kind: str
    n: int | None
    selection: str
    hidden_units: int | None
    parameters: int | None
    epochs: int | None
    requires: dict[str, str]
    differs: str
    recipe: bool
    source: str


@dataclass(frozen=True)
class Curve:
    """A published learning curve.

    Attributes:
        model: name in the model table.
        task: name in the task table.
        hidden_units: H of the run.
        epoch: (E,) from 1.
        valid: (E,) validation accuracy, a fraction.
        label: for the legend.
        source: for the caption.
    """

    model: str
    task: str
    hidden_units: int
    epoch: Array
    valid: Array
    label: str
    source: str


def _rows(name: str) -> list[dict[str, str]]:
    text = files("suite.report").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _whole(text: str) -> int | None:
    return int(text) if text else None


@cache
def figures() -> tuple[Published, ...]:
    """Every published figure in the package."""
    return tuple(
        Published(
            model=row["model"],
            task=row["task"],
            metric=row["metric"],
            value=float(row["value"]) / (100 if row["unit"] == "%" else 1),
            sd=float(row["sd"]) / (100 if row["unit"] == "%" else 1) if row["sd"] else None,
            kind=row["kind"],
            n=_whole(row["n"]),
            selection=row["selection"],
            hidden_units=_whole(row["hidden_units"]),
            parameters=_whole(row["parameters"]),
            epochs=_whole(row["epochs"]),
            requires=dict(item.strip().split("=", 1) for item in row["requires"].split(";") if item.strip()),
            differs=row["differs"],
            recipe=row["recipe"] == "yes",
            source=row["source"],
        )
        for row in _rows("published.csv")
    )


@cache
def curves() -> tuple[Curve, ...]:
    """Every published learning curve in the package."""
    held: dict[tuple[str, str, int, str], list[tuple[float, float]]] = {}
    for row in _rows("published_curves.csv"):
        key = (row["model"], row["task"], int(row["hidden_units"]), row["source"])
        held.setdefault(key, []).append((float(row["epoch"]), float(row["valid_accuracy_percent"]) / 100))
    found = []
    for (model, task, units, source), points in held.items():
        epoch, valid = np.array(points).T
        label = f"{wording.model_title(model)}, H={units}, published log"
        found.append(Curve(model, task, units, epoch, valid, label, source))
    return tuple(found)


_CURVE_OPTIONS = {"data": "mnist", "permutation_seed": "12008", "train_examples": "none", "valid_examples": "none"}


def curves_for(section: Section) -> list[Curve]:
    """Published curves to lay over a section's learning curves: same task, full data, same hidden size.

    A curve is shown up to twice the epochs that ours have, so that short runs are not squeezed to a corner.
    """
    options = {key: wording.option(value) for key, value in section.options.items()}
    longest = max((entry.run.budget.epochs for group in section.groups for entry in group.entries), default=0)
    shown = []
    for curve in curves():
        sizes = {group.run.recipe.get("hidden_size") for group in section.groups if group.run.model == curve.model}
        if (
            curve.task == section.variant.task
            and all(options.get(key, wanted) == wanted for key, wanted in _CURVE_OPTIONS.items())
            and curve.hidden_units in sizes
        ):
            kept = curve.epoch <= 2 * longest
            label, source = curve.label, curve.source
            shown.append(
                Curve(curve.model, curve.task, curve.hidden_units, curve.epoch[kept], curve.valid[kept], label, source)
            )
    return shown
