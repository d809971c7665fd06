"""One autograd.Function for every engine with a hand-written backward.

An engine is a *kernel*: a module or object with

    forward(cell, x, V, b, W, p, s0, *, keep, precision) -> (h, final, states, saved)
    backward(cell, x, V, W, p, states, saved, g_h, g_final, *, needs, has_bias, profile, precision) -> Gradients

``states`` is (T+1,...,B,N*H) with s0 first, ``saved`` is (T,...,B,saved*H); both are empty tensors without ``keep``.
Both are outputs of ``forward`` marked as not differentiable, so that ``vmap`` may batch them.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.scan.cell import Cell


class Needs(NamedTuple):
    """Which gradients are wanted."""

    x: bool
    V: bool
    b: bool
    W: bool
    p: bool
    s0: bool


class Gradients(NamedTuple):
    """What a kernel's backward returns, None where not needed."""

    x: Tensor | None
    V: Tensor | None
    b: Tensor | None
    W: Tensor | None
    p: Tensor | None
    s0: Tensor | None


class Kernel(Protocol):
    """What an engine with a hand-written backward offers."""

    forward: Any
    backward: Any


class ScanFunction(torch.autograd.Function):
    """Forward and backward of a kernel, with vmap over a seed axis. First-order gradients only."""

    generate_vmap_rule = False

    @staticmethod
    def forward(kernel, cell, options, x, V, b, W, p, s0):  # type: ignore[override]
        """Run the kernel; ``options`` is (keep, precision, profile)."""
        keep, precision, _ = options
        return kernel.forward(cell, x, V, b, W, p, s0, keep=keep, precision=precision)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep what the backward reads."""
        kernel, cell, options, x, V, b, W, p, _ = inputs
        _, _, states, saved = output
        ctx.mark_non_differentiable(states, saved)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, V, W, p, states, saved)
        ctx.kernel, ctx.cell, ctx.options, ctx.has_bias = kernel, cell, options, b is not None

    @staticmethod
    @once_differentiable
    def backward(ctx, g_h, g_final, *_):
        """Back-propagation through time by the kernel."""
        nothing = (None,) * 3
        if g_h is None and g_final is None:
            return (*nothing, *(None,) * 6)
        x, V, W, p, states, saved = ctx.saved_tensors
        _, precision, profile = ctx.options
        needs = Needs(*ctx.needs_input_grad[3:])
        grads = ctx.kernel.backward(
            ctx.cell, x, V, W, p, states, saved, g_h, g_final,
            needs=needs, has_bias=ctx.has_bias, profile=profile, precision=precision,
        )  # fmt: skip
        return (*nothing, *grads)

    @staticmethod
    def vmap(info, in_dims, kernel, cell, options, x, V, b, W, p, s0):
        """Move the seed axis to the engine's own place: after T for x, first for everything else."""

        def place(tensor: Tensor | None, dim: int | None, target: int) -> Tensor | None:
            if tensor is None:
                return None
            if dim is None:
                shape = (*tensor.shape[:target], info.batch_size, *tensor.shape[target:])
                return tensor.unsqueeze(target).expand(shape)
            return tensor.movedim(dim, target)

        if x.dim() - (in_dims[3] is not None) != 3:
            raise NotImplementedError("one vmap over a scan is supported, not two")
        tensors = [place(x, in_dims[3], 1)]
        tensors += [place(t, d, 0) for t, d in zip((V, b, W, p, s0), in_dims[4:], strict=True)]
        return ScanFunction.apply(kernel, cell, options, *tensors), (1, 0, 1, 1)


def apply(
    kernel: Kernel,
    cell: Cell,
    x: Tensor,
    V: Tensor | None,
    b: Tensor | None,
    W: Tensor | None,
    p: Tensor | None,
    s0: Tensor,
    *,
    profile: Tensor | None = None,
    precision: str = "float32",
) -> tuple[Tensor, Tensor]:
    """Run a kernel under autograd; without gradients nothing is kept but the output."""
    tensors = [t for t in (x, V, b, W, p, s0) if t is not None]
    inside_vmap = torch._C._functorch.peek_interpreter_stack() is not None
    keep = torch.is_grad_enabled() and (inside_vmap or any(t.requires_grad for t in tensors))
    h, final, *_ = ScanFunction.apply(kernel, cell, (keep, precision, profile), x, V, b, W, p, s0)
    return h, final
