"""Cell functions for the Triton engine: one pair a cell, on tuples of tensors of any one shape.

    forward(a, state, p, c)               -> new (N tensors), saved (the cell's `saved` tensors)
    backward(g, saved, state, new, p, c)  -> direct dL/dstate (N), dL/da (as many as a), dL/dp (P), all unreduced

``a`` are the pre-activations (G, or G + M where the cell does not add), ``p`` the P parameter rows and ``c`` four
numbers, the cell's ``constants`` filled up with zeros. An architecture of one's own names its pair in its cell class:
``triton_functor = "my.package.kernels:FUNCTOR"``, a ``Functor``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import triton
import triton.language as tl

from models.scan.triton.maths import sigmoid, sign, slope, tanh

CONSTANTS = 4  # numbers a functor may read


class Functor(NamedTuple):
    """The two jitted functions of a cell."""

    forward: Any
    backward: Any


@triton.jit
def tanh_forward(a, state, p, c):
    """The state is tanh(a)."""
    return (tanh(a[0]),), ()


@triton.jit
def tanh_backward(g, saved, state, new, p, c):
    """h_{t-1} is reached through the product alone."""
    return (tl.zeros_like(g[0]),), (g[0] * slope(new[0]),), ()


@triton.jit
def cornn_forward(a, state, p, c):
    """Constants (dt, keep, force, spring): z = keep z + force tanh(a) - spring y, y = y + dt z."""
    f = tanh(a[0])
    z = state[1] * c[1] + f * c[2] - state[0] * c[3]
    return (state[0] + c[0] * z, z), (f,)


@triton.jit
def cornn_backward(g, saved, state, new, p, c):
    """z_n also acts through y_n."""
    gz = g[1] + c[0] * g[0]
    return (g[0] - c[3] * gz, gz * c[1]), (gz * slope(saved[0]) * c[2],), ()


@triton.jit
def antisymmetric_forward(a, state, p, c):
    """One constant: h = h + epsilon tanh(a)."""
    f = tanh(a[0])
    return (state[0] + c[0] * f,), (f,)


@triton.jit
def antisymmetric_backward(g, saved, state, new, p, c):
    """The gradient passes through unchanged."""
    return (g[0],), (g[0] * slope(saved[0]) * c[0],), ()


@triton.jit
def gated_forward(a, state, p, c):
    """With a = (u_z, u_h, m), h = h + epsilon sigmoid(u_z + m) tanh(u_h + m)."""
    z = sigmoid(a[0] + a[2])
    f = tanh(a[1] + a[2])
    return (state[0] + c[0] * (z * f),), (z, f)


@triton.jit
def gated_backward(g, saved, state, new, p, c):
    """The product feeds the gate and the candidate."""
    q = g[0] * saved[0] * c[0]
    gz = q * (1.0 - saved[0]) * saved[1]
    gu = q * slope(saved[1])
    return (g[0],), (gz, gu, gz + gu), ()


@triton.jit
def lstm_forward(a, state, p, c):
    """Gates i, f, g, o."""
    i = sigmoid(a[0])
    f = sigmoid(a[1])
    g = tanh(a[2])
    o = sigmoid(a[3])
    cell = f * state[1] + i * g
    return (o * tanh(cell), cell), (i, f, g, o)


@triton.jit
def lstm_backward(g, saved, state, new, p, c):
    """Only c_{t-1} is reached directly; tanh(c_t) is computed again."""
    i = saved[0]
    f = saved[1]
    u = saved[2]
    o = saved[3]
    t = tanh(new[1])
    gc = g[1] + g[0] * o * slope(t)
    gi = gc * u * i * (1.0 - i)
    gf = gc * state[1] * f * (1.0 - f)
    gu = gc * i * slope(u)
    go = g[0] * t * o * (1.0 - o)
    return (tl.zeros_like(g[0]), gc * f), (gi, gf, gu, go), ()


@triton.jit
def fastrnn_forward(a, state, p, c):
    """Rows of p: sigmoid(alpha), sigmoid(beta)."""
    f = tanh(a[0])
    return (p[1] * state[0] + p[0] * f,), (f,)


@triton.jit
def fastrnn_backward(g, saved, state, new, p, c):
    """h_{t-1} keeps the share sigmoid(beta)."""
    ga = g[0] * p[0] * slope(saved[0])
    return (g[0] * p[1],), (ga,), (g[0] * saved[0], g[0] * state[0])


@triton.jit
def exp_forward(a, state, p, c):
    """Modrelu: sign(a) relu(|a| + b); the comparison is written so that NaN passes."""
    size = tl.abs(a[0]) + p[0]
    return (sign(a[0]) * tl.where(size <= 0.0, 0.0, size),), ()


@triton.jit
def exp_backward(g, saved, state, new, p, c):
    """dL/da = g where h is not 0; h_{t-1} is reached through the product alone."""
    return (tl.zeros_like(g[0]),), (tl.where(new[0] == 0.0, 0.0, g[0]),), (g[0] * sign(new[0]),)


FUNCTORS: dict[str, Functor] = {
    "models.tanh:TanhCell": Functor(tanh_forward, tanh_backward),
    "models.cornn:CoRNNCell": Functor(cornn_forward, cornn_backward),
    "models.antisymmetric:AntisymmetricCell": Functor(antisymmetric_forward, antisymmetric_backward),
    "models.antisymmetric:GatedAntisymmetricCell": Functor(gated_forward, gated_backward),
    "models.lstm:LSTMCell": Functor(lstm_forward, lstm_backward),
    "models.fastrnn:FastRNNCell": Functor(fastrnn_forward, fastrnn_backward),
    "models.exprnn:ExpCell": Functor(exp_forward, exp_backward),
}


def functor_of(cell: Any) -> Functor | None:
    """The pair of a cell, or None: the table's, or the one its class names as ``triton_functor``.

    Raises:
        ImportError, AttributeError: a named pair that does not exist.
    """
    named = getattr(type(cell), "triton_functor", None)
    if named is None:
        return FUNCTORS.get(f"{type(cell).__module__}:{type(cell).__qualname__}")
    module, _, attribute = named.partition(":")
    return getattr(import_module(module), attribute)
