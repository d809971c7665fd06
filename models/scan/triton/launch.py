"""The torch side of the kernels: buffers, projections and weight gradients, and the launches."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
import triton
from torch import Tensor

from models.scan.cell import Cell, width
from models.scan.function import Gradients, Needs
from models.scan.rounding import rounded
from models.scan.triton import plan as plans
from models.scan.triton.cells import CONSTANTS, functor_of
from models.scan.triton.kernels import backward_kernel, forward_kernel
from models.scan.triton.plan import Plan

FP_FUSION = True  # multiply and add become one rounding (FMA): stated at every launch, never left to a default
INTERPRETED = not isinstance(forward_kernel, triton.runtime.JITFunction)


def meta(cell: Cell, *, hidden_size: int, precision: str, plan: Plan, backward: bool, **flags: bool) -> dict[str, Any]:
    """Compile-time arguments of a kernel; ``flags`` are KEEP, or HAS_H and PROFILE."""
    functor = functor_of(cell)
    assert functor is not None
    pair = {"BACKWARD": functor.backward} if backward else {"FORWARD": functor.forward}
    return {
        **pair, **flags, "H": hidden_size, "HB": plans.padded(hidden_size), "ROWS": plan.rows, "TILE": plan.tile,
        "STATES": cell.states, "RECURRENT": cell.recurrent, "INPUTS": cell.inputs, "PRODUCTS": cell.products,
        "ADD": cell.add, "PARAMS": cell.params, "SAVED": cell.saved, "PRECISION": precision,
        "DOT": plan.dot, "STREAM": plan.stream, "BK": plan.block, "STAGES": plan.stages,
    }  # fmt: skip


def plan_for(cell: Cell, *, hidden_size: int, precision: str, rows: int, backward: bool, multiprocessors: int) -> Plan:
    """The layout of a kernel of this cell."""
    blocks = (cell.products, cell.recurrent) if backward else (cell.recurrent, cell.products)
    return plans.choose(
        hidden_size=hidden_size, ins=blocks[0], outs=blocks[1], precision=precision, rows=rows,
        multiprocessors=multiprocessors,
    )  # fmt: skip


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return plans.MULTIPROCESSORS
    return torch.cuda.get_device_properties(device).multi_processor_count


@contextlib.contextmanager
def _outside(device: torch.device, precision: str) -> Iterator[None]:
    """The projections and weight gradients: float32, or cuBLAS's TF32 for tf32 and bf16; the device current."""
    if device.type != "cuda":
        yield
        return
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "ieee" if precision == "float32" else "tf32"
    try:
        with torch.cuda.device(device):
            yield
    finally:
        settings.fp32_precision = before


def _weights(W: Tensor | None, precision: str, like: Tensor, *, transpose: bool, dot: bool) -> Tensor:
    """The product's matrix (S, in, out), rounded to the precision; bfloat16 only where tensor cores read it."""
    if W is None:
        return like
    matrix = (W.mT if transpose else W).detach().contiguous()
    if precision == "float32":
        return matrix
    near = rounded(matrix, precision)
    narrow = precision == "bf16" and dot and not INTERPRETED  # the interpreter's dot knows no bfloat16
    return near.to(torch.bfloat16) if narrow else near


def _seed_axis(tensor: Tensor | None, seeded: bool) -> Tensor | None:
    return tensor if tensor is None or seeded else tensor.unsqueeze(0)


def _rows(x: Tensor, seeded: bool) -> Tensor:
    """(T,S,B,K) or (T,B,K) -> (S,T*B,K): seeds first, so that a seed's weight gradient is one product."""
    return (x.movedim(1, 0) if seeded else x.unsqueeze(0)).flatten(1, 2)


def _timed(x: Tensor, T: int, seeded: bool) -> Tensor:
    """(S,T*B,K) -> (T,S,B,K) or (T,B,K), a view."""
    out = x.unflatten(1, (T, -1))
    return out.movedim(0, 1) if seeded else out.squeeze(0)


def _project(x: Tensor, V: Tensor | None, b: Tensor | None, seeded: bool) -> Tensor:
    """Inputs (S,T*B,G*H): x @ V.T + b."""
    rows = _rows(x, seeded)
    if V is None:
        return rows.contiguous()
    V, b = _seed_axis(V, seeded), _seed_axis(b, seeded)
    return torch.bmm(rows, V.mT) if b is None else torch.baddbmm(b.unsqueeze(1), rows, V.mT)  # type: ignore[union-attr]


def _constants(cell: Cell) -> tuple[float, ...]:
    return (*map(float, cell.constants), *(0.0,) * (CONSTANTS - len(cell.constants)))


def _launch(
    kernel: Any, cell: Cell, seeds: int, B: int, H: int, precision: str, device: torch.device, **flags: bool
) -> tuple[Any, Plan, int]:
    """A function that launches, the layout it has, and its programs a seed."""
    backward = kernel is backward_kernel
    plan = plan_for(
        cell, hidden_size=H, precision=precision, rows=seeds * B, backward=backward,
        multiprocessors=_multiprocessors(device),
    )  # fmt: skip
    programs = -(-B // plan.rows)
    constexprs = meta(cell, hidden_size=H, precision=precision, plan=plan, backward=backward, **flags)

    def launch(*tensors: Tensor, T: int) -> None:
        kernel[(programs, seeds)](
            *tensors, T, B, *_constants(cell), **constexprs,
            num_warps=plan.warps, num_stages=1, enable_fp_fusion=FP_FUSION,
        )  # fmt: skip

    return launch, plan, programs


def forward(
    cell: Cell, x: Tensor, V: Tensor | None, b: Tensor | None, W: Tensor | None, p: Tensor | None, s0: Tensor,
    *, keep: bool, precision: str = "float32",
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Projection, then the forward kernel; see ``models.scan.function`` for the contract."""
    T, seeded, lead = x.shape[0], s0.dim() == 3, s0.shape[:-1]
    S, B, H = lead[:-1].numel(), lead[-1], s0.shape[-1] // cell.states
    slots = T + 1 if keep else 2
    with _outside(x.device, precision):
        u = _project(x, V, b, seeded)
        states = x.new_empty((S, slots * B, cell.states * H))
        states[:, :B].copy_(s0.view(S, B, -1) if s0.is_contiguous() else s0.reshape(S, B, -1))
        if keep and cell.saved == cell.inputs and V is not None and cell.products:
            # Written over u: a step's saved blocks take the place of what it has read. The product lies between the
            # two and its barriers order them; without a product another warp might still be reading.
            saved = u
        else:
            saved = x.new_empty((S, T * B if keep else 0, cell.saved * H))
        h = x.new_empty((S, 0 if keep else T * B, H))
        launch, plan, _ = _launch(forward_kernel, cell, S, B, H, precision, x.device, KEEP=keep)
        matrix = _weights(W, precision, u, transpose=True, dot=plan.dot)
        launch(u, matrix, u if p is None else p.contiguous(), states, saved, h, T=T)
    timed = _timed(states, slots, seeded)
    final = timed[T if keep else T % 2].clone(memory_format=torch.contiguous_format)
    if keep:
        return timed[1:, ..., :H], final, timed, _timed(saved, T, seeded)
    return _timed(h, T, seeded), final, x.new_empty((0, *lead, 0)), x.new_empty((0, *lead, 0))


def backward(
    cell: Cell, x: Tensor, V: Tensor | None, W: Tensor | None, p: Tensor | None, states: Tensor, saved: Tensor,
    g_h: Tensor | None, g_final: Tensor | None,
    *, needs: Needs, has_bias: bool, profile: Tensor | None, precision: str = "float32",
) -> Gradients:  # fmt: skip
    """The backward kernel, then the gradients of what lies outside it; see ``models.scan.function``."""
    T, seeded, lead, NH = x.shape[0], states.dim() == 4, states.shape[1:-1], states.shape[-1]
    S, B, H = lead[:-1].numel(), lead[-1], NH // cell.states
    counted = profile is not None
    with _outside(x.device, precision):
        flags = {"HAS_H": g_h is not None, "PROFILE": counted}
        launch, plan, programs = _launch(backward_kernel, cell, S, B, H, precision, x.device, **flags)
        before = _rows(states, seeded).contiguous()
        g = x.new_zeros((*lead, NH)) if g_final is None else g_final.clone(memory_format=torch.contiguous_format)
        grad_a, grad_p = x.new_empty((S, T * B, width(cell) * H)), x.new_empty((*lead, cell.params, H))
        squares = x.new_empty((S, programs, cell.states, T) if counted else 0, dtype=torch.float64)
        launch(
            _weights(W, precision, x, transpose=False, dot=plan.dot), x if p is None else p.contiguous(), before,
            _rows(saved, seeded).contiguous(), x if g_h is None else _rows(g_h, seeded).contiguous(),
            g, grad_a, grad_p, squares, T=T,
        )  # fmt: skip
        if profile is not None:
            norms = squares.sum(1).sqrt()  # (S,N,T)
            profile.copy_(norms if seeded else norms.squeeze(0))
        grads = _outer(cell, _rows(x, seeded), _seed_axis(V, seeded), before, grad_a, needs, has_bias)
    if grads.x is not None:
        grads = grads._replace(x=_timed(grads.x, T, seeded))
    if not seeded:
        V0, b0, W0 = (None if t is None else t.squeeze(0) for t in (grads.V, grads.b, grads.W))
        grads = Gradients(grads.x, V0, b0, W0, None, None)
    return grads._replace(p=grad_p.sum(-3) if p is not None and needs.p else None, s0=g if needs.s0 else None)


def _chunk(rows: int) -> int:
    """Rows of one partial sum: a divisor of ``rows`` from 1,024 to 4,096, or all of them where there is none."""
    return next((size for size in range(min(4096, rows), 1023, -1) if rows % size == 0), rows)


def _over_time(a: Tensor, b: Tensor) -> Tensor:
    """a.mT @ b over (S,K,.), K = T*B, as partial sums of a few thousand rows each and their sum.

    One float32 sum over 94,080 rows (psMNIST) loses digits, and a batched product may split its output alone, which
    for so long a K is few blocks. What it does to the speed is not measured.
    """
    rows = a.shape[1]
    size = _chunk(rows)
    if size == rows:
        return torch.bmm(a.mT, b)
    # a seed at a time: all at once, b, which is a part of a longer buffer, would be copied
    return torch.stack(
        [torch.bmm(x.unflatten(0, (-1, size)).mT, y.unflatten(0, (-1, size))).sum(0) for x, y in zip(a, b)]
    )


def _outer(
    cell: Cell, x: Tensor, V: Tensor | None, before: Tensor, grad_a: Tensor, needs: Needs, has_bias: bool
) -> Gradients:
    """Gradients of x, V, b and W, seeds first, from grad_a (S,T*B,A*H) and the states before each step."""
    H = before.shape[-1] // cell.states
    GH, MH = cell.inputs * H, cell.products * H
    grad_u = grad_a[..., :GH]
    grad_x = grad_V = grad_b = grad_W = None
    if needs.x:
        grad_x = grad_u if V is None else torch.bmm(grad_u, V)
    if V is not None and needs.V:
        grad_V = _over_time(grad_u, x)
    if has_bias and needs.b:
        grad_b = grad_u.sum(1)
    if MH and needs.W:
        grad_m = grad_a[..., :MH] if cell.add else grad_a[..., GH:]
        grad_W = _over_time(grad_m, before[:, : grad_a.shape[1], : cell.recurrent * H])
    return Gradients(grad_x, grad_V, grad_b, grad_W, None, None)
