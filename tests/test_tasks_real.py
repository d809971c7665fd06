"""The tasks on the real data, where ``RNNBENCH_DATA`` says it is: sizes, classes, time to start."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from tasks import build

pytestmark = pytest.mark.realdata

REAL = Path(os.environ.get("RNNBENCH_DATA", "."))  # where it is not set, these tests are skipped (conftest)


@pytest.mark.parametrize(
    ("name", "train", "valid", "test", "labels"),
    [
        ("smnist", 57_000, 3_000, 10_000, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("psmnist", 57_000, 3_000, 10_000, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("noisy_cifar", 47_000, 3_000, 10_000, [1000] * 10),
        ("har2", 5_882, 1_470, 2_947, [471 + 491 + 537, 496 + 420 + 532]),
        ("imdb", 17_500, 7_500, 25_000, [12_500, 12_500]),
    ],
)
def test_the_real_data_has_the_published_sizes_and_starts_within_two_seconds(name, train, valid, test, labels):
    build(name, seed=0, data_dir=REAL)
    start = time.process_time()  # of this process alone: other work on the machine does not count
    task = build(name, seed=0, data_dir=REAL)
    seconds = time.process_time() - start
    assert task.sizes == {"train": train, "valid": valid, "test": test}
    assert task.labels[task.indices["test"]].flatten().long().bincount().tolist() == labels
    batch = next(task.batches("train", 64, 1))
    assert torch.isfinite(task.loss(torch.zeros(64, task.spec.output_size), batch))
    assert seconds < 2


def test_the_real_reviews_give_the_published_vocabulary_and_length():
    task = build("imdb", seed=0, data_dir=REAL)
    assert task.spec.vocabulary == 25_002 and 900 < task.spec.length < 1200
    assert task.words[2:5] == ["the", ",", "."] and {"The", "the"} <= set(task.words)
    assert task.embedding().shape == (25_002, 100)
