"""Large CPU buffers that are used again.

A training step at psMNIST's shape stores 144 MB. Fresh memory of that size costs 35,000 page faults a step, as long as
the recurrence's own products take, so buffers of a megabyte and more come from memory that earlier steps gave back. A
buffer returns by itself when the last tensor that views it is gone. At most ``IDLE`` buffers rest at a time; the memory
held is that of the largest step so far.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections import deque

import torch
from torch import Tensor

SMALL = 1 << 20  # bytes: below this the allocator of torch keeps memory itself
GRAIN = 1 << 21  # bytes of a huge page; sizes are rounded up to it
IDLE = 4  # buffers at rest: states and saved activations of two shapes (training and evaluation)

_idle: deque[tuple[int, mmap.mmap]] = deque()  # appended to by finalisers at any time: no lock, atomic operations only
poison = False  # tests: fill every buffer with NaN, so that memory never written is seen


def _fresh(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # private: a fork must not share it
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a kernel without huge pages: ordinary ones do
            return memory
    return memory


def _give_back(process: int, size: int, memory: mmap.mmap) -> None:
    if process != os.getpid():
        return
    _idle.append((size, memory))
    while len(_idle) > IDLE:
        _idle.popleft()


def _take(size: int) -> tuple[int, mmap.mmap]:
    """The smallest buffer at rest that fits without wasting half, or a fresh one."""
    at_rest = []
    while _idle:
        try:
            at_rest.append(_idle.popleft())
        except IndexError:
            break
    fitting = [item for item in at_rest if size <= item[0] <= 2 * size]
    best = min(fitting, key=lambda item: item[0], default=None)
    for item in at_rest:
        if item is not best:
            _idle.append(item)
    return best if best is not None else (size, _fresh(size))


def empty(*shape: int, like: Tensor) -> Tensor:
    """An uninitialised contiguous tensor of the dtype and device of ``like``."""
    count = 1
    for n in shape:
        count *= n
    wanted = count * like.element_size()
    if like.device.type != "cpu" or wanted < SMALL:
        out = like.new_empty(shape)
    else:
        size, memory = _take(-(-wanted // GRAIN) * GRAIN)
        lease = (ctypes.c_char * wanted).from_buffer(memory)
        weakref.finalize(lease, _give_back, os.getpid(), size, memory).atexit = False
        out = torch.frombuffer(lease, dtype=like.dtype, count=count).view(shape)
    return out.fill_(float("nan")) if poison else out
