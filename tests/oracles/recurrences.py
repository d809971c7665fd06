"""The architectures once more, in NumPy and from their equations alone: nothing here imports torch or the suite.

Each function takes a dictionary of parameters, x (T,B,I) and options, and returns h (T,B,H) and the final state
(B,N*H), h first. They accept complex numbers, so that ``gradient`` can take the complex step: derivatives without any
hand-written backward and without cancellation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import expm

Array = np.ndarray
STEP = 1e-30  # of the complex step: the error is of order STEP^2


def sigmoid(v: Array) -> Array:
    return 1 / (1 + np.exp(-v))


def _skew(upper: Array, H: int) -> Array:
    """W - W^T of a strictly upper triangular W given row by row."""
    W = np.zeros((H, H), dtype=upper.dtype)
    W[np.triu_indices(H, 1)] = upper
    return W - W.T


def tanh_rnn(w: dict[str, Array], x: Array) -> tuple[Array, Array]:
    """h_t = tanh(W x_t + U h_{t-1} + b)."""
    W, U, b = w["weight_ih_l0"], w["weight_hh_l0"], w["bias_ih_l0"] + w["bias_hh_l0"]
    h, out = np.zeros((x.shape[1], len(U)), dtype=U.dtype), []
    for u in x:
        h = np.tanh(u @ W.T + h @ U.T + b)
        out.append(h)
    return np.stack(out), h


def lstm(w: dict[str, Array], x: Array) -> tuple[Array, Array]:
    """i, f, o = sigmoid(.), g = tanh(.); c_t = f c_{t-1} + i g; h_t = o tanh(c_t); rows i, f, g, o."""
    W, U, b = w["weight_ih_l0"], w["weight_hh_l0"], w["bias_ih_l0"] + w["bias_hh_l0"]
    H = U.shape[1]
    h = c = np.zeros((x.shape[1], H), dtype=U.dtype)
    out = []
    for u in x:
        i, f, g, o = np.split(u @ W.T + h @ U.T + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out), np.concatenate((h, c), 1)


def cornn_matrices(w: dict[str, Array], I: int, layout: str) -> tuple[Array, Array, Array, Array]:
    """V (input), W (on y), Z (on z) and b of a published layout; concatenations are (u, z, y) and (z, y)."""
    b = w["i2h.bias"]
    H = len(b)
    if layout == "concat":
        M = w["i2h.weight"]
        return M[:, :I], M[:, I + H :], M[:, I : I + H], b
    if layout == "separate":
        return w["i2h.weight"], w["y2h.weight"], w["z2h.weight"], b
    M = w["h2h.weight"]
    return w["i2h.weight"], M[:, H:], M[:, :H], b


def cornn(
    w: dict[str, Array], x: Array, *, dt: float, gamma: float, epsilon: float, damping: str, layout: str
) -> tuple[Array, Array]:
    """z_n = z_{n-1} + dt (tanh(W y + Z z + V u + b) - gamma y - epsilon z_k), y_n = y_{n-1} + dt z_n; k = n-1 or n."""
    V, W, Z, b = cornn_matrices(w, x.shape[2], layout)
    y = z = np.zeros((x.shape[1], len(b)), dtype=W.dtype)
    out = []
    for u in x:
        force = np.tanh(y @ W.T + z @ Z.T + u @ V.T + b) - gamma * y
        z = z + dt * (force - epsilon * z) if damping == "explicit" else (z + dt * force) / (1 + dt * epsilon)
        y = y + dt * z
        out.append(y)
    return np.stack(out), np.concatenate((y, z), 1)


def exprnn(w: dict[str, Array], x: Array) -> tuple[Array, Array]:
    """h_t = modrelu(T x_t + h_{t-1} B), B = expm(A) with A skew-symmetric; modrelu(v) = sign(v) relu(|v| + b)."""
    T, b = w["T"], w["bias"]
    B = expm(_skew(w["skew"], len(b)))
    h, out = np.zeros((x.shape[1], len(b)), dtype=B.dtype), []
    for u in x:
        v = u @ T.T + h @ B
        sign = np.sign(v.real)
        size = sign * v + b  # |v| + b, differentiable along the complex step
        h = np.where(size.real > 0, sign * size, 0)
        out.append(h)
    return np.stack(out), h


def antisymmetric(w: dict[str, Array], x: Array, *, epsilon: float, gamma: float, gated: bool) -> tuple[Array, Array]:
    """h_t = h_{t-1} + epsilon z_t tanh(A h_{t-1} + V x_t + b), A = W - W^T - gamma I; z_t = 1, or its own sigmoid."""
    V, b = w["V"], w["bias"]
    H = len(b) // (2 if gated else 1)
    A = _skew(w["skew"], H) - gamma * np.eye(H)
    h, out = np.zeros((x.shape[1], H), dtype=A.dtype), []
    for u in x:
        a = h @ A.T
        gate = sigmoid(a + u @ V[:H].T + b[:H]) if gated else 1.0
        h = h + epsilon * gate * np.tanh(a + u @ V[-H:].T + b[-H:])
        out.append(h)
    return np.stack(out), h


def fastrnn(w: dict[str, Array], x: Array) -> tuple[Array, Array]:
    """c_t = tanh(W x_t + U h_{t-1} + b), h_t = sigmoid(beta) h_{t-1} + sigmoid(alpha) c_t."""
    h, out = np.zeros((x.shape[1], len(w["U"])), dtype=w["U"].dtype), []
    for u in x:
        c = np.tanh(u @ w["W"].T + h @ w["U"].T + w["bias"])
        h = sigmoid(w["beta"]) * h + sigmoid(w["alpha"]) * c
        out.append(h)
    return np.stack(out), h


def gradient(
    run: Callable[[dict[str, Array], Array], tuple[Array, Array]],
    w: dict[str, Array],
    x: Array,
    on_h: Array,
    on_final: Array,
) -> dict[str, Array]:
    """Derivative of sum(h * on_h) + sum(final * on_final) by every parameter and by x, one complex step an entry."""
    values = {**{n: v.astype(complex) for n, v in w.items()}, "x": x.astype(complex)}
    out = {}
    for name, value in values.items():
        grad = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            kept = value[index]
            value[index] = kept + 1j * STEP
            h, final = run({n: v for n, v in values.items() if n != "x"}, values["x"])
            value[index] = kept
            grad[index] = ((h * on_h).sum() + (final * on_final).sum()).imag / STEP
        out[name] = grad
    return out
