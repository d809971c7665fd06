"""Noise-padded CIFAR-10: 32 image rows of 96 values, then noise up to T = 1000.

A row holds its 32 red, then 32 green, then 32 blue values, scaled to [0,1]. Steps 33..1000 are N(0,1) noise.
Sources disagree on the noise (option ``noise``): the code of coRNN, UnICORNN, LEM and Lipschitz RNN draws *one*
968 x 96 sample and appends it to every image of every split (``shared``); the text of AntisymmetricRNN describes
noise of its own for every image (``independent``). 47,000/3,000/10,000 images as in the coRNN code.

Independent noise is fixed for each image, the same in every epoch and for every batch size: it is computed from
(noise seed, image, position) by a counter-based generator, so it is never stored.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tasks.contract import Batch, Spec, Split
from tasks.draws import first_of_test, generator, permutation
from tasks.indexed import Classification
from tasks.options import choice, integer, optional_integer
from tasks.sources import SOURCES, check, data_root

ROWS, ROW = 32, 96
TRAIN, TEST = 50_000, 10_000
CACHED_IMAGES = 2  # on a CPU, the noise of so many images is computed while it fits the cache
_GOLDEN, _MIX1, _MIX2 = -7046029254386353131, -4658895280553007687, -7723592293110705685  # SplitMix64, signed


def _mixed_shift(z: Tensor, bits: int, scratch: Tensor) -> Tensor:
    """``z`` shifted right by ``bits`` with zeros (torch's own shift of int64 copies the sign), in ``scratch``."""
    return torch.bitwise_right_shift(z, bits, out=scratch).bitwise_and_((1 << (64 - bits)) - 1)


def fill_normals(out: Tensor, rows: Tensor, key: int) -> None:
    """Fill each row of ``out`` with the standard normal numbers that belong to its number in ``rows``.

    Counter-based: SplitMix64 over (row, position), then Box-Muller, so a row's numbers depend on nothing else.
    In place, because temporaries would cost six times the arithmetic.

    Args:
        out: float32 (B,N), N even; overwritten.
        rows: int64 (B,), not negative.
        key: the stream, an integer below 2**63.
    """
    half = out.shape[1] // 2
    z = rows[:, None] * half + torch.arange(1, half + 1, device=out.device)
    scratch = torch.empty_like(z)
    z.mul_(_GOLDEN).add_(key)
    z.bitwise_xor_(_mixed_shift(z, 30, scratch)).mul_(_MIX1)
    z.bitwise_xor_(_mixed_shift(z, 27, scratch)).mul_(_MIX2)
    z.bitwise_xor_(_mixed_shift(z, 31, scratch))
    high = _mixed_shift(z, 40, scratch).add_(1)  # 24 bits: 1..2**24, so the logarithm is finite
    radius = high.to(torch.float32).mul_(2.0**-24).log_().mul_(-2.0).sqrt_()
    angle = z.bitwise_and_(0xFFFFFF).to(torch.float32).mul_(2.0 * math.pi * 2.0**-24)
    torch.mul(radius, angle.cos(), out=out[:, :half])
    torch.mul(radius, angle.sin_(), out=out[:, half:])


def _read(root: Path) -> tuple[Tensor, Tensor]:
    """Rows uint8 (60000,32,96) and labels int64 (60000,), training images first."""
    rows = torch.empty(TRAIN + TEST, ROWS, ROW, dtype=torch.uint8)
    labels = torch.empty(TRAIN + TEST, dtype=torch.int64)
    start = 0
    for raw in SOURCES["cifar10"].files:
        records = torch.from_numpy(np.fromfile(root / raw.path, dtype=np.uint8)).view(-1, 3073)
        part = slice(start, start + len(records))
        labels[part] = records[:, 0]
        colours = records[:, 1:].unflatten(1, (3, 32, 32))
        rows[part].view(-1, 32, 3, 32).copy_(colours.transpose(1, 2))
        start = part.stop
    return rows, labels


class NoisyCIFAR(Classification):
    """Noise-padded CIFAR-10.

    Args:
        seed: the data seed.
        data_dir: the data root, or None for the default one.
        noise: ``shared``, one sample for all images, or ``independent``, one an image.
        noise_seed: seed of the noise; None: drawn from the data seed.
        length: T, at least 33. Published: 1000.
        valid_examples: images split off the 50,000 for validation.
        train_examples: take only the first of the (shuffled) training split; None: all.
        test_examples: take only so many test images, the same for every seed; None: all.

    Raises:
        TaskError: an option out of range.
        DataError: the raw files are missing or altered.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "github.com/tk-rusch/coRNN noisy_cifar; arXiv:2010.00951"
    resident = ("rows", "labels", "padding")

    def __init__(
        self,
        *,
        seed: int,
        data_dir: Path | None = None,
        noise: str = "shared",
        noise_seed: int | None = None,
        length: int = 1000,
        valid_examples: int = 3000,
        train_examples: int | None = None,
        test_examples: int | None = None,
    ) -> None:
        super().__init__(seed=seed, data_dir=data_dir)
        self.noise = choice("noise", noise, ("shared", "independent"))
        self.length = integer("length", length, ROWS + 1)
        valid = integer("valid_examples", valid_examples, 1, TRAIN - 1)
        wanted = optional_integer("test_examples", test_examples, 1)
        stream = generator(self.seed if noise_seed is None else integer("noise_seed", noise_seed, 0), "noise")
        state = check(self.requires(), data_dir)["cifar10"]
        self.rows, self.labels = _read(data_root(data_dir))
        order = permutation(TRAIN, self.seed, "split")
        self._set_indices(order[valid:], order[:valid], first_of_test(TEST, wanted) + TRAIN)
        self._limit_train(train_examples)
        self.key = int(torch.randint(1 << 62, (1,), generator=stream))
        self.padding = torch.empty(0)
        if self.noise == "shared":
            self.padding = torch.randn(1, self.length - ROWS, ROW, generator=stream)
        self.facts = {"data": "cifar10", "files": state.variant, "noise": noise, "normalisation": "pixels / 255"}
        self.spec = Spec(
            input_size=ROW, output_size=10, length=self.length, metric="accuracy", higher_is_better=True, chance=0.1
        )

    @classmethod
    def requires(cls, **options: object) -> tuple[str, ...]:
        """CIFAR-10, whatever the options."""
        return ("cifar10",)

    def _pad(self, x: Tensor, index: Tensor) -> None:
        """Fill steps 33..T of ``x`` (B,T,96) with the noise of images ``index`` (B,)."""
        if self.noise == "shared":
            x[:, ROWS:] = self.padding
            return
        flat = x.view(len(x), -1)[:, ROWS * ROW :]
        size = len(x) if x.is_cuda else CACHED_IMAGES
        for part, images in zip(flat.split(size), index.split(size)):
            fill_normals(part, images, self.key)

    def gather(self, split: Split, index: Tensor) -> Batch:
        """X float32 (B,T,96), y int64 (B,)."""
        x = torch.empty(len(index), self.length, ROW, device=index.device)
        x[:, :ROWS] = self.rows[index].to(torch.float32).div_(255.0)
        self._pad(x, index)
        return Batch(x, self.labels[index])
