"""Realistic records for tests of the report: made up, checked against the schema, never under results/."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from suite.record import finite, validate
from suite.runs import Budget, Run
from suite.store import Store

MODELS = ("cornn", "exprnn", "fastrnn", "antisymmetric", "antisymmetric-gated", "lstm", "tanh")
TASKS: dict[str, dict[str, Any]] = {
    "adding": {"length": 500, "epoch_steps": 100},
    "adding-2000": {"length": 2000, "epoch_steps": 100},
    "adding-5000": {"length": 5000, "epoch_steps": 100},
    "smnist": {"data": "mnist", "permuted": False, "permutation_seed": 12008},
    "psmnist": {"data": "mnist", "permuted": True, "permutation_seed": 12008},
    "noisy_cifar": {"noise": "shared", "length": 1000},
    "har2": {"normalise": "standardise", "split": "random"},
    "imdb": {"vectors": "random", "readout": "padded"},
}
_LENGTH = {"smnist": 784, "psmnist": 784, "noisy_cifar": 1000, "har2": 128, "imdb": 1100}
_CHANCE = {"smnist": 0.1135, "psmnist": 0.1135, "noisy_cifar": 0.1, "har2": 0.53, "imdb": 0.5}
_SKILL = dict(zip(MODELS, (1.0, 0.93, 0.75, 0.8, 0.82, 0.7, 0.35), strict=True))


def run(
    model: str = "cornn",
    task: str = "psmnist",
    seed: int = 0,
    *,
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    epochs: int = 12,
    max_seconds: float | None = None,
    **changes: Any,
) -> Run:
    """A run with a plausible recipe."""
    values: dict[str, Any] = {"hidden_size": 128, "batch_size": 120, "lr": 0.003, "optimizer": "adam"}
    if model == "cornn":
        values |= {"dt": 0.076, "gamma": 0.4, "epsilon": 8.0, "layout": "concat"}
    return Run(
        model=model,
        task=task,
        seed=seed,
        model_version=1,
        task_version=1,
        model_options={"gated": model.endswith("gated")} if model.startswith("anti") else {},
        task_options=dict(TASKS.get(task, {})) | dict(options or {}),
        recipe=values | dict(recipe or {}),
        budget=Budget(epochs, max_seconds),
        **changes,
    )


def _curve(chosen: Run, rng: np.random.Generator, epochs: int, chance: float, mse: bool) -> list[dict[str, Any]]:
    skill = _SKILL.get(chosen.model, 0.6) * rng.uniform(0.97, 1.0)
    top = 1e-4 ** (skill * 0.9) if mse else chance + (0.99 - chance) * skill
    rows = []
    for epoch in range(1, epochs + 1):
        grown = 1 - math.exp(-4 * epoch / epochs * rng.uniform(0.9, 1.1))
        valid = chance * (top / chance) ** grown if mse else chance + (top - chance) * grown
        loss = valid if mse else -math.log(max(valid, 0.02))
        norm = 10 ** rng.normal(-0.5, 0.1)
        rows.append(
            {
                "epoch": epoch,
                "steps": 100 * epoch,
                "train_loss": loss * 0.98,
                "valid": valid,
                "valid_loss": loss,
                "test": valid * rng.uniform(0.99, 1.0),
                "test_loss": loss * 1.02,
                "seconds": 11.0 * epoch * (2.2 if chosen.model == "lstm" else 1.0),
                "grad_norm": [norm * q for q in (0.1, 0.5, 1.0, 2.0, 5.0)],
                "lr": float(chosen.recipe["lr"]),
                "diagnostics": _diagnostics(chosen.model, epoch),
            }
        )
    return rows


def _diagnostics(model: str, epoch: int) -> dict[str, float]:
    if model == "cornn":
        w = 5 + 0.3 * epoch
        eta = 0.076 * (1 + w) / 1.076
        return {"w_norm_inf": w, "z_norm_inf": w * 0.8, "eta": eta, "eta_general": eta * 0.6, "dt_r": 0.2757}
    return {"orthogonality_error": 1e-7 * epoch} if model == "exprnn" else {}


def _profiles(chosen: Run, length: int, epochs: int) -> list[dict[str, Any]]:
    t = np.unique(np.linspace(0, length - 1, min(length, 512)).astype(int))
    rate = {"cornn": 0.002, "tanh": 0.35, "lstm": 0.03}.get(chosen.model, 0.01)
    found = []
    for epoch, factor in ((0, 2.0), (epochs, 1.0)):
        h = 0.1 * np.exp(-rate * factor * (length - 1 - t))
        h[h < 1e-45] = 0.0
        blocks = 2 if chosen.model in ("cornn", "lstm") else 1
        found.append(
            {
                "epoch": epoch,
                "length": length,
                "t": t.tolist(),
                "norms": [(h * (0.3**b)).tolist() for b in range(blocks)],
            }
        )
    return found


def record(
    chosen: Run | None = None, *, status: str = "done", sources: Mapping[str, str] | None = None, **where: Any
) -> dict[str, Any]:
    """A record that passes ``validate``; the same run gives the same record."""
    chosen = chosen or run()
    rng = np.random.default_rng(int(chosen.id, 16))
    mse = chosen.task.startswith("adding")
    chance = 1 / 6 if mse else _CHANCE.get(chosen.task, 0.1)
    epochs = chosen.budget.epochs if status == "done" else max(1, chosen.budget.epochs // 3)
    curve = _curve(chosen, rng, epochs, chance, mse)
    done = status == "done"
    if not done:
        curve[-1] |= {"valid": None, "test": None, "train_loss": None, "valid_loss": None, "test_loss": None}
    best = (min if mse else max)(
        (row for row in curve if row["valid"] is not None), key=lambda row: row["valid"], default=None
    )
    hidden = int(chosen.recipe["hidden_size"])
    step = 0.09 if chosen.model != "lstm" else 0.2
    defaults = {"hidden_size": "published: protocol", "epochs": "published: protocol", "lr": "published: repository"}
    length = int(chosen.task_options.get("length", _LENGTH.get(chosen.task, 100)))
    values = {
        "schema": 1,
        "id": chosen.id,
        "status": status,
        "stop_reason": {"done": "budget", "diverged": "non_finite", "failed": "error"}[status],
        "run": chosen.identity(),
        "sources": dict.fromkeys(chosen.recipe, "default: untuned, of the suite") | defaults | dict(sources or {}),
        "metrics": {
            "name": "mse" if mse else "accuracy",
            "higher_is_better": not mse,
            "test": best["test"] if best else None,
            "test_last": curve[-1]["test"],
            "valid": best["valid"] if best else None,
            "best_epoch": best["epoch"] if best else None,
            "test_loss": best["test_loss"] if best else None,
            "chance": chance,
        },
        "seconds": {
            "prepare": 1.2,
            "compile": 0.0,
            "train": curve[-1]["seconds"],
            "train_processor": curve[-1]["seconds"],
            "train_waited": 0.0,
            "evaluate": 3.0,
            "step_median": step * hidden / 128,
            "step_q25": step * 0.95 * hidden / 128,
            "step_q75": step * 1.2 * hidden / 128,
        },
        "size": {"parameters": 3 * hidden * hidden, "embedding_parameters": 0, "peak_bytes": 512 << 20},
        "curve": curve,
        "profiles": _profiles(chosen, length, epochs),
        "where": {
            "cpu": "Example CPU 2.5 GHz",
            "gpu": None,
            "cores": 2,
            "host": chosen.id[:8],  # of its own: two runs on one host at one time share it
            "threads": 1,
            "engine": "fused",
            "libraries": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.1.0", "rnnbench": "0.1.0"},
            "commit": "e644b58",
            "dirty": False,
            "shared_device": False,
            "started": "2026-01-05T10:00:00Z",
            "finished": "2026-01-05T10:30:00Z",
            "data": {"variant": str(chosen.task_options.get("data", "full"))},
            "preset": None,
            "resumed": 0,
        }
        | where,
        "error": {"type": "ValueError", "message": "example"} if status == "failed" else None,
    }
    return validate(finite(values))


def fill(
    root: Path,
    *,
    models: Iterable[str] = MODELS,
    tasks: Iterable[str] = ("psmnist", "adding"),
    seeds: Iterable[int] = range(5),
    **changes: Any,
) -> list[dict[str, Any]]:
    """Write a grid of records into ``root`` through the store; the grid's records are returned."""
    store = Store(root)
    made = [record(run(model, task, seed, **changes)) for task in tasks for model in models for seed in seeds]
    for values in made:
        store.put(values)
    return made
