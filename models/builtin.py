"""Recurrences that torch has itself: parameters as in ``torch.nn.RNNBase``, and the `torch` engine."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.backends.cudnn.rnn import get_cudnn_mode

from models.contract import CellRecurrence, uniform_
from models.scan.engines import EngineError


class BuiltinRecurrence(CellRecurrence):
    """One layer with torch's names, order of gates and initialisation: all U(-1/sqrt(H), 1/sqrt(H)).

    Class attributes:
        gates: G, blocks of H rows in weight_ih_l0 (G*H,I), weight_hh_l0 (G*H,H) and both biases (G*H).
        mode: what cuDNN calls the layer: ``LSTM``, ``RNN_TANH``.
    """

    gates: ClassVar[int]
    mode: ClassVar[str]
    whole_engines: ClassVar[tuple[str, ...]] = ("torch",)

    def __init__(self, input_size: int, hidden_size: int, *, engine: str = "auto") -> None:
        super().__init__(input_size, hidden_size, engine=engine)
        rows = self.gates * hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(rows))
        self.bias_hh_l0 = nn.Parameter(torch.empty(rows))
        uniform_(self.parameters(), hidden_size**-0.5)

    @abstractmethod
    def whole(self, x: Tensor, s0: Tensor, flat: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Torch's own layer: x (T,B,I), s0 (1,B,H) of zeros -> h (T,B,H), final state (B,N*H)."""

    def weights(self) -> tuple[Tensor, Tensor, Tensor, None]:
        """The two biases add up to one."""
        return self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0, self.weight_hh_l0, None

    def forward(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over x (T,B,I); the `torch` engine records no profile, so a profile is taken by another engine."""
        if self.engine != "torch":
            return super().forward(x, profile=profile)
        if profile is not None:
            return self._profiled(x, profile)
        flat: list[Tensor] = [self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0]
        self._lay_in_one_piece(flat, x)
        return self.whole(x, x.new_zeros((1, x.shape[1], self.hidden_size)), flat)

    def _profiled(self, x: Tensor, profile: Tensor) -> tuple[Tensor, Tensor]:
        """A profile needs an engine of our own; in tf32 that is `triton`, where it cannot run float32 is taken."""
        precision = self.precision
        try:
            self.engine = "auto"
            try:
                self.engine_for(x.device, x.dtype)
            except EngineError:
                self.precision = "float32"
            return super().forward(x, profile=profile)
        finally:
            self.engine, self.precision = "torch", precision

    def _lay_in_one_piece(self, flat: list[Tensor], x: Tensor) -> None:
        """Lay the weights one behind the other, as ``torch.nn.RNNBase`` does: else cuDNN copies them in every call."""
        if not x.is_cuda or not torch.backends.cudnn.is_acceptable(x):
            return
        if len({w.untyped_storage().data_ptr() for w in flat}) == 1:
            return
        with torch.no_grad(), torch.cuda.device_of(x):
            torch._cudnn_rnn_flatten_weight(
                flat, 4, x.shape[-1], get_cudnn_mode(self.mode), self.hidden_size, 0, 1, False, False
            )
