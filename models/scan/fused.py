"""The `fused` engine: plain torch, any dtype, no compiler.

Hoisted input projection, an in-place loop over preallocated buffers, hand-written back-propagation through time,
and weight gradients by products over chunks of time (about 800 rows), so that nothing T-long is stored but the
states and the saved activations. An optional seed axis stands between T and B.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.scan import function
from models.scan.buffers import empty
from models.scan.cell import Cell, record_profile, rows, width
from models.scan.function import Gradients, Needs

_FEW = 8  # rows a thread, below which a product is summed apart: see `_product_`
ROWS = 800  # rows of (time x batch) a chunk: fewer, larger products; beyond this nothing is gained


def _chunk(x: Tensor) -> int:
    return max(1, ROWS // max(1, x.shape[-2]))


def _project(x: Tensor, V: Tensor | None, b: Tensor | None, out: Tensor) -> None:
    """Write u = x @ V.T + b for a chunk (n,...,B,I) into out (n,...,B,G*H), which may be a strided view."""
    if V is None:
        out.copy_(x)
        return
    if x.dim() == 3:
        flat, wide = x.reshape(-1, x.shape[-1]), out.shape[-1]
        if out.is_contiguous():
            u = out.view(-1, wide)
            torch.mm(flat, V.mT, out=u) if b is None else torch.addmm(b, flat, V.mT, out=u)
        else:
            u = flat @ V.mT if b is None else torch.addmm(b, flat, V.mT)
            out.copy_(u.view(out.shape))
        return
    torch.matmul(x, V.mT, out=out) if out.is_contiguous() else out.copy_(torch.matmul(x, V.mT))
    if b is not None:
        out.add_(b.unsqueeze(-2))


def _product_(out: Tensor, left: Tensor, right: Tensor, *, beta: int) -> None:
    """``out = beta * out + left @ right`` in place, with or without a seed axis; beta 0 ignores what out held."""
    if beta and out.is_cpu and out.shape[-2] < _FEW * torch.get_num_threads():
        # In place, BLAS adds every term of few rows to out by itself, at ten times the rounding error: MKL on an EPYC
        # up to 3 rows on one thread, 11 on two.
        out += left @ right
    elif out.dim() == 2:
        out.addmm_(left, right, beta=beta)
    else:
        out.baddbmm_(left, right, beta=beta)


def _accumulate_(out: Tensor, left: Tensor, right: Tensor) -> None:
    """``out (...,K,L) += sum over time and batch of left (n,...,B,K) x right (n,...,B,L)``.

    The product is made first and added then: in place, BLAS may add every term to the long sum by itself.
    """
    if out.dim() == 2:
        out += left.reshape(-1, left.shape[-1]).mT @ right.reshape(-1, right.shape[-1])
        return
    left, right = (t.movedim(0, 1).reshape(out.shape[0], -1, t.shape[-1]) for t in (left, right))
    out += torch.bmm(left.mT, right)


def forward(
    cell: Any, x: Tensor, V: Tensor | None, b: Tensor | None, W: Tensor | None, p: Tensor | None, s0: Tensor,
    *, keep: bool, precision: str = "float32",
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Run the loop; see ``models.scan.function`` for the contract."""
    T, lead, H = x.shape[0], s0.shape[:-1], s0.shape[-1] // cell.states
    GH, RH, KH = cell.inputs * H, cell.recurrent * H, cell.saved * H
    size = _chunk(x)
    states = empty((T if keep else 1) + 1, *lead, s0.shape[-1], like=x)
    saved = empty(T if keep else 0, *lead, KH, like=x)
    h = states[1:, ..., :H] if keep else empty(T, *lead, H, like=x)
    in_place = keep and cell.saved == width(cell)  # a's own buffer is then what is kept
    buffer = saved if in_place else empty(min(size, T), *lead, width(cell) * H, like=x)
    states[0].copy_(s0)
    vectors, Wt = rows(p), None if W is None else W.mT.contiguous()  # read T times: a tenth of the product
    all_states, all_left = states.unbind(0), states[..., :RH].unbind(0)  # views made at once cost a third
    beta = int(cell.add)
    for start in range(0, T, size):
        n = min(size, T - start)
        chunk = buffer[start : start + n] if in_place else buffer[:n]
        _project(x[start : start + n], V, b, chunk[..., :GH])
        products = chunk.unbind(0) if cell.add else chunk[..., GH:].unbind(0)
        for t, (a, m) in enumerate(zip(chunk.unbind(0), products), start):
            old, next_ = (t, t + 1) if keep else (t % 2, 1 - t % 2)
            if Wt is not None:
                _product_(m, all_left[old], Wt, beta=beta)
            cell.forward_(a, all_states[old], all_states[next_], vectors)
            if not keep:
                h[t].copy_(all_states[next_][..., :H])
        if keep and not in_place and KH:
            saved[start : start + n].copy_(chunk[..., :KH])
    final = states[T if keep else T % 2].clone()
    return h, final, states if keep else x.new_empty(0, *lead, 0), saved


def backward(
    cell: Any, x: Tensor, V: Tensor | None, W: Tensor | None, p: Tensor | None, states: Tensor, saved: Tensor,
    g_h: Tensor | None, g_final: Tensor | None,
    *, needs: Needs, has_bias: bool, profile: Tensor | None, precision: str = "float32",
) -> Gradients:  # fmt: skip
    """Back-propagation through time; see ``models.scan.function`` for the contract."""
    T, lead, NH = x.shape[0], states.shape[1:-1], states.shape[-1]
    H = NH // cell.states
    GH, RH = cell.inputs * H, cell.recurrent * H
    MH = cell.products * H
    size = min(_chunk(x), T)
    g = x.new_zeros((*lead, NH)) if g_final is None else g_final.clone(memory_format=torch.contiguous_format)
    buffer = empty(size, *lead, width(cell) * H, like=x)
    vectors = rows(p)
    grad_p = tuple(x.new_zeros((*lead, H)) for _ in vectors)
    total_p = None if p is None else p.new_zeros(p.shape, dtype=torch.float64)
    grad_x = empty(*x.shape, like=x) if needs.x else None
    grad_V = V.new_zeros(V.shape) if V is not None and needs.V else None
    grad_b = x.new_zeros((*lead[:-1], GH)) if has_bias and needs.b else None
    grad_W = W.new_zeros(W.shape) if W is not None and needs.W else None
    all_states, all_saved = states.unbind(0), saved.unbind(0)  # views made at once cost a third
    all_g_h = None if g_h is None else g_h.unbind(0)
    all_grads = buffer.unbind(0)
    all_products = (buffer[..., :MH] if cell.add else buffer[..., GH:]).unbind(0)
    g_first, g_left = g[..., :H], g[..., :RH]
    for start in reversed(range(0, T, size)):
        n = min(size, T - start)
        chunk = buffer[:n]
        for i in reversed(range(n)):
            t, grad_a = start + i, all_grads[i]
            if all_g_h is not None:
                g_first += all_g_h[t]
            if profile is not None:
                record_profile(profile, t, g, cell.states)
            cell.backward_(g, all_saved[t], all_states[t], all_states[t + 1], vectors, grad_a, grad_p)
            if W is not None:
                _product_(g_left, all_products[i], W, beta=1)
        for k, r in enumerate(grad_p):  # T*B terms that may cancel: single precision within a chunk only
            total_p[..., k, :] += r.sum(-2, dtype=torch.float64)  # type: ignore[index]
            r.zero_()
        grad_u, grad_m = chunk[..., :GH], chunk[..., :MH] if cell.add else chunk[..., GH:]
        here = slice(start, start + n)
        if grad_W is not None:
            _accumulate_(grad_W, grad_m, states[here][..., :RH])
        if grad_V is not None:
            _accumulate_(grad_V, grad_u, x[here])
        if grad_b is not None:
            grad_b += grad_u.sum((0, -2))
        if grad_x is not None:
            grad_x[here] = grad_u if V is None else torch.matmul(grad_u, V)
    grad_p_out = total_p.to(p.dtype) if total_p is not None and p is not None and needs.p else None
    return Gradients(grad_x, grad_V, grad_b, grad_W, grad_p_out, g if needs.s0 else None)


class _Fused:
    forward = staticmethod(forward)
    backward = staticmethod(backward)


KERNEL = _Fused()


def run(
    cell: Cell, x: Tensor, V: Tensor | None, b: Tensor | None, W: Tensor | None, p: Tensor | None, s0: Tensor,
    *, profile: Tensor | None = None, precision: str = "float32",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Loop a cell over time; arguments as in ``models.scan.cell.scan``."""
    return function.apply(KERNEL, cell, x, V, b, W, p, s0, profile=profile, precision=precision)
