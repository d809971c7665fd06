"""The tanh (Elman) network.

    h_t = tanh(W x_t + U h_{t-1} + b)

Source: J. Elman, "Finding structure in time", Cognitive Science 14, 1990; parameters, names and initialisation as in
``torch.nn.RNN``: W (H,I), U (H,H) and two biases, all U(-1/sqrt(H), 1/sqrt(H)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.backends.cudnn.rnn import get_cudnn_mode

from models.contract import CellRecurrence, uniform_
from models.scan.engines import EngineError
from models.scan.inplace import tanh_backward


@dataclass(frozen=True)
class TanhCell:
    """h = tanh(a). Nothing is saved: the output is what its own derivative needs."""

    functor: ClassVar[str] = "tanh"
    states: int = 1
    recurrent: int = 1
    inputs: int = 1
    products: int = 1
    add: bool = True
    params: int = 0
    saved: int = 0
    constants: tuple[float, ...] = ()

    def step(self, a: Tensor, state: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """h_t from a = W x_t + U h_{t-1} + b."""
        return torch.tanh(a)

    def forward_(self, a: Tensor, state: Tensor, new: Tensor, p: tuple[Tensor, ...]) -> None:
        """In-place step."""
        torch.tanh(a, out=new)

    def backward_(self, g, saved, state, new, p, grad_a, grad_p) -> None:
        """dL/da = g (1 - h^2); h_{t-1} is reached through the product alone."""
        tanh_backward(g, new, grad_input=grad_a)
        g.zero_()


class TanhRNN(CellRecurrence):
    """tanh RNN; the `torch` engine is ``torch.nn.RNN`` with the same parameters."""

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Elman, Cognitive Science 14 (1990); parameters as torch.nn.RNN"
    whole_engines: ClassVar[tuple[str, ...]] = ("torch",)

    def __init__(self, input_size: int, hidden_size: int, *, engine: str = "auto") -> None:
        super().__init__(input_size, hidden_size, engine=engine)
        H = hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(H, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(H, H))
        self.bias_ih_l0 = nn.Parameter(torch.empty(H))
        self.bias_hh_l0 = nn.Parameter(torch.empty(H))
        uniform_(self.parameters(), H**-0.5)

    def cell(self) -> TanhCell:
        """The time step."""
        return TanhCell()

    def weights(self) -> tuple[Tensor, Tensor, Tensor, None]:
        """The two biases add up to one."""
        return self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0, self.weight_hh_l0, None

    def forward(self, x: Tensor, *, profile: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over x (T,B,I); the `torch` engine records no profile, so a profile is taken by another engine."""
        if self.engine != "torch" or profile is not None:
            return _without_torch(self, x, profile)
        flat: list[Tensor] = [self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0]
        _in_one_piece(flat, x, "RNN_TANH")
        s0 = x.new_zeros((1, x.shape[1], self.hidden_size))
        h, final = torch.rnn_tanh(x, s0, flat, True, 1, 0.0, self.training, False, False)
        return h, final[0]


def _in_one_piece(weights: list[Tensor], x: Tensor, mode: str) -> None:
    """Lay the weights one behind the other, as ``torch.nn.RNNBase`` does: else cuDNN copies them in every call."""
    if not x.is_cuda or not torch.backends.cudnn.is_acceptable(x):
        return
    if len({w.untyped_storage().data_ptr() for w in weights}) == 1:
        return
    with torch.no_grad(), torch.cuda.device_of(x):
        torch._cudnn_rnn_flatten_weight(
            weights, 4, x.shape[-1], get_cudnn_mode(mode), weights[1].shape[1], 0, 1, False, False
        )


def _without_torch(model: CellRecurrence, x: Tensor, profile: Tensor | None) -> tuple[Tensor, Tensor]:
    """The scan path of a model whose stated engine is `torch`: a profile needs an engine of our own.

    In tf32 that is `triton`; where it cannot run, the profile is taken in float32.
    """
    if model.engine != "torch":
        return CellRecurrence.forward(model, x, profile=profile)
    precision = model.precision
    try:
        model.engine = "auto"
        try:
            model.engine_for(x.device, x.dtype)
        except EngineError:
            model.precision = "float32"
        return CellRecurrence.forward(model, x, profile=profile)
    finally:
        model.engine, model.precision = "torch", precision
