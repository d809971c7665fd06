"""Float32 rounded to fewer bits of mantissa, as tensor cores take the operands of a product."""

from __future__ import annotations

import torch
from torch import Tensor

DROPPED = {"tf32": 13, "bf16": 16}  # of a float32's 23 bits of mantissa


def rounded(x: Tensor, precision: str) -> Tensor:
    """Float32 rounded to the mantissa of ``tf32`` (10 bits) or ``bf16`` (7 bits), nearest even; NaN and inf kept."""
    drop = DROPPED[precision]
    bits = x.detach().contiguous().view(torch.int32)
    near = ((bits + ((1 << (drop - 1)) - 1) + ((bits >> drop) & 1)) & -(1 << drop)).view(torch.float32)
    return torch.where(x == x, near, x)
