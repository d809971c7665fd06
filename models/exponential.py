"""The exponential of skew-symmetric matrices, with a derivative, by matrix products alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SQUARINGS = 8
LARGEST = 400.0  # of |A^4|^(1/4), Frobenius norm: at least |A|_2 and at most n^(1/8) times that
_TAYLOR = [1 / math.factorial(k) for k in range(17)]


def exponential(A: Tensor) -> Tensor:
    """exp(A) (...,n,n) for skew-symmetric A (...,n,n): rotations by the angles that are A's eigenvalues over i.

    Scaling and squaring: the Taylor polynomial of degree 16 of A / 2^8 in six products (M. S. Paterson and L. J.
    Stockmeyer, SIAM J. Comput. 2, 1973), then eight squarings. In float64 entries are off by 1e-12 at most for angles
    up to 150 radians and n up to 1,024, and by 1e-9 where the result is not NaN. It is NaN from 367 radians on at the
    latest, and from 400 / n^(1/8) at the earliest (all angles equal), so that a run that gets there counts as diverged.

    ``torch.matrix_exp`` chooses the degree by a norm, for which the host of a GPU waits in every step, and takes the
    derivative as the exponential of a matrix of twice the size. Here no value decides what is computed, and autograd
    goes back through fourteen products.
    """
    A = A * 2.0**-SQUARINGS
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    square = A @ A
    cube, fourth = square @ A, square @ square

    def terms(first: int) -> Tensor:
        c = _TAYLOR[first : first + 4]
        return (c[0] * eye).add(A, alpha=c[1]).add(square, alpha=c[2]).add(cube, alpha=c[3])

    result = terms(12).add(fourth, alpha=_TAYLOR[16])
    for first in (8, 4, 0):
        result = result @ fourth + terms(first)
    for _ in range(SQUARINGS):
        result = result @ result
    size = torch.linalg.matrix_norm(fourth.detach()) * 2.0 ** (4 * SQUARINGS)
    return torch.where((size <= LARGEST**4)[..., None, None], result, math.nan)
