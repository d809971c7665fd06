"""Random draws without global state: every use has its own generator, seeded from words."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

TEST_ORDER = 0  # seed of the fixed order that `test_examples` takes the first examples of


def generator(*words: object) -> torch.Generator:
    """A CPU generator seeded from words, e.g. ``generator(seed, "train", epoch)``.

    The seed is 63 bits of sha256 over the words, so streams of different words are unrelated.
    """
    digest = hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def permutation(count: int, *words: object) -> Tensor:
    """A permutation of ``count`` drawn from words: int64 (count,)."""
    return torch.randperm(count, generator=generator(*words))


def first_of_test(count: int, wanted: int | None) -> Tensor:
    """Which test examples an evaluation uses: int64 indices.

    All in file order, or with ``wanted`` the first of one fixed shuffled order, the same for every data seed
    (files are sorted by class or by person, so the first of the file would be no sample).
    """
    if wanted is None or wanted >= count:
        return torch.arange(count)
    return permutation(count, TEST_ORDER, "test examples")[:wanted].sort().values
