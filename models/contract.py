"""What every architecture obeys: input (T,B,I), states out, hyperparameters in the signature, profiles on request."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.scan import engines
from models.scan.cell import Cell, scan


class ModelError(ValueError):
    """A hyperparameter out of range: the message says what was wanted and what came."""


def require(name: str, value: float, wanted: str, good: bool) -> None:
    """Raise ModelError unless ``good``.

    Args:
        name: the hyperparameter.
        value: what came.
        wanted: the range in words, e.g. ``"> 0"``.
        good: whether the value is in range.
    """
    if not good or not math.isfinite(value):
        raise ModelError(f"{name}: wanted {wanted}, got {value}")


class Recurrence(nn.Module, ABC):
    """A recurrent architecture. Keyword-only arguments of ``__init__`` are the hyperparameter schema.

    Subclass this with any torch code in ``forward``; subclass ``CellRecurrence`` to get the engines.

    Attributes:
        version: bump when results may change; part of a run's id.
        source: paper and equation.
        title: what reports call it; empty: the name it was asked by. A subclass has one of its own or none.
        states: N, blocks of H columns in the final state; block 0 is h.
        block_names: names of the state blocks, for profiles.
        whole_engines: engines that replace the whole architecture (``torch``).
        precision: arithmetic of the products, set by the runner: ``float32``, ``tf32`` or ``bf16``.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = ""
    title: ClassVar[str] = ""
    states: ClassVar[int] = 1
    block_names: ClassVar[tuple[str, ...]] = ("h",)
    whole_engines: ClassVar[tuple[str, ...]] = ()
    precision: str = "float32"

    def __init__(self, input_size: int, hidden_size: int, *, engine: str = "auto") -> None:
        super().__init__()
        require("input_size", input_size, ">= 1", input_size >= 1)
        require("hidden_size", hidden_size, ">= 1", hidden_size >= 1)
        if engine != "auto" and engine not in engines.NAMES:
            raise engines.EngineError(f"unknown engine {engine!r}: known are auto, {', '.join(engines.NAMES)}")
        self.input_size, self.hidden_size, self.engine = input_size, hidden_size, engine

    @abstractmethod
    def forward(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over a sequence.

        Args:
            x: (T,B,I), which is left as it is.
            profile: (N,T) buffer to be filled by the backward pass with the norm of dL/d(state_t), or None.

        Returns:
            h (T,B,H) and the final state (B,N*H), h first.
        """

    def engine_for(self, device: torch.device, dtype: torch.dtype) -> str:
        """The engine that ``forward`` will use there. Raises EngineError for a stated engine that cannot run."""
        if self.precision in ("tf32", "bf16"):
            raise engines.EngineError(
                f"precision {self.precision}: it is for the triton engine, and {type(self).__name__} defines no cell"
            )
        if self.engine == "graph":
            reason = engines.unavailable("graph", device.type)
            if reason is not None:
                raise engines.EngineError(f"engine graph: {reason}")
            return "graph"
        if self.engine not in ("auto", "reference"):
            raise engines.EngineError(
                f"engine {self.engine}: {type(self).__name__} defines no cell; it runs on reference (plain torch code) "
                "and, on a GPU, on graph"
            )
        return "reference"

    def run(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, ...]:
        """``forward`` on the stated engine: what ``SequenceModel`` calls."""
        if self.engine != "graph" or isinstance(self, CellRecurrence):
            return self(x, profile=profile)
        from models.scan import graph

        self.engine_for(x.device, x.dtype)
        return graph.run_module(self, x, profile=profile, check=partial(check_pair, self))

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Optimiser groups of this recurrence's parameters; one group by default."""
        return [{"params": list(self.parameters()), "lr": lr}]

    def diagnostics(self) -> dict[str, float]:
        """What the model measures of itself after an epoch."""
        return {}


def check_pair(recurrence: Recurrence, found: Any) -> None:
    """What a recurrence returned is a pair: a tensor with two time steps would be taken apart as one.

    Raises:
        ModelError: what was wanted, and what came.
    """
    if isinstance(found, (tuple, list)) and len(found) == 2:
        return
    if isinstance(found, Tensor):
        got = f"a tensor of shape {tuple(found.shape)}"
    else:
        got = f"a {type(found).__name__} of {len(found)}" if isinstance(found, (tuple, list)) else type(found).__name__
    wanted = "a pair, h (T,B,H) and the final state (B,N*H)"
    raise ModelError(f"{type(recurrence).__name__}.forward: wanted {wanted}; got {got}")


CHANGED = "x: wanted it left as it is, got it changed in place (x.mul_(2) in place of x * 2, say)"


def version_of(x: Tensor) -> int | None:
    """Torch's count of changes of a tensor in place, its views' too; None in inference mode, which counts none."""
    return None if x.is_inference() else x._version


def check_run(recurrence: Recurrence, x: Tensor, found: Any, version: int | None) -> None:
    """What a recurrence gave for x (T,B,I): read out by shape alone, a wrong one would be trained without a word.

    x may be the task's own data, not a copy: changed in place it would be other data from then on.
    """
    check_pair(recurrence, found)
    if version is not None and x._version != version:
        raise ModelError(f"{type(recurrence).__name__}.forward: {CHANGED}")
    (h, final), (T, B), H = found, x.shape[:2], recurrence.hidden_size
    for name, wanted, shape, got in (
        ("h", "(T,B,H)", (T, B, H), h),
        ("final state", "(B,N*H)", (B, recurrence.states * H), final),
    ):
        if not isinstance(got, Tensor) or tuple(got.shape) != shape:
            words = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
            raise ModelError(f"{type(recurrence).__name__}.forward: {name}: wanted {wanted} = {shape}, got {words}")


class CellRecurrence(Recurrence):
    """An architecture given as a ``Cell``: every engine that knows the cell can run it."""

    @abstractmethod
    def cell(self) -> Cell:
        """The time step, with its constants."""

    @abstractmethod
    def weights(self) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """V (G*H,I), b (G*H), W (M*H,R*H) and p (P,H), by torch code that autograd can follow."""

    def engine_for(self, device: torch.device, dtype: torch.dtype) -> str:
        """The engine that ``forward`` will use there. Raises EngineError for a stated engine that cannot run."""
        if self.engine in engines.WHOLE and self.engine not in self.whole_engines:
            raise engines.EngineError(f"engine {self.engine}: torch has no {type(self).__name__}")
        if self.engine in self.whole_engines:
            if self.precision == "bf16":
                raise engines.EngineError(f"engine {self.engine}: precision bf16 is for the triton engine alone")
            if self.precision == "tf32" and device.type != "cuda":
                raise engines.EngineError(f"engine {self.engine}: precision tf32 is for a GPU, not for {device.type}")
            return self.engine
        facts = {
            "device": device,
            "dtype": dtype,
            "hidden_size": self.hidden_size,
            "precision": self.precision,
        }
        return engines.choose(self.engine, self.cell(), **facts)  # type: ignore[arg-type]

    def forward(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Loop the cell over x (T,B,I); see ``Recurrence.forward``."""
        s0 = x.new_zeros((x.shape[1], self.states * self.hidden_size))
        V, b, W, p = self.weights()
        return scan(
            self.cell(), x, V, b, W, p, s0, engine=self.engine, profile=profile, precision=self.precision
        )  # fmt: skip


def uniform_(tensors: Iterable[Tensor], bound: float) -> None:
    """Fill tensors from U(-bound, bound) with torch's current generator."""
    for tensor in tensors:
        nn.init.uniform_(tensor, -bound, bound)
