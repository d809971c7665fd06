"""Whether cuDNN and cuBLAS may round the operands of float32 products to TF32."""

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


def cublas(precision: str = "ieee") -> str:
    """Set how cuBLAS multiplies float32 (``ieee``, ``tf32``, ``none``: torch's general setting); returns how it stood.

    torch ships it exact, but the environment (TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, set in some container images) and any
    imported code may have switched TF32 on, and a run is called float32 by its own precision alone. The ``triton``
    engine switches it for its own products, and back.
    """
    before = str(torch.backends.cuda.matmul.fp32_precision)
    torch.backends.cuda.matmul.fp32_precision = precision
    return before
