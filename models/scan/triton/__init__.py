"""The `triton` engine: persistent kernels for the GPU, one forward and one backward for every cell.

A program owns a few batch rows and walks through time, so that a scan is two launches instead of some thirty a step.
float32 only; the precision of the products is ``float32``, ``tf32`` or ``bf16`` (docs/gpu.md). With TRITON_INTERPRET=1
in the environment the same kernels run on the CPU, slowly: that is how they are tested where there is no GPU.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from models.scan import function
from models.scan.cell import Cell

OLDEST = (8, 0)  # compute capability: Triton's bfloat16 and tf32 products, and asynchronous copies


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def unavailable(device_type: str) -> str | None:
    """Why this machine cannot run the engine at all, or None."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed (torch's builds for CUDA bring it along; on a CPU: pip install triton)"
    if device_type == "cpu":
        if _interpreted():
            return None
        return "it runs on a GPU, not on cpu (TRITON_INTERPRET=1 interprets it there, far too slowly to train)"
    if device_type != "cuda":
        return f"it runs on cuda, not on {device_type}"
    if not torch.cuda.is_available():
        return "no GPU: torch sees no CUDA device or driver"
    old = _too_old(max(torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())))
    return old or _cannot_launch()


def _cannot_launch() -> str | None:
    """Why Triton cannot start a kernel: before the first it builds a module, with a C compiler and Python.h."""
    try:
        from triton.runtime import driver

        driver.active.utils  # noqa: B018 - it is built when it is looked at
    except Exception as error:  # no compiler, no headers, no libcuda: each has an error of its own
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"Triton cannot start kernels here ({words[:200]}): it needs a C compiler, Python.h and libcuda"
    return None


def _too_old(capability: tuple[int, int]) -> str | None:
    if capability >= OLDEST:
        return None
    wanted, got = (".".join(map(str, numbers)) for numbers in (OLDEST, capability))
    return f"the GPU is too old: wanted compute capability {wanted}, got {got}"


def why_not(cell: Any, *, device: torch.device, dtype: torch.dtype, hidden_size: int, precision: str) -> str | None:
    """Why the engine cannot run this cell here, or None."""
    from models.scan.triton import plan
    from models.scan.triton.cells import CONSTANTS, functor_of

    if dtype != torch.float32:
        return f"it computes in float32, not in {str(dtype).removeprefix('torch.')}"
    if precision not in plan.PRECISIONS:
        return f"it has no precision {precision}: known are {', '.join(plan.PRECISIONS)}"
    if device.type == "cuda" and torch.cuda.is_available():
        reason = _too_old(torch.cuda.get_device_capability(device))  # of several GPUs each speaks for itself
        if reason is not None:
            return reason
        # torch's stubs do not know the field; a torch without it says nothing
        shared = getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", None)
        if shared is not None and shared < plan.SHARED_NEEDED:
            return f"shared memory of the GPU: wanted at least {plan.SHARED_NEEDED:,} bytes a block, got {shared:,}"
    limit = plan.max_hidden(cell.recurrent, cell.products, precision)
    if hidden_size > limit:
        return f"hidden_size: wanted at most {limit} for {type(cell).__name__} with {precision}, got {hidden_size}"
    try:
        functor = functor_of(cell)
    except (ImportError, AttributeError) as error:
        return f"the functor {type(cell).triton_functor!r} cannot be loaded: {error}"
    if functor is None:
        return f"{type(cell).__name__} has no Triton functor"
    if len(cell.constants) > CONSTANTS:
        return f"{type(cell).__name__}: wanted at most {CONSTANTS} constants, got {len(cell.constants)}"
    return None


def run(
    cell: Cell, x: Tensor, V: Tensor | None, b: Tensor | None, W: Tensor | None, p: Tensor | None, s0: Tensor,
    *, profile: Tensor | None = None, precision: str = "float32",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Loop a cell over time; arguments as in ``models.scan.cell.scan``."""
    from models.scan.triton import launch

    return function.apply(launch, cell, x, V, b, W, p, s0, profile=profile, precision=precision)
