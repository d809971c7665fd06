"""Recurrent layers one upon the other: each reads the h of the one below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.contract import Recurrence, check_run, version_of
from models.scan import graph


class Stacked(Recurrence):
    """Layers of one architecture, as ``num_layers`` of ``torch.nn.LSTM`` stacks them, without dropout between them.

    Each layer runs on the engine that it would run on alone. Blocks of the final state and of the profile are those of
    the top layer, then of the one below it, and so on: block 0 is the h that is read out.

    Args:
        layers: from the bottom up; all but the first take the hidden size of the one below as their input size.
    """

    layers: Sequence[Recurrence]

    def __init__(self, layers: Sequence[Recurrence]) -> None:
        bottom, top = layers[0], layers[-1]
        super().__init__(bottom.input_size, top.hidden_size, engine=top.engine)
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]
        self.states = sum(layer.states for layer in layers)  # type: ignore[misc]
        self.block_names = tuple(  # type: ignore[misc]
            f"{name} of layer {number}"
            for number, layer in reversed(list(enumerate(layers, 1)))
            for name in layer.block_names
        )

    @property
    def precision(self) -> str:  # type: ignore[override]
        """Arithmetic of the products, the same in all layers."""
        return self.layers[-1].precision

    @precision.setter
    def precision(self, value: str) -> None:
        for layer in self.layers:
            layer.precision = value

    def run(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, ...]:
        """Layer by layer, each on its own engine (``graph`` records each by itself)."""
        return self(x, profile=profile)

    def forward(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over x (T,B,I); see ``Recurrence.forward``."""
        h, finals, row = x, [], self.states
        for number, layer in enumerate(self.layers):
            row, version = row - layer.states, version_of(h)
            with graph.layer(number):
                found = layer.run(h, profile=None if profile is None else profile[row : row + layer.states])
            check_run(layer, h, found, version)
            h, final = found
            finals.append(final if layer is self.layers[-1] else final.detach())  # nobody reads those below
        return h, torch.cat(finals[::-1], dim=-1)

    def engine_for(self, device: torch.device, dtype: torch.dtype) -> str:
        """The engine of the layers. Raises EngineError for a stated engine that cannot run."""
        return [layer.engine_for(device, dtype) for layer in self.layers][-1]

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The layers' groups."""
        return [group for layer in self.layers for group in layer.parameter_groups(lr)]

    def diagnostics(self) -> dict[str, float]:
        """What each layer measures, named by its layer."""
        return {
            f"{name} of layer {number}": value
            for number, layer in enumerate(self.layers, 1)
            for name, value in layer.diagnostics().items()
        }
