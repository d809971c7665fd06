"""``python -m suite.benchmark.rounding``: how far products with rounded operands carry a model from float32.

The plain loop on a CPU, the operands of every product of a time step rounded to nearest as the GPU's tf32 (10 bits of
mantissa) and bf16 (7 bits) do, forward and backward; sums and the read-out stay float32. (On a GPU the input projection
and the weight gradients are rounded to tf32 alone: here they share a product with the rest.) The table of docs/gpu.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from models import MODELS
from models.scan.rounding import DROPPED, rounded
from suite.benchmark.contenders import LOOP, Step
from suite.benchmark.judge import distance
from suite.benchmark.shapes import SHAPES, Shape

CPU = torch.device("cpu")


class _Product(torch.autograd.Function):
    """x @ W of rounded operands, and so in the backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, precision: str) -> Tensor:
        ctx.save_for_backward(x, W)
        ctx.precision = precision
        return rounded(x, precision) @ rounded(W, precision)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (x, W), g = (rounded(t, ctx.precision) for t in ctx.saved_tensors), rounded(grads[0], ctx.precision)
        return g @ W.mT, x.mT @ g, None


class Rounded(TorchFunctionMode):
    """Within the block, ``F.linear`` and ``@`` on float32 matrices round their operands, but for the weight ``exact``.

    Products in float64, expRNN's matrix exponential, are no products of a time step and stay as they are.
    """

    def __init__(self, precision: str, exact: Tensor) -> None:
        super().__init__()
        self.precision, self.exact, self.products = precision, exact, 0

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Torch's hook."""
        if func is F.linear and args[1] is not self.exact:
            x, W, bias = (*args, None)[:3]
            self.products += 1
            product = _Product.apply(x, W.mT, self.precision)
            return product if bias is None else product + bias
        if func in (Tensor.__matmul__, Tensor.matmul, torch.matmul, torch.mm) and args[0].dtype == torch.float32:
            self.products += 1
            return _Product.apply(*args, self.precision)
        return func(*args, **(kwargs or {}))


def apart(model: str, shape: Shape, seed: int) -> dict[str, tuple[float, float]]:
    """By precision: relative distance of the loss, and of the parameter's gradient that lies furthest off."""
    step = Step(model, LOOP, shape, CPU, seed=seed)
    ((loss, gradients),) = step.tried(shape.T)
    found = {}
    for precision in DROPPED:
        with Rounded(precision, step.model.readout.weight):
            ((other, others),) = step.tried(shape.T)
        found[precision] = abs(other - loss) / abs(loss), distance(others, gradients)
    return found


def lines(shape: Shape, models: tuple[str, ...], seeds: int) -> Iterator[str]:
    """The rows of a Markdown table: median over seeds, least and greatest in brackets."""
    for model in models:
        found = [apart(model, shape, seed) for seed in range(seeds)]
        cells = [
            f"{statistics.median(values):.1e} ({min(values):.1e} to {max(values):.1e})"
            for precision in DROPPED
            for values in zip(*(one[precision] for one in found), strict=True)
        ]
        yield f"| {' | '.join((model, *cells))} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How far products with rounded operands carry a model from float32.")
    parser.add_argument("--shape", choices=tuple(SHAPES), default="psmnist", help="default psmnist")
    parser.add_argument("--batch", type=int, default=8, help="rows, default 8")
    parser.add_argument("--seeds", type=int, default=5, help="default 5")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print("| model | tf32: loss | tf32: gradient | bf16: loss | bf16: gradient |\n|" + " --- |" * 5)
    for line in lines(replace(SHAPES[args.shape], B=args.batch), tuple(MODELS), args.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
