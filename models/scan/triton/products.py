# Triton's language: tuples grow by `+`, and a condition known when compiling is an `if`.
# mypy: ignore-errors
# ruff: noqa: RUF005, SIM108
"""How the kernels multiply.

Four ways to multiply, one matrix (IN*H, OUT*H) row-major in all of them:
``vector``         multiply and add on the ordinary units, the matrix in registers for the whole sequence;
``dot``            tensor cores, the matrix in shared memory for the whole sequence;
``vector-stream``, ``dot-stream``  the matrix comes from L2 in every step, in a pipelined loop over its rows; the
                   operand is read back from global memory, where the program has just written it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from models.scan.triton.maths import operand


@triton.jit
def load_matrix(base, H: tl.constexpr, HB: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr):
    """The matrix (IN*H, OUT*H) as OUT * IN tiles (HB, HB): tile [o * IN + i]; zeros past H."""
    k = tl.arange(0, HB)[:, None]
    n = tl.arange(0, HB)[None, :]
    inside = (k < H) & (n < H)
    tiles = ()
    for o in tl.static_range(OUT):
        for i in tl.static_range(IN):
            tiles = tiles + (tl.load(base + (i * H + k) * (OUT * H) + o * H + n, inside, 0.0),)
    return tiles


@triton.jit
def multiply_resident(
    out, factors, tiles, IN: tl.constexpr, OUT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr
):
    """out[o] + sum over i of factors[i] @ tiles[o * IN + i].

    A product is summed from zero and joined to out at the end: tensor cores that cut their sums off (those of V100, T4
    and A100 do) would else cut a large out, the gradient that goes straight through, once for every 8 or 16 rows of the
    matrix. It is joined by a subtraction, because Triton makes a sum of out and a product one again.
    """
    HOW: tl.constexpr = "ieee" if PRECISION == "float32" else "tf32"
    ONE_SUM: tl.constexpr = out[0].shape[0] == 1  # over all factors: fewer barriers. With 4 rows its terms would spill
    result = ()
    for o in tl.static_range(OUT):
        total = out[o]
        if DOT:
            negative = tl.zeros_like(total)
        for i in tl.static_range(IN):
            tile = tiles[o * IN + i]
            left = operand(factors[i], PRECISION, tile)
            if DOT:
                negative = tl.dot(-left, tile, negative, input_precision=HOW)
            elif ONE_SUM:
                if i == 0:
                    terms = left[:, :, None] * tile[None, :, :]
                else:
                    terms += left[:, :, None] * tile[None, :, :]
                if i == IN - 1:
                    total += tl.sum(terms, axis=1)
            else:
                total += tl.sum(left[:, :, None] * tile[None, :, :], axis=1)
        result = result + (total - negative if DOT else total,)
    return result


@triton.jit
def multiply_streamed(
    out, left_base, left_stride, row, row_mask, matrix,
    H: tl.constexpr, HB: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
    DOT: tl.constexpr, PRECISION: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """The same product, both factors from memory: left (rows, IN*H) at left_base, the matrix BK rows at a time."""
    HOW: tl.constexpr = "ieee" if PRECISION == "float32" else "tf32"
    K: tl.constexpr = IN * H
    k = tl.arange(0, BK)
    n = tl.arange(0, HB)[None, :]
    TILE: tl.constexpr = out[0].shape[0]
    sums = ()
    for _ in tl.static_range(OUT):  # from zero (multiply_resident), where K > BK, as in every plan
        if DOT:
            sums = sums + (tl.zeros((TILE, HB), tl.float32),)
        else:
            sums = sums + (tl.zeros((TILE, BK, HB), tl.float32),)
    for start in tl.range(0, K, BK, num_stages=STAGES):
        here = start + k
        left = tl.load(
            left_base + row[:, None] * left_stride + here[None, :], row_mask[:, None] & (here < K)[None, :], 0.0
        )
        inside = (here < K)[:, None] & (n < H)
        new = ()
        for o in tl.static_range(OUT):
            tile = tl.load(matrix + here[:, None] * (OUT * H) + o * H + n, inside, 0.0)
            rounded = operand(left, PRECISION, tile)
            if DOT:
                new = new + (tl.dot(rounded, tile, sums[o], input_precision=HOW),)
            else:
                new = new + (sums[o] + rounded[:, :, None] * tile[None, :, :],)
        sums = new
    result = ()
    for o in tl.static_range(OUT):
        result = result + (out[o] + (sums[o] if DOT else tl.sum(sums[o], axis=1)),)
    return result
