"""Which engine runs a scan: a stated engine is used or refused, never swapped; ``auto`` picks by cell and device."""

from __future__ import annotations

import functools
import sys
from importlib import import_module
from typing import Any

import torch

ENGINES: dict[str, str] = {
    "reference": "models.scan.reference",
    "fused": "models.scan.fused",
    "native": "models.scan.native",
    "triton": "models.scan.triton",
    "graph": "models.scan.graph",
}
WHOLE = ("torch",)  # engines that replace a whole architecture: torch's own LSTM and RNN
NAMES = (*ENGINES, *WHOLE)


class EngineError(ValueError):
    """An engine that cannot run here, or not this cell; the message says why and what can."""


def broken() -> str:
    """Whose recording by engine `graph` failed in this process, which can do nothing more on its GPU then; or ''."""
    graph = sys.modules.get(ENGINES["graph"])
    return graph.broken if graph is not None else ""


def load(name: str) -> Any:
    """The ``run`` function of a scan engine."""
    return import_module(ENGINES[name]).run


def _has_kernel(cell: Any) -> bool:
    return hasattr(cell, "forward_") and hasattr(cell, "backward_")


def why_not(
    name: str,
    cell: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    hidden_size: int,
    precision: str = "float32",
) -> str | None:
    """Why this engine cannot run this cell here, or None if it can."""
    if name not in NAMES:
        return f"unknown engine {name!r}: known are {', '.join(NAMES)}"
    if name in WHOLE:
        return "it replaces a whole architecture and loops no cell"
    if precision in ("tf32", "bf16") and name != "triton":
        return f"precision {precision} is for the triton engine alone"
    if name == "reference":
        return None
    if name == "fused":
        return None if _has_kernel(cell) else f"{type(cell).__name__} has no forward_ and backward_"
    reason = unavailable(name, device.type)
    if reason is not None:
        return reason
    module = import_module(ENGINES[name])
    return module.why_not(cell, device=device, dtype=dtype, hidden_size=hidden_size, precision=precision)


@functools.cache
def unavailable(name: str, device_type: str) -> str | None:
    """Why an engine cannot run on this machine at all, or None if it can."""
    if name in ("reference", "fused", *WHOLE):
        return None
    try:
        module = import_module(ENGINES[name])
    except ImportError as error:
        return f"it cannot be imported: {error}"
    return module.unavailable(device_type)


def choose(
    engine: str,
    cell: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    hidden_size: int,
    precision: str = "float32",
) -> str:
    """The name of the engine that will run.

    Raises:
        EngineError: a stated engine cannot run this cell on this device, with the reason.
    """
    facts = {"device": device, "dtype": dtype, "hidden_size": hidden_size, "precision": precision}
    if engine != "auto":
        reason = why_not(engine, cell, **facts)  # type: ignore[arg-type]
        if reason is not None:
            raise EngineError(f"engine {engine}: {reason}")
        return engine
    for name in _order(device.type):
        if why_not(name, cell, **facts) is None:  # type: ignore[arg-type]
            return name
    raise EngineError(f"no engine runs {type(cell).__name__} with precision {precision} on {device.type}")


def _order(device_type: str) -> tuple[str, ...]:
    """What ``auto`` tries, the fastest first."""
    return ("triton" if device_type == "cuda" else "native", "fused", "reference")


def passed_over(chosen: str, device_type: str) -> str:
    """One line where ``auto`` took another engine than the fastest because this machine cannot run it, or nothing."""
    first = _order(device_type)[0]
    reason = None if chosen == first else unavailable(first, device_type)
    return "" if reason is None else f"engine {first} cannot run here, {chosen} is used: {reason}"
