"""Whether cuDNN may round the operands of float32 products to TF32."""

from __future__ import annotations

import warnings

import torch


def allow_in_cudnn(allowed: bool) -> bool:
    """Set torch's switch, which it ships switched on; returns how it stood.

    The newer switches (``cudnn.rnn.fp32_precision``) are left alone: torch refuses to read this one once they differ.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions since torch 2.9 call this switch old
        before = bool(torch.backends.cudnn.allow_tf32)
        torch.backends.cudnn.allow_tf32 = allowed
    return before
