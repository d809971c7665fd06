"""Functions for Triton functors: tanh, sigmoid, sign and tanh's slope to a few ulp, NaN kept; rounding of operands.

They use Triton's own operations alone, so that the interpreter runs the very code that is compiled.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tanh(x):
    """Hyperbolic tangent: odd polynomial below 0.625 (coefficients of Cephes' tanhf), 1 - 2 / (exp(2|x|) + 1) above."""
    size = tl.abs(x)
    far = 1.0 - 2.0 / (tl.exp(2.0 * size) + 1.0)  # exp overflows to inf, and the quotient is then 0
    far = tl.where(x < 0.0, -far, far)
    s = x * x
    tail = -5.70498872745e-3 * s + 2.06390887954e-2
    tail = tail * s - 5.37397155531e-2
    tail = tail * s + 1.33314422036e-1
    tail = tail * s - 3.33332819422e-1
    near = tail * s * x + x
    return tl.where(size < 0.625, near, far)


@triton.jit
def slope(f):
    """The derivative of tanh from its value, 1 - f^2: as a product it keeps its digits where f is near 1."""
    return (1.0 - f) * (1.0 + f)


@triton.jit
def sigmoid(x):
    """Logistic function."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def sign(x):
    """-1, 0 or 1; NaN stays NaN."""
    return tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, x))


@triton.jit
def rounded(x, BITS: tl.constexpr):
    """A float32 without its lowest BITS mantissa bits, nearest even; NaN and inf kept.

    Tensor cores cut the lower bits of tf32 off, and the interpreter those of bfloat16: rounded before, a product does
    not depend on what multiplies.
    """
    bits = x.to(tl.int32, bitcast=True)
    bits = (bits + ((1 << (BITS - 1)) - 1) + ((bits >> BITS) & 1)) & -(1 << BITS)
    return tl.where(x == x, bits.to(tl.float32, bitcast=True), x)


@triton.jit
def operand(x, PRECISION: tl.constexpr, like):
    """An operand of a product, rounded to the precision and held in the element type of its partner ``like``."""
    if PRECISION == "tf32":
        return rounded(x, 13)
    elif PRECISION == "bf16":
        return rounded(x, 16).to(like.dtype)
    else:
        return x
