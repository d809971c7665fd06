"""Whether cuDNN and cuBLAS may round the operands of float32 products to TF32."""

from __future__ import annotations

import warnings
from typing import Any

import torch


def allow_in_cudnn(allowed: bool) -> bool:
    """Set whether cuDNN may, which torch ships switched on; returns how its recurrences stood.

    By the older switch and the newer ones alike: torch refuses to read the older where they differ, and the older one
    switched off alone leaves the newer ones to torch's general setting (``torch.backends.fp32_precision``), which any
    imported code may have switched on.
    """
    cudnn: Any = torch.backends.cudnn  # its stubs lack the newer switches
    before = bool(cudnn.rnn.fp32_precision == "tf32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions since torch 2.9 call this switch old
        cudnn.allow_tf32 = allowed
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "tf32" if allowed else "ieee"
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
