"""CIFAR-10's python version without trust: an unpickler that can build arrays, bytes and plain values only."""

from __future__ import annotations

import codecs
import io
import pickle
from typing import Any

import numpy as np

from tasks.errors import DataError


def _empty_array(kind: type, shape: tuple[int, ...], code: object) -> np.ndarray:
    """Stands in for numpy's ``_reconstruct``: an empty array whose state follows; nothing large is allocated."""
    if kind is not np.ndarray or tuple(shape) != (0,):
        raise pickle.UnpicklingError(f"wanted an array, got {kind!r} of shape {shape!r}")
    return np.ndarray.__new__(np.ndarray, (0,), np.int8)


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 of Python 3 writes bytes; other codecs (zip, bz2) are refused."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"codec {encoding!r} is not allowed")
    return codecs.latin_1_encode(text)[0]


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return _ALLOWED[module, name]


def cifar_records(data: bytes, origin: str) -> bytes:
    """A pickled batch as the records of the binary version: a label byte, then 3,072 pixel bytes, 10,000 times.

    Args:
        data: the pickle: a dict with ``labels`` (10,000 ints) and ``data`` (uint8, 10,000 x 3,072).
        origin: name for messages.

    Raises:
        DataError: anything else in it, or a wrong shape.
    """
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        labels, pixels = batch[b"labels"], batch[b"data"]
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise ValueError("labels: wanted a list of integers")  # lists of lists may unfold without end
        labels = np.array(labels, dtype=np.uint8)
    except Exception as error:  # an unpickler fed with foreign bytes may raise anything
        raise DataError(
            f"{origin}: no CIFAR-10 batch of the python version ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3072):
        raise DataError(
            f"{origin}: wanted uint8 pixels ({len(labels)}, 3072), got {getattr(pixels, 'shape', type(pixels))}"
        )
    return np.concatenate([labels[:, None], pixels], axis=1).tobytes()
