"""The exponential of expRNN: right, differentiable, of one matrix or several."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.exponential import exponential


def rotations(angles: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A skew-symmetric matrix with these angles in a random basis, and its exponential."""
    n = 2 * len(angles)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    even = torch.arange(0, n, 2)
    skew, turned = torch.zeros(2, n, n, dtype=torch.float64)
    skew[even, even + 1], skew[even + 1, even] = angles, -angles
    turned[even, even] = turned[even + 1, even + 1] = angles.cos()
    turned[even, even + 1], turned[even + 1, even] = angles.sin(), -angles.sin()
    skew = basis @ skew @ basis.mT
    return (skew - skew.mT) / 2, basis @ turned @ basis.mT


def skew(n: int, scale: float, *lead: int) -> torch.Tensor:
    A = scale * torch.randn(*lead, n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    return A - A.mT


@given(st.lists(st.floats(-150, 150), min_size=1, max_size=12), st.integers(0, 1000))
def test_it_turns_by_the_angles(angles, seed):
    A, wanted = rotations(torch.tensor(angles, dtype=torch.float64), seed)
    torch.testing.assert_close(exponential(A), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("least", "most", "count"), [(1e-6, 1e-6, 256), (150, 150, 256), (-150, 150, 512)])
def test_at_large_sizes(least, most, count):
    A, wanted = rotations(torch.linspace(least, most, count, dtype=torch.float64), 0)
    torch.testing.assert_close(exponential(A), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 17, 64])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 2.0])
def test_its_derivative_is_that_of_torch(n, scale):
    A = skew(n, scale).requires_grad_()
    weight = torch.randn(n, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (wanted,) = torch.autograd.grad((torch.matrix_exp(A) * weight).sum(), A)
    (got,) = torch.autograd.grad((exponential(A) * weight).sum(), A)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-11 * float(wanted.abs().max()))


def test_its_derivative_is_that_of_differences():
    assert torch.autograd.gradcheck(lambda x: exponential(x - x.mT), skew(4, 0.5).requires_grad_())


def test_several_at_once_are_those_one_by_one():
    A = skew(6, 0.7, 3)
    wanted = torch.stack([exponential(one) for one in A])
    torch.testing.assert_close(exponential(A), wanted)
    torch.testing.assert_close(torch.vmap(exponential)(A), wanted)


@pytest.mark.parametrize("value", [400.0, 1e30, math.inf, math.nan])
def test_what_it_cannot_give_is_nan(value):
    A = torch.tensor([[0.0, value], [-value, 0.0]], dtype=torch.float64)
    assert exponential(torch.stack([A, 0 * skew(2, 1.0)])).isnan().tolist() == [[[True] * 2] * 2, [[False] * 2] * 2]
