"""How a scan is laid out on the GPU: rows a program, how it multiplies, warps.

Chosen by arithmetic from the cell's blocks, H, the precision and the number of rows; docs/gpu.md says why, with the
resources that every choice compiles to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

PRECISIONS = ("float32", "tf32", "bf16")
SHARED_LIMIT = 232_448  # bytes of shared memory a block may use on compute capability 9.0
SHARED_NEEDED = 163_840  # bytes that the largest of the plans compiles to, rounded up (docs/gpu.md)
MULTIPROCESSORS = 132  # of an H100 or H200 SXM: what plans without a device at hand assume
REGISTER_WEIGHTS = 128 * 1024  # bytes of float32 weights kept in registers: 128 a thread of 8 warps
SHARED_WEIGHTS = 144 * 1024  # bytes of weights kept in shared memory: the rest is for operands
FEW_ROWS = 4  # up to here the ordinary units beat tensor cores, which work on 16 rows whether they are there or not
# Largest H, and largest H times the larger of R and M: beyond, tiles of states no longer fit into registers.
MAX_HIDDEN = {"float32": 1024, "tf32": 512, "bf16": 512}
MAX_WIDTH = {"float32": 2048, "tf32": 1024, "bf16": 1024}


@dataclass(frozen=True)
class Plan:
    """One kernel's layout.

    Attributes:
        rows: batch rows a program owns.
        tile: rows of its tiles, at least ``rows``, a power of two.
        dot: tensor cores (True) or ordinary multiply-adds.
        stream: the matrix comes from L2 in every step (True), or stays on chip.
        block: rows of the matrix a step of the streaming loop.
        stages: depth of that loop's pipeline.
        warps: warps a program.
    """

    rows: int
    tile: int
    dot: bool
    stream: bool
    block: int
    stages: int
    warps: int

    @property
    def way(self) -> str:
        """``vector``, ``dot``, ``vector-stream`` or ``dot-stream``."""
        return ("dot" if self.dot else "vector") + ("-stream" if self.stream else "")


_forced: dict[str, Any] = {}  # of the process: autograd runs a backward in threads of its own


@contextlib.contextmanager
def forced(**fields: Any) -> Iterator[None]:
    """Within the block, plans have these fields: for tests and for measuring one layout against another."""
    before = dict(_forced)
    _forced.update(fields)
    try:
        yield
    finally:
        _forced.clear()
        _forced.update(before)


def padded(hidden_size: int) -> int:
    """HB: the next power of two, at least 16."""
    return max(16, 1 << (hidden_size - 1).bit_length())


def _power_below(number: int) -> int:
    """The largest power of two that is not above."""
    return 1 << max(0, number.bit_length() - 1)


def max_hidden(recurrent: int, products: int, precision: str) -> int:
    """The largest H of a cell with R recurrent and M product blocks."""
    return min(MAX_HIDDEN[precision], MAX_WIDTH[precision] // max(1, recurrent, products))


def choose(
    *, hidden_size: int, ins: int, outs: int, precision: str, rows: int, multiprocessors: int = MULTIPROCESSORS
) -> Plan:
    """The layout of one kernel.

    Args:
        hidden_size: H.
        ins: blocks of H that go into the product (forward R, backward M).
        outs: blocks that come out of it (forward M, backward R).
        precision: one of ``PRECISIONS``.
        rows: batch rows of all seeds together.
        multiprocessors: of the device.
    """
    HB = padded(hidden_size)
    entries = ins * outs * HB * HB
    each = 1 << max(0, -(-rows // multiprocessors) - 1).bit_length()  # rows a program, so that one wave does them all
    few = each <= FEW_ROWS or precision == "float32"
    if few and 4 * entries <= REGISTER_WEIGHTS:
        if each == 2 and max(ins, outs) > 2:
            each = 4  # with two rows and many blocks Triton moves the whole weight to another layout in every step
        each = min(each, FEW_ROWS)
        plan = Plan(each, each, False, False, 16, 1, min(8, _power_below(max(entries // 1024, HB // 64))))
    elif precision == "float32":
        # the fewer programs stream the matrix, the less L2 has to deliver: four rows each
        block = max(1, min(16, _power_below(16384 // (outs * FEW_ROWS * HB))))
        plan = Plan(FEW_ROWS, FEW_ROWS, False, True, block, 3, 8)
    else:
        size = 2 if precision == "bf16" else 4
        tile = 8 if each <= 8 or HB >= 512 or HB * max(ins, outs) >= 1024 else 16
        if size * entries <= SHARED_WEIGHTS:
            plan = Plan(min(each, tile), tile, True, False, 16, 1, 8)
        else:
            block = max(16, min(64, _power_below(64 * 1024 // (size * outs * HB))))
            plan = Plan(tile, tile, True, True, block, 3, 8)
    return replace(plan, **_forced)
