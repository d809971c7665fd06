"""The task table, and ``build``. Importing this module imports neither torch nor numpy.

A row is ``name: (module:Class, options the row fixes)``: variants of one class stand side by side in one grid.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.contract import Task

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "adding": ("tasks.adding:Adding", {}),  # T = 500, the class's default; `length` may be set
    "adding-2000": ("tasks.adding:Adding", {"length": 2000}),
    "adding-5000": ("tasks.adding:Adding", {"length": 5000}),
    "smnist": ("tasks.pixels:PixelMNIST", {"permuted": False}),
    "psmnist": ("tasks.pixels:PixelMNIST", {"permuted": True}),
    "noisy_cifar": ("tasks.noisy_cifar:NoisyCIFAR", {}),
    "har2": ("tasks.har2:HAR2", {}),
    "imdb": ("tasks.imdb:IMDB", {}),
}


def load(name: str) -> tuple[type[Task], dict[str, Any]]:
    """The class of a task and the options that its row fixes.

    Args:
        name: a name in ``TASKS``.

    Raises:
        TaskError: the name is unknown; the message says which names are near.
    """
    from tasks.errors import TaskError
    from tasks.options import nearest

    if name not in TASKS:
        raise TaskError(f"unknown task '{name}'{nearest(name, TASKS)}")
    target, fixed = TASKS[name]
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute), dict(fixed)


def build(name: str, *, seed: int, data_dir: Path | None = None, **options: Any) -> Task:
    """Build a task of the table.

    Args:
        name: a name in ``TASKS``.
        seed: the data seed: split, order and noise.
        data_dir: the data root, or None for ``RNNBENCH_DATA`` or the platform's cache folder.
        **options: the task's options; those that the row fixes cannot be given.

    Raises:
        TaskError: an unknown name or option, an option that the row fixes, or a value out of range.
        DataError: raw data is missing, truncated or altered.
    """
    from tasks.options import check_names

    cls, fixed = load(name)
    check_names(name, cls, options, fixed)
    return cls(seed=seed, data_dir=data_dir, **fixed, **options)
