"""The `native` engine: C++ for the CPU, float32, built at first use (see ``build``).

The batch is cut into shards, one thread each for the whole sequence; every shard multiplies from weights that it packed
once, with the input projection in the same product and the cell's pointwise code right after each register tile.
The number of shards is ``torch.get_num_threads()``: results are the same bit for bit for the same number.

A cell names its functor by a class attribute ``functor``: a name in ``cells/`` or the path of a header of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.scan import function
from models.scan.buffers import empty
from models.scan.cell import Cell, ScanError
from models.scan.function import Gradients, Needs
from models.scan.native import build
from models.scan.native.build import BuildError

_INTS = ("T", "S", "B", "I", "H", "threads", "parts", "keep", "poison",
         "x_t", "x_s", "x_b", "gh_t", "gh_s", "gh_b")  # fmt: skip
_POINTERS = ("x", "V", "b", "W", "p", "s0", "constants", "states", "saved", "h", "final", "g_h", "g_final",
             "grad_x", "grad_V", "grad_b", "grad_W", "grad_p", "grad_s0", "profile", "team")  # fmt: skip
SMALL = 200_000  # multiply-adds of the products of a scan; below this, a second thread costs more than it gives


class _Scan(ctypes.Structure):
    """``struct Scan`` of scan.hpp."""

    _fields_ = [(n, ctypes.c_int64) for n in _INTS] + [(n, ctypes.c_void_p) for n in _POINTERS]


def unavailable(device_type: str) -> str | None:
    """Why this machine cannot run the engine at all, or None."""
    if device_type != "cpu":
        return f"it runs on cpu, not on {device_type}"
    try:
        build.compiler()
    except BuildError as error:
        return str(error)
    return None


def why_not(cell: Any, *, device: torch.device, dtype: torch.dtype, hidden_size: int, precision: str) -> str | None:
    """Why the engine cannot run this cell here, or None. Builds the cell's library where that has not been done."""
    if dtype != torch.float32:
        return f"it computes in float32, not in {str(dtype).removeprefix('torch.')}"
    if precision != "float32":
        return f"it has no precision {precision}"
    functor = getattr(cell, "functor", None)
    if functor is None:
        return f"{type(cell).__name__} has no functor"
    return _refusal(functor, _facts_of(cell))


def _facts_of(cell: Any) -> tuple[int, ...]:
    return (
        cell.states, cell.recurrent, cell.inputs, cell.products, int(cell.add), cell.params, cell.saved
    )  # fmt: skip


@functools.cache
def _refusal(functor: Any, facts: tuple[int, ...]) -> str | None:
    """Build and load once a process; a functor must agree with its cell about the numbers of blocks."""
    try:
        library = build.load(functor)
    except BuildError as error:
        return str(error)
    own = (ctypes.c_int64 * 9)()
    library.rnn_facts(own)
    if tuple(own[:7]) != facts:
        return f"functor {functor} has blocks {tuple(own[:7])}, its cell {facts}"
    if own[8] != ctypes.sizeof(_Scan):
        return f"functor {functor}: the library's Scan has {own[8]} bytes, wanted {ctypes.sizeof(_Scan)}"
    return None


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """For tests: workspaces are filled with NaN before each use, in libraries loaded so far and later."""
    global _poison
    _poison = True
    try:
        yield
    finally:
        _poison = False


_poison = False


def _parts(seeds: int, batch: int, work: int) -> tuple[int, int]:
    """Threads, and shards of the batch: as many units as threads, or a multiple."""
    threads = torch.get_num_threads() if work > SMALL else 1
    return threads, min(batch, 1 if seeds % threads == 0 else threads)


def _rows(tensor: Tensor | None) -> Tensor | None:
    """A tensor whose rows lie close: the engine takes any strides but the last."""
    if tensor is None or tensor.shape[-1] == 1 or tensor.stride(-1) == 1:
        return tensor
    return tensor.contiguous()


@functools.cache
def _openmp() -> int | None:
    """The address of ``GOMP_parallel`` in the OpenMP library that torch uses, or None where it has none.

    Its threads are awake when torch has just used them. Threads of our own would share the cores with them while they
    wait for torch's next operation: at HAR-2's shape two threads were no faster than one (docs/engines.md).
    """
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


def only_imports() -> None:
    """Said by a fork server: it computes nothing, so OpenMP has no threads here that a forked child would lack."""
    global _only_imports
    _only_imports = True


def _forked() -> None:
    """OpenMP's threads do not outlive a fork, and it would wait for them: such a child starts threads of its own."""
    global _is_forked, _only_imports
    _is_forked, _only_imports = _is_forked or not _only_imports, False


_only_imports = _is_forked = False
os.register_at_fork(after_in_child=_forked)


class _Call:
    """The arguments of one call: numbers, and tensors held until it is over."""

    def __init__(self, cell: Any, x: Tensor, lead: torch.Size, H: int, W: Tensor | None) -> None:
        self.cell, self.seeded = cell, len(lead) == 2
        S, B = (lead[0], lead[1]) if self.seeded else (1, lead[0])
        work = x.shape[0] * S * B * H * (x.shape[-1] * cell.inputs + cell.products * cell.recurrent * H)
        threads, self.parts = _parts(S, B, work)
        self.held: list[Tensor] = []
        self.scan = _Scan(T=x.shape[0], S=S, B=B, I=x.shape[-1], H=H, threads=threads, parts=self.parts)
        self.strided("x", x, "x")
        self.constants = (ctypes.c_float * max(1, len(cell.constants)))(*cell.constants)
        self.scan.constants = ctypes.cast(self.constants, ctypes.c_void_p)

    def strided(self, name: str, tensor: Tensor | None, prefix: str) -> None:
        """A tensor (T,S,B,.) or (T,B,.) with its strides."""
        tensor = _rows(tensor)
        if tensor is None:
            return
        strides = tensor.stride()
        seed = strides[1] if self.seeded else 0
        for key, value in (("t", strides[0]), ("s", seed), ("b", strides[-2])):
            setattr(self.scan, f"{prefix}_{key}", value)
        self.held.append(tensor)
        setattr(self.scan, name, tensor.data_ptr())

    def pointers(self, **tensors: Tensor | None) -> None:
        """Contiguous tensors, or None."""
        for name, tensor in tensors.items():
            if tensor is not None:
                tensor = tensor.contiguous()
                self.held.append(tensor)
                setattr(self.scan, name, tensor.data_ptr())

    def run(self, name: str) -> None:
        """Call the library.

        Raises:
            MemoryError: it found no memory for its workspace.
        """
        library = build.load(self.cell.functor)
        self.scan.poison = int(_poison)
        self.scan.team = None if _is_forked else _openmp()
        failed = getattr(library, name)(ctypes.byref(self.scan))
        if failed:
            raise MemoryError(f"{name}: no memory for the workspace of {type(self.cell).__name__}")


def _float32(**tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and (tensor.dtype != torch.float32 or tensor.device.type != "cpu"):
            raise ScanError(f"{name}: wanted float32 on cpu, got {tensor.dtype} on {tensor.device}")


class _Native:
    """The kernel: see ``models.scan.function``."""

    @staticmethod
    def forward(
        cell: Any, x: Tensor, V: Tensor | None, b: Tensor | None, W: Tensor | None, p: Tensor | None, s0: Tensor,
        *, keep: bool, precision: str,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Run the loop."""
        _float32(x=x, V=V, b=b, W=W, p=p, s0=s0)
        T, lead, H = x.shape[0], s0.shape[:-1], s0.shape[-1] // cell.states
        call = _Call(cell, x, lead, H, W)
        call.scan.keep = int(keep)
        states = empty(T + 1 if keep else 0, *lead, s0.shape[-1] if keep else 0, like=x)
        saved = empty(T if keep else 0, *lead, cell.saved * H, like=x)
        h = states[1:, ..., :H] if keep else empty(T, *lead, H, like=x)
        final = empty(*s0.shape, like=x)
        call.pointers(V=V, b=b, W=W, p=p, s0=s0, states=states, saved=saved, final=final)
        if not keep:
            call.pointers(h=h)
        call.run("rnn_forward")
        return h, final, states, saved

    @staticmethod
    def backward(
        cell: Any, x: Tensor, V: Tensor | None, W: Tensor | None, p: Tensor | None, states: Tensor, saved: Tensor,
        g_h: Tensor | None, g_final: Tensor | None,
        *, needs: Needs, has_bias: bool, profile: Tensor | None, precision: str,
    ) -> Gradients:  # fmt: skip
        """Back-propagation through time."""
        lead, NH = states.shape[1:-1], states.shape[-1]
        H, T = NH // cell.states, x.shape[0]
        call = _Call(cell, x, lead, H, W)
        n, seeds = call.parts, lead[:-1]
        grad_x = empty(*x.shape, like=x) if needs.x else None
        grad_s0 = empty(*lead, NH, like=x) if needs.s0 else None
        grad_V = empty(n, *V.shape, like=x) if V is not None and needs.V else None
        grad_b = empty(n, *seeds, cell.inputs * H, like=x) if has_bias and needs.b else None
        grad_W = empty(n, *W.shape, like=x) if W is not None and needs.W else None
        grad_p = empty(n, *p.shape, like=x) if p is not None and needs.p else None
        squares = None if profile is None else torch.empty((n, *seeds, cell.states, T), dtype=torch.float64)
        call.strided("g_h", g_h, "gh")
        call.pointers(
            V=V, W=W, p=p, states=states, saved=saved, g_final=g_final, grad_x=grad_x, grad_s0=grad_s0,
            grad_V=grad_V, grad_b=grad_b, grad_W=grad_W, grad_p=grad_p, profile=squares,
        )  # fmt: skip
        call.run("rnn_backward")
        if profile is not None and squares is not None:
            profile.copy_(squares.sum(0).sqrt())
        V_, b_, W_, p_ = (_total(g) for g in (grad_V, grad_b, grad_W, grad_p))
        return Gradients(grad_x, V_, b_, W_, p_, grad_s0)


def _total(parts: Tensor | None) -> Tensor | None:
    """The sum of the shards' gradients, always in the same order."""
    return None if parts is None else parts[0] if len(parts) == 1 else parts.sum(0)


KERNEL: Any = _Native()


def run(
    cell: Cell, x: Tensor, V: Tensor | None, b: Tensor | None, W: Tensor | None, p: Tensor | None, s0: Tensor,
    *, profile: Tensor | None = None, precision: str = "float32",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Loop a cell over time; arguments as in ``models.scan.cell.scan``."""
    return function.apply(KERNEL, cell, x, V, b, W, p, s0, profile=profile, precision=precision)
