"""Small raw files of the true formats, and what the tests of tasks share."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks import TASKS
from tasks.contract import SPLITS
from tasks.reviews import FOLDERS, pack, save
from tasks.sources import HAR_FOLDER, HAR_SIGNALS, SOURCES

SMALL = {
    "adding": {"length": 20, "epoch_steps": 3, "valid_examples": 30, "test_examples": 25},
    "adding-2000": {"epoch_steps": 2, "valid_examples": 8, "test_examples": 8},
    "adding-5000": {"epoch_steps": 2, "valid_examples": 8, "test_examples": 8},
    "smnist": {"valid_examples": 50, "train_examples": 70, "test_examples": 20},
    "psmnist": {"valid_examples": 50, "train_examples": 70, "test_examples": 20},
    "noisy_cifar": {"length": 40, "valid_examples": 60, "test_examples": 20},
    "har2": {},
    "imdb": {},
}
TRAIN, TEST = 200, 80  # examples of the small MNIST, CIFAR and HAR files
PER_FOLDER = 30
WORDS = [f"word{i}" for i in range(40)] + ["The", "the", "film", "isn't"]


def _write_mnist(root: Path, draw: np.random.Generator) -> None:
    folder = root / "MNIST/raw"
    folder.mkdir(parents=True)
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        images = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, count, 28, 28) + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, count) + labels.tobytes())


def _write_cifar(root: Path, draw: np.random.Generator) -> None:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for raw in SOURCES["cifar10"].files:
        name = Path(raw.path).name
        records = draw.integers(0, 256, (TEST if name.startswith("test") else TRAIN // 5, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())


def _write_har(root: Path, draw: np.random.Generator) -> None:
    for split, count in (("train", TRAIN), ("test", TEST)):
        folder = root / HAR_FOLDER / split
        (folder / "Inertial Signals").mkdir(parents=True)
        for number, name in enumerate(HAR_SIGNALS):
            values = draw.normal(number, 1 + number, (count, 128))
            lines = (" ".join(f"{value: .7e}" for value in row) for row in values)
            (folder / "Inertial Signals" / f"{name}_{split}.txt").write_text("\n".join(lines) + "\n")
        (folder / f"y_{split}.txt").write_text("".join(f"{i % 6 + 1}\n" for i in range(count)))
        first, people = (1, 21) if split == "train" else (22, 9)
        (folder / f"subject_{split}.txt").write_text("".join(f"{first + i % people}\n" for i in range(count)))


def _write_imdb(root: Path, draw: np.random.Generator) -> None:
    found = {}
    for folder in FOLDERS:
        texts = [" ".join(draw.choice(WORDS, draw.integers(1, 25))) for _ in range(PER_FOLDER)]
        found[folder] = {i: (9 if folder.endswith("pos") else 2, text.encode()) for i, text in enumerate(texts)}
    save(root / SOURCES["imdb"].files[0].path, pack(found))


def write_all(root: Path) -> None:
    """One of each data set."""
    draw = np.random.default_rng(1)
    for write in (_write_mnist, _write_cifar, _write_har, _write_imdb):
        write(root, draw)


each_task = pytest.mark.parametrize("name", TASKS)
each_split = pytest.mark.parametrize("split", SPLITS)


def all_batches(task, split, epoch=1, size=16):
    return list(task.batches(split, size, epoch))


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(first, second)
    )
