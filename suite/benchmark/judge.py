"""Whether contenders compute the same: losses and gradients at equal weights, before anything is timed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from suite.benchmark.contenders import Step

# How far a contender may lie from the first one: of the loss, and of a parameter's gradient in the Euclidean norm. A
# wrong kernel lies further; how exact an engine is, tests say. Other rounding of float32 does less: 3e-5 at most at the
# shapes here, and 3e-3 in expRNN over 784 steps, where a unit on the other side of modrelu's threshold jumps. Operands
# rounded to tf32 and bf16 are compared over the first FIRST steps: there they change the loss by 2e-3 and 1e-2 at most,
# a gradient by 0.07 and 0.11 (expRNN again), measured with the plain loop and rounded operands; over all steps they
# make another function of expRNN (its gradient is 0.3 and 1.1 away at psMNIST's shape, docs/gpu.md).
CLOSE = {"float32": (1e-3, 5e-2), "tf32": (1e-2, 0.2), "bf16": (5e-2, 0.3)}
FIRST = 16


class Unequal(Exception):
    """Two contenders that do not compute the same, named in the message."""


class Judge:
    """Refuses to time what does not compute the same as a first contender, at equal weights and on equal batches.

    Args:
        name: of the first one.
        first: its step.
    """

    def __init__(self, name: str, first: Step) -> None:
        self.name, self.first = name, first
        self.weights = first.weights()
        first.load(self.weights)
        self.wanted: dict[int, tuple[float, dict[str, Tensor]]] = {}  # by the number of time steps

    def check(self, name: str, step: Step) -> None:
        """Compare each seed's loss and gradients, as closely as ``CLOSE`` says.

        Raises:
            Unequal: naming the two that differ.
        """
        step.load(self.weights)
        precisions = {step.precision, self.first.precision}
        length = step.shape.T if precisions == {"float32"} else min(FIRST, step.shape.T)
        if length not in self.wanted:
            self.wanted[length] = self.first.tried(length)[0]
        value, others = self.wanted[length]
        close, near = (max(limits) for limits in zip(*(CLOSE[one] for one in precisions), strict=True))
        for loss, gradients in step.tried(length):
            if not abs(loss - value) <= close * abs(value):
                raise Unequal(f"{name} gives loss {loss}, {self.name} {value}: they do not compute the same")
            apart = distance(gradients, others)
            if not apart <= near:
                line = f"{name}'s gradient lies {apart:.1e} from that of {self.name}: they do not compute the same"
                raise Unequal(line)


def check_equal(steps: dict[str, Step]) -> None:
    """Compare all with the first one.

    Raises:
        Unequal: naming the two that differ.
    """
    judge: Judge | None = None
    for name, step in steps.items():
        judge = judge or Judge(name, step)
        judge.check(name, step)


def distance(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Largest relative distance of a parameter's gradients; infinite where the parameters differ."""
    if got.keys() != wanted.keys():
        return math.inf
    sizes = {k: float(torch.linalg.vector_norm(v)) for k, v in wanted.items()}
    floor = 1e-6 * math.hypot(*sizes.values())  # a gradient that vanished is rounding alone
    apart = [float(torch.linalg.vector_norm(got[k] - wanted[k])) / max(sizes[k], floor, 1e-30) for k in wanted]
    return math.inf if any(map(math.isnan, apart)) else max(apart)
