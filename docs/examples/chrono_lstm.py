"""The LSTM with chrono initialisation: a packaged model that starts elsewhere (docs/new-architecture.md).

    b_f = log U(1, longest - 1),  b_i = -b_f,  all other biases 0

so that a unit's forget gate begins with a memory of 1 to ``longest`` steps. Source: Tallec and Ollivier, "Can recurrent
neural networks warp time?", ICLR 2018, section 2. The cell is the packaged one, so every engine runs it.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from models.contract import require
from models.lstm import LSTM


class ChronoLSTM(LSTM):
    """LSTM whose gates begin with long memories.

    Args:
        input_size: I.
        hidden_size: H.
        engine: what loops the cell.
        longest: steps that the longest memory spans, at least 3: the length of the task's sequences.
    """

    title: ClassVar[str] = "LSTM, chrono"
    source: ClassVar[str] = "Tallec and Ollivier, ICLR 2018; parameters as torch.nn.LSTM"

    def __init__(self, input_size: int, hidden_size: int, *, engine: str = "auto", longest: int = 784) -> None:
        super().__init__(input_size, hidden_size, engine=engine)
        require("longest", longest, ">= 3", longest >= 3)
        with torch.no_grad():
            forget = torch.empty(hidden_size).uniform_(1, longest - 1).log_()
            self.bias_hh_l0.zero_()
            self.bias_ih_l0.zero_()
            i, f, _, _ = self.bias_ih_l0.chunk(4)
            f.copy_(forget)
            i.copy_(-forget)
