"""What each task's protocol says, on small raw files of the true formats."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks.har2
import tasks.imdb
import tasks.noisy_cifar
import tasks.pixels
from tasks import build
from tasks.adding import Adding
from tasks.contract import SPLITS, DataError
from tasks.pixels import PixelMNIST, pixel_permutation
from tasks.sources import HAR_FOLDER, HAR_SIGNALS
from tests.protocol.files import (
    TEST,
    TRAIN,
    all_batches,
)

# ---- adding -----------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 20), st.integers(0, 2**62), st.sampled_from(SPLITS))
def test_adding_marks_one_number_in_each_half_and_sums_them(length, size, seed, split):
    task = Adding(seed=seed, length=length, epoch_steps=2, valid_examples=9, test_examples=9)
    for batch in task.batches(split, size, 1):
        numbers, marks = batch.x.unbind(2)
        assert (marks.sum(1) == 2).all() and ((marks == 0) | (marks == 1)).all()
        assert (marks[:, : length // 2].sum(1) == 1).all()
        assert numbers.min() >= 0 and numbers.max() < 1
        assert torch.allclose((numbers * marks).sum(1, keepdim=True), batch.y)


def test_adding_has_the_published_baseline_and_uses_every_position():
    task = Adding(seed=1, length=10, test_examples=50_000)
    batch = next(task.batches("test", 50_000, 1))
    ones = torch.ones_like(batch.y)
    assert abs(task.score(ones, batch).mean() - 1 / 6) < 0.003
    share = batch.x[:, :, 1].mean(0)
    assert (share - 0.2).abs().max() < 0.01


@pytest.mark.parametrize("seed", [0, 1])
def test_addings_chance_is_the_error_of_a_guess_of_one_on_the_seeds_own_test_examples(seed):
    task = Adding(seed=seed, length=9, test_examples=1000)
    errors = torch.cat([task.score(torch.ones_like(batch.y), batch) for batch in task.batches("test", 300, 0)])
    assert task.spec.chance == pytest.approx(float(errors.double().mean()), rel=1e-6)
    assert task.spec.chance != Adding(seed=seed + 1, length=9, test_examples=1000).spec.chance


def test_adding_has_an_epoch_of_100_steps_of_fresh_data_and_fixed_sets_of_1000():
    task = build("adding", seed=0)
    assert task.steps(50) == task.steps(7) == 100 and task.spec.length == 500
    assert task.sizes["valid"] == task.sizes["test"] == 1000
    batches = list(task.batches("train", 50, 1))
    assert len({float(batch.x[0, 0, 0]) for batch in batches}) == 100


def test_drawing_an_adding_batch_is_cheap():
    task = build("adding-5000", seed=0)
    list(zip(range(3), task.batches("train", 50, 1)))
    start = time.process_time()
    list(zip(range(20), task.batches("train", 50, 2)))
    assert (time.process_time() - start) / 20 < 0.05  # a training step at T = 5000 takes seconds; measured: 1 ms


# ---- sMNIST, psMNIST --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [12008, 5544])
def test_the_permutation_is_that_of_the_published_global_call(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        published = torch.randperm(784)
    assert torch.equal(pixel_permutation(seed), published)


def test_psmnist_is_smnist_in_the_order_of_the_permutation(make):
    plain, permuted = (
        all_batches(make(name, test_examples=None), "test", size=80)[0] for name in ("smnist", "psmnist")
    )
    assert torch.equal(plain.y, permuted.y)
    assert torch.equal(plain.x[:, pixel_permutation(12008)], permuted.x)


def test_smnist_reads_images_row_by_row_scaled_to_one(root, make):
    raw = np.frombuffer((root / "MNIST/raw/t10k-images-idx3-ubyte").read_bytes()[16:], dtype=np.uint8)
    batch = all_batches(make("smnist", test_examples=None), "test", size=80)[0]
    assert torch.equal(batch.x.flatten(), torch.from_numpy(raw.astype(np.float32)) / 255)


def test_the_first_test_examples_are_the_same_for_every_seed_and_no_sorted_head(make):
    first, second = (make("smnist", seed=seed, test_examples=20).indices["test"] for seed in (1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.arange(20) + TRAIN)
    assert torch.equal(first, first.unique())  # in the file's order


def test_the_bundled_digits_are_split_evenly_over_the_classes(tmp_path):
    task = PixelMNIST(seed=0, data_dir=tmp_path, data="digits5k")
    assert task.sizes == {"train": 4000, "valid": 500, "test": 500}
    for split, each in (("train", 400), ("valid", 50), ("test", 50)):
        assert task.labels[task.indices[split]].bincount().tolist() == [each] * 10
    every = torch.cat(list(task.indices.values()))
    assert len(every.unique()) == 5000
    assert task.facts["data"] == "digits5k"
    few = PixelMNIST(seed=0, data_dir=tmp_path, data="digits5k", train_examples=100, test_examples=50)
    assert few.labels[few.indices["train"]].bincount().tolist() == [10] * 10
    assert few.labels[few.indices["test"]].bincount().tolist() == [5] * 10


# ---- noise-padded CIFAR-10 --------------------------------------------------------------------------------


def test_an_image_row_is_its_red_then_green_then_blue_values(root, make):
    records = np.fromfile(root / "cifar-10-batches-bin/test_batch.bin", dtype=np.uint8).reshape(-1, 3073)
    batch = all_batches(make("noisy_cifar", test_examples=None), "test", size=80)[0]
    for image, row, colour, column in ((0, 0, 0, 0), (3, 5, 1, 7), (79, 31, 2, 31)):
        value = records[image, 1 + colour * 1024 + row * 32 + column] / 255
        assert abs(float(batch.x[image, row, colour * 32 + column]) - value) < 1e-6
    assert batch.y.tolist() == records[:, 0].tolist()


def test_shared_noise_is_one_sample_for_all_images_and_splits(make):
    task = make("noisy_cifar", length=1000)
    parts = [all_batches(task, split, size=8)[0].x[:, 32:] for split in SPLITS]
    for part in parts:
        assert (part == parts[0][0]).all()
    assert abs(float(parts[0][0].mean())) < 0.02 and abs(float(parts[0][0].std()) - 1) < 0.02
    other = all_batches(make("noisy_cifar", seed=1, length=1000), "test", size=8)[0].x[:, 32:]
    assert not torch.equal(other[0], parts[0][0])


def test_independent_noise_belongs_to_the_image_whatever_batch_and_epoch(make):
    task = make("noisy_cifar", noise="independent", length=1000)
    large = torch.cat([batch.x for batch in all_batches(task, "test", size=20)])
    small = torch.cat([batch.x for batch in all_batches(task, "test", epoch=3, size=3)])
    assert torch.equal(large, small)
    noise = large[:, 32:].flatten(1)
    correlation = torch.corrcoef(noise) - torch.eye(len(noise))
    assert correlation.abs().max() < 0.02
    assert abs(float(noise.mean())) < 0.005 and abs(float(noise.std()) - 1) < 0.005
    assert abs(float((noise**4).mean()) - 3) < 0.05
    half = noise.shape[1] // 2
    assert abs(float((noise[:, :half] ** 2 * noise[:, half:] ** 2).mean()) - 1) < 0.02  # Box-Muller's two halves


def test_the_noise_seed_fixes_the_noise_and_leaves_the_split_to_the_data_seed(make):
    first, second = (make("noisy_cifar", seed=seed, noise_seed=7) for seed in (1, 2))
    assert torch.equal(first.padding, second.padding)
    assert not torch.equal(first.indices["train"], second.indices["train"])


# ---- HAR-2 ------------------------------------------------------------------------------------------------


def test_har2_merges_the_six_activities_into_two_classes(make):
    task = make("har2")
    labels = task.labels.squeeze(1)
    for activity, merged in ((1, 1), (2, 0), (3, 1), (4, 0), (5, 1), (6, 0)):
        assert (labels[activity - 1 :: 6][:10] == merged).all()


def test_har2_standardises_each_channel_by_the_training_part(make):
    task = make("har2")
    part = task.signals[task.indices["train"]].double().flatten(0, 1)
    assert part.mean(0).abs().max() < 1e-5 and (part.std(0, correction=0) - 1).abs().max() < 1e-5
    whole = task.signals[task.indices["test"]].double().flatten(0, 1)
    assert whole.mean(0).abs().max() > 1e-4  # the test part is scaled by the training part's figures


def test_har2s_chance_is_the_test_accuracy_of_the_commoner_training_class(make):
    task = make("har2")
    task.labels[:TRAIN] = 1.0
    task.labels[TRAIN:] = (torch.arange(TEST) % 4 == 0).float().unsqueeze(1)
    assert task._chance() == pytest.approx(0.25)  # ones were commoner in training, zeros are in the test
    train = make("har2")
    guess = float(train.labels[train.indices["train"]].mean() > 0.5)
    hits = [float(label) == guess for label in train.labels[TRAIN:]]
    assert train.spec.chance == pytest.approx(sum(hits) / TEST)


def test_har2_channels_are_body_acc_body_gyro_total_acc(root, make):
    task = make("har2", normalise="none")
    for channel, name in enumerate(HAR_SIGNALS):
        text = (root / HAR_FOLDER / f"test/Inertial Signals/{name}_test.txt").read_text()
        values = np.array(text.split(), dtype=np.float32).reshape(TEST, 128)
        assert torch.equal(task.signals[TRAIN:, :, channel], torch.from_numpy(values))


def test_har2_can_validate_on_whole_subjects(root, make):
    task = make("har2", split="subjects")
    people = np.loadtxt(root / HAR_FOLDER / "train/subject_train.txt", dtype=int)
    train, valid = (set(people[task.indices[split].numpy()]) for split in ("train", "valid"))
    assert not train & valid and len(train | valid) == 21 and len(valid) == 4
    assert task.sizes["train"] + task.sizes["valid"] == TRAIN


def test_har2_can_pool_all_windows(make):
    task, other = make("har2", split="pooled"), make("har2")
    parts = [set(task.indices[split].tolist()) for split in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == sum(other.sizes.values())
    assert len(parts[2]) == other.sizes["test"] and parts[2] != set(other.indices["test"].tolist())


@pytest.mark.parametrize("text", ["1 2 three", "1 2 nan", "1 2"])
def test_a_signal_file_that_is_no_table_of_numbers_is_named(tmp_path, text):
    path = tmp_path / "body_acc_x_test.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=r"body_acc_x_test\.txt"):
        tasks.har2._numbers(path, (1, 3))
