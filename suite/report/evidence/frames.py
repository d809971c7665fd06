"""Records as pandas tables: one row a run, an epoch, or a point of a gradient profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suite.report.evidence.entries import QUANTILES, Entry, read
from suite.runs import canonical


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = canonical(value) if isinstance(value, (list, tuple)) else value
    return flat


def runs(entries: Sequence[Entry]) -> pd.DataFrame:
    """One row a run; nested fields become dotted columns (``metrics.test``, ``run.recipe.lr``).

    Before them the columns that ``curves`` begins with. ``group`` holds the id without the seed: runs of one group
    differ in their seed alone.
    """
    rows = [_labels(entry) | _flat(entry.record) | {"machine": entry.machine} for entry in entries]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=_LABELS)


def curves(entries: Sequence[Entry]) -> pd.DataFrame:
    """One row a run and epoch: the curve's columns, gradient-norm quantiles and ``diagnostics.*``.

    Before them what tells runs apart: ``id``, ``group``, ``model``, ``task``, ``seed``, ``track``, ``options`` (the
    task's, as JSON), ``hidden_size``, ``epochs`` (the budget) and ``status``. Of one ``group`` all but id, seed and
    status are equal.
    """
    tables = []
    for entry in entries:
        columns: dict[str, Any] = dict(entry.curve)
        for i, quantile in enumerate(QUANTILES):
            columns[f"grad_norm.q{quantile:g}"] = entry.grad_norm[:, i]
        columns |= {f"diagnostics.{name}": values for name, values in entry.diagnostics.items()}
        tables.append(_labelled(columns, entry))
    return _joined(tables)


def profiles(entries: Sequence[Entry]) -> pd.DataFrame:
    """One row a run, epoch, state block and time step: the norm of dL/d(state block) at ``t``.

    Steps are those of the record, at most 512 of a sequence, the first and the last among them. ``block`` 0 is h;
    ``block_name`` is what the model calls it.
    """
    tables = []
    for entry in entries:
        for profile in entry.profiles:
            blocks, points = profile.norms.shape
            given = entry.record["where"].get("blocks", [])
            names = [str(given[i]) if i < len(given) else f"block {i}" for i in range(blocks)]
            columns = {
                "epoch": profile.epoch,
                "block": np.repeat(np.arange(blocks), points),
                "block_name": np.repeat(names, points),
                "t": np.tile(profile.t.astype(np.int64), blocks),
                "norm": profile.norms.reshape(-1),
            }
            tables.append(_labelled(columns, entry))
    return _joined(tables)


_LABELS = ["id", "group", "model", "task", "seed", "track", "options", "hidden_size", "epochs", "status"]


def _labels(entry: Entry) -> dict[str, Any]:
    """What every table begins with, ``_LABELS``."""
    run = entry.run
    return {
        "id": run.id, "group": run.group, "model": run.model, "task": run.task, "seed": run.seed, "track": run.track,
        "options": canonical(dict(run.task_options)), "hidden_size": run.recipe.get("hidden_size"),
        "epochs": run.budget.epochs, "status": entry.status,
    }  # fmt: skip


def _labelled(columns: Mapping[str, Any], entry: Entry) -> pd.DataFrame:
    table = pd.DataFrame(dict(columns))
    for position, (name, value) in enumerate(_labels(entry).items()):
        table.insert(position, name, value)
    return table


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_LABELS)


def _entries(results_dir: Path | str) -> list[Entry]:
    if not Path(results_dir).is_dir():
        raise FileNotFoundError(f"wanted a results folder, got {results_dir}")
    return read(results_dir)


def load_runs(results_dir: Path | str = "results") -> pd.DataFrame:
    """All records as one table, a row a run; see ``runs``.

    Raises:
        suite.record.RecordError: naming the first record that is not valid.
        FileNotFoundError: there is no such folder.
    """
    return runs(_entries(results_dir))


def load_curves(results_dir: Path | str = "results") -> pd.DataFrame:
    """All learning curves as one table, a row a run and epoch; see ``curves``.

    Raises:
        suite.record.RecordError: naming the first record that is not valid.
        FileNotFoundError: there is no such folder.
    """
    return curves(_entries(results_dir))


def load_profiles(results_dir: Path | str = "results") -> pd.DataFrame:
    """All gradient profiles as one table, a row a run, epoch, block and time step; see ``profiles``.

    Raises:
        suite.record.RecordError: naming the first record that is not valid.
        FileNotFoundError: there is no such folder.
    """
    return profiles(_entries(results_dir))
