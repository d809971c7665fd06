"""Every task obeys the contract, on small raw files of the true formats; and on the real data where it is there."""

from __future__ import annotations

import dataclasses
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks.har2
import tasks.imdb
import tasks.noisy_cifar
import tasks.pixels
from tasks import TASKS, build, load
from tasks.adding import Adding
from tasks.cache import cached
from tasks.contract import SPLITS, DataError, TaskError
from tasks.draws import generator
from tasks.files import sha256
from tasks.options import schema
from tasks.pixels import PixelMNIST, pixel_permutation
from tasks.reviews import FOLDERS, content_digest, pack, save
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


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root of small files in the official formats, with the tables told their sizes and checksums."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(1)
    for write in (_write_mnist, _write_cifar, _write_har, _write_imdb):
        write(folder, draw)
    with pytest.MonkeyPatch.context() as patch:
        for module in (tasks.pixels, tasks.noisy_cifar):
            patch.setattr(module, "TRAIN", TRAIN)
            patch.setattr(module, "TEST", TEST)
        patch.setattr(tasks.har2, "WINDOWS", {"train": TRAIN, "test": TEST})
        for name, value in (("PER_FOLDER", PER_FOLDER), ("TRAIN", 42), ("VALID", 18), ("WORDS", 12)):
            patch.setattr(tasks.imdb, name, value)
        for name in ("mnist", "cifar10", "uci_har", "imdb"):
            files = tuple(
                dataclasses.replace(
                    raw,
                    bytes=(folder / raw.path).stat().st_size,
                    sha256=content_digest(folder / raw.path) if name == "imdb" else sha256(folder / raw.path),
                    git_sha1=None,
                    copies=(),
                )
                for raw in SOURCES[name].files
                if raw.required
            )
            patch.setitem(SOURCES, name, dataclasses.replace(SOURCES[name], files=files))
        yield folder


@pytest.fixture
def make(root):
    def made(name, seed=0, **options):
        return build(name, seed=seed, data_dir=root, **{**SMALL[name], **options})

    return made


each_task = pytest.mark.parametrize("name", TASKS)
each_split = pytest.mark.parametrize("split", SPLITS)


def _all(task, split, epoch=1, size=16):
    return list(task.batches(split, size, epoch))


def _same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(first, second)
    )


# ---- the contract, for every task -------------------------------------------------------------------------


@each_task
@each_split
def test_batches_have_the_shapes_and_types_of_the_spec(make, name, split):
    task = make(name)
    for batch in _all(task, split):
        count = len(batch.y)
        if task.spec.vocabulary:
            assert batch.x.dtype == torch.int64 and batch.x.ndim == 2 and len(batch.x) == count
            assert int(batch.x.min()) >= 0 and int(batch.x.max()) < task.spec.vocabulary
        else:
            assert batch.x.dtype == torch.float32
            assert batch.x.shape == (count, task.spec.length, task.spec.input_size)
            assert batch.x.isfinite().all()
        if batch.y.dtype == torch.int64:
            assert batch.y.shape == (count,) and int(batch.y.max()) < task.spec.output_size
        else:
            assert batch.y.dtype == torch.float32 and batch.y.shape == (count, task.spec.output_size)


@each_task
def test_an_epoch_has_the_steps_and_the_examples_it_says(make, name):
    task = make(name)
    for size in (16, 7):
        assert len(_all(task, "train", size=size)) == task.steps(size)
    for split in ("valid", "test"):
        assert sum(len(batch.y) for batch in _all(task, split)) == task.sizes[split]
    if not name.startswith("adding"):
        assert sum(len(batch.y) for batch in _all(task, "train")) == task.sizes["train"]


@each_task
@each_split
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(make, name, split):
    first = _all(make(name, seed=3), split)
    assert _same(first, _all(make(name, seed=3), split))
    if split != "test" or name.startswith("adding"):
        assert not _same(first, _all(make(name, seed=4), split))


@each_task
def test_training_order_changes_by_epoch_and_the_others_stay(make, name):
    task = make(name)
    assert not _same(_all(task, "train", 1), _all(task, "train", 2))
    assert _same(_all(task, "train", 2), _all(task, "train", 2))
    for split in ("valid", "test"):
        assert _same(_all(task, split, 1), _all(task, split, 2))


@each_task
def test_two_iterators_side_by_side_do_not_disturb_each_other(make, name):
    task = make(name)
    alone = _all(task, "train", 1)
    mixed = [first for first, _ in zip(task.batches("train", 16, 1), task.batches("train", 16, 2))]
    assert _same(alone, mixed)


@each_task
def test_no_global_random_state_is_read_or_written(make, name):
    def states():
        return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()

    before = states()
    task = make(name, seed=5)
    first = [_all(task, split) for split in SPLITS]
    task.embedding()
    after = states()
    assert torch.equal(before[0], after[0]) and before[1] == after[1] and (before[2] == after[2]).all()
    with torch.random.fork_rng():
        torch.manual_seed(99)
        again = make(name, seed=5)
        assert all(_same(part, _all(again, split)) for part, split in zip(first, SPLITS))


@each_task
def test_loss_is_a_finite_scalar_with_a_gradient_and_score_is_per_example(make, name):
    task = make(name)
    batch = next(iter(task.batches("train", 16, 1)))
    outputs = torch.randn(len(batch.y), task.spec.output_size, generator=generator("x"), requires_grad=True)
    loss = task.loss(outputs, batch)
    loss.backward()
    assert loss.shape == () and loss.isfinite() and outputs.grad.abs().sum() > 0
    score = task.score(outputs.detach(), batch)
    assert score.shape == (len(batch.y),) and score.dtype == torch.float32
    if task.spec.metric == "mse":
        assert torch.isclose(score.mean(), loss.detach())
    else:
        assert set(score.tolist()) <= {0.0, 1.0}


@each_task
def test_perfect_outputs_have_the_perfect_score_and_wrong_ones_the_worst(make, name):
    task = make(name)
    batch = next(iter(task.batches("test", 16, 1)))
    if task.spec.metric == "mse":
        assert task.score(batch.y.clone(), batch).max() == 0
        assert torch.allclose(task.score(batch.y + 2, batch), torch.tensor(4.0))
        return
    if batch.y.dtype == torch.int64:
        right = torch.nn.functional.one_hot(batch.y, task.spec.output_size).float()
    else:
        right = 2 * batch.y - 1
    assert task.score(right, batch).min() == 1
    assert task.score(-right, batch).max() == 0


@each_task
def test_the_splits_share_no_example(make, name):
    task = make(name)
    if name.startswith("adding"):
        values = [_all(task, split)[0].x[0, :, 0] for split in SPLITS]
        assert not torch.equal(values[0], values[1]) and not torch.equal(values[1], values[2])
        return
    every = torch.cat([task.indices[split] for split in SPLITS])
    assert len(every.unique()) == len(every)


@each_task
def test_moving_gives_the_task_back_and_the_same_batches(make, name):
    task = make(name)
    before = _all(task, "train")
    assert task.to("cpu") is task
    assert _same(before, _all(task, "train"))


@each_task
def test_facts_and_class_attributes_are_for_the_record(make, name):
    task = make(name)
    assert task.facts["data"] and all(isinstance(value, str) for value in task.facts.values())
    assert task.version >= 1 and task.source
    assert set(task.sizes) == set(SPLITS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.spec.length = 1


@each_task
def test_every_option_is_keyword_only_with_a_default_and_needs_known_data(name):
    cls, fixed = load(name)
    assert all(option in schema(cls) for option in fixed)
    assert all(name in SOURCES for name in cls.requires(**fixed))
    with pytest.raises(TypeError):
        cls(0)


@each_task
@pytest.mark.parametrize(
    ("split", "size", "epoch", "words"),
    [
        ("training", 4, 1, "wanted one of train, valid, test, got 'training'"),
        ("train", 0, 1, "wanted an integer at least 1, got 0"),
        ("train", 4, -1, "wanted an integer at least 0, got -1"),
    ],
)
def test_a_bad_request_for_batches_says_wanted_and_got(make, name, split, size, epoch, words):
    with pytest.raises(TaskError, match=words):
        make(name).batches(split, size, epoch)


@pytest.mark.parametrize("name", ["smnist", "noisy_cifar", "har2", "imdb"])
def test_a_batch_larger_than_the_training_data_is_refused(make, name):
    task = make(name)
    with pytest.raises(TaskError, match=f"wanted at most {task.sizes['train']}"):
        task.batches("train", task.sizes["train"] + 1, 1)
    assert len(_all(task, "valid", size=10_000)) == 1


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("addding", {}, "unknown task 'addding': did you mean adding"),
        ("adding", {"lenght": 3}, "no option 'lenght': did you mean length"),
        ("adding", {"length": 1}, "length: wanted an integer at least 2, got 1"),
        ("adding", {"length": True}, "length: wanted an integer at least 2, got True"),
        ("adding-2000", {"length": 10}, "adding-2000 fixes length=2000"),
        ("smnist", {"permuted": True}, "smnist fixes permuted=False"),
        ("smnist", {"permutation_seed": 5}, "permutation_seed has no effect on smnist"),
        ("psmnist", {"data": "emnist"}, "data: wanted one of mnist, digits5k, got 'emnist'"),
        ("psmnist", {"valid_examples": TRAIN}, "valid_examples: wanted an integer in"),
        ("psmnist", {"data": "digits5k", "valid_examples": 100}, "digits5k always has 500, got 100"),
        ("psmnist", {"valid_examples": 50, "train_examples": 0}, "train_examples: wanted an integer at least 1, got 0"),
        ("noisy_cifar", {"noise": "none"}, "noise: wanted one of shared, independent, got 'none'"),
        ("noisy_cifar", {"length": 32}, "length: wanted an integer at least 33, got 32"),
        ("har2", {"normalise": "yes"}, "normalise: wanted one of standardise, none"),
        ("har2", {"split": "people"}, "split: wanted one of random, subjects, pooled"),
        ("har2", {"validation_fraction": 1.0}, "validation_fraction: wanted a number between 0 and 1, got 1.0"),
        ("har2", {"validation_fraction": 0.01, "split": "subjects"}, "leaves no subject"),
        ("har2", {"validation_fraction": 0.001}, "valid split is empty"),
        ("imdb", {"readout": "last"}, "readout: wanted one of padded, valid"),
        ("imdb", {"vectors": "word2vec"}, "vectors: wanted one of random, glove"),
        ("imdb", {"vectors": "glove", "embedding_size": 50}, r"embedding_size: wanted an integer in \[100, 100\]"),
        ("imdb", {"max_length": 0}, "max_length: wanted an integer at least 1, got 0"),
    ],
)
def test_a_wrong_option_says_wanted_and_got(root, name, options, words):
    with pytest.raises(TaskError, match=words):
        build(name, seed=0, data_dir=root, **options)


def test_a_negative_seed_is_refused(root):
    with pytest.raises(TaskError, match="seed: wanted an integer at least 0, got -1"):
        build("adding", seed=-1)


@pytest.mark.parametrize("name", ["smnist", "noisy_cifar", "har2", "imdb"])
def test_missing_data_is_one_line_with_the_remedy(root, tmp_path, name):
    with pytest.raises(DataError, match=r"not in .*: run 'rnnbench data fetch .*' or 'rnnbench data import PATH'"):
        build(name, seed=0, data_dir=tmp_path, **SMALL[name])


def test_listing_tasks_and_data_needs_neither_torch_nor_numpy():
    code = "import sys, tasks, tasks.sources; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
    plain, permuted = (_all(make(name, test_examples=None), "test", size=80)[0] for name in ("smnist", "psmnist"))
    assert torch.equal(plain.y, permuted.y)
    assert torch.equal(plain.x[:, pixel_permutation(12008)], permuted.x)


def test_smnist_reads_images_row_by_row_scaled_to_one(root, make):
    raw = np.frombuffer((root / "MNIST/raw/t10k-images-idx3-ubyte").read_bytes()[16:], dtype=np.uint8)
    batch = _all(make("smnist", test_examples=None), "test", size=80)[0]
    assert torch.equal(batch.x.flatten(), torch.from_numpy(raw.astype(np.float32)) / 255)


def test_the_first_test_examples_are_the_same_for_every_seed_and_no_sorted_head(make):
    first, second = (make("smnist", seed=seed, test_examples=20).indices["test"] for seed in (1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.arange(20) + TRAIN)


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
    batch = _all(make("noisy_cifar", test_examples=None), "test", size=80)[0]
    for image, row, colour, column in ((0, 0, 0, 0), (3, 5, 1, 7), (79, 31, 2, 31)):
        value = records[image, 1 + colour * 1024 + row * 32 + column] / 255
        assert abs(float(batch.x[image, row, colour * 32 + column]) - value) < 1e-6
    assert batch.y.tolist() == records[:, 0].tolist()


def test_shared_noise_is_one_sample_for_all_images_and_splits(make):
    task = make("noisy_cifar", length=1000)
    parts = [_all(task, split, size=8)[0].x[:, 32:] for split in SPLITS]
    for part in parts:
        assert (part == parts[0][0]).all()
    assert abs(float(parts[0][0].mean())) < 0.02 and abs(float(parts[0][0].std()) - 1) < 0.02
    other = _all(make("noisy_cifar", seed=1, length=1000), "test", size=8)[0].x[:, 32:]
    assert not torch.equal(other[0], parts[0][0])


def test_independent_noise_belongs_to_the_image_whatever_batch_and_epoch(make):
    task = make("noisy_cifar", noise="independent", length=1000)
    large = torch.cat([batch.x for batch in _all(task, "test", size=20)])
    small = torch.cat([batch.x for batch in _all(task, "test", epoch=3, size=3)])
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


# ---- IMDB -------------------------------------------------------------------------------------------------


def test_imdb_counts_the_training_words_and_keeps_their_case(make):
    task = make("imdb")
    assert task.words[:2] == ["<unk>", "<pad>"] and len(task.words) == 14 == task.spec.vocabulary
    assert "The" in task.words or "the" in task.words
    counts = task.tokens.long().bincount(minlength=14)
    assert counts[1] == 0 and counts[0] > 0  # nothing is stored as padding; rare words are unknown


def test_imdb_words_are_those_of_spacys_tokeniser(root):
    import spacy

    from tasks.reviews import load as load_reviews
    from tasks.text import tokenise

    reviews = load_reviews(root / SOURCES["imdb"].files[0].path)
    made = tokenise(reviews)
    words = made["words"].tobytes().decode().split("\0")
    assert words == sorted(set(words))
    tokeniser = spacy.blank("en").tokenizer
    start = 0
    for body, length in list(zip(reviews.pieces(), made["lengths"]))[:20]:
        found = [words[i] for i in made["tokens"][start : start + length]]
        assert found == [token.text for token in tokeniser(body.decode())]
        start += length


def test_imdb_pads_each_batch_to_its_longest_review(make):
    task = make("imdb", readout="valid")
    for batch in _all(task, "train", size=8):
        assert batch.lengths.dtype == torch.int64 and batch.x.shape[1] == batch.lengths.max()
        beyond = torch.arange(batch.x.shape[1]) >= batch.lengths[:, None]
        assert (batch.x[beyond] == 1).all() and (batch.x[~beyond] != 1).all()
    assert all(batch.lengths is None for batch in _all(make("imdb"), "train"))


def test_imdb_can_be_cut_to_the_first_words(make):
    task, cut = make("imdb"), make("imdb", max_length=5)
    whole, first = _all(task, "test", size=8)[0], _all(cut, "test", size=8)[0]
    assert torch.equal(whole.x[:, :5], first.x) and first.x.shape[1] == 5
    assert cut.spec.length <= 5 < task.spec.length


def test_imdb_labels_say_positive(make):
    task = make("imdb")
    assert (
        task.labels.flatten().tolist()
        == [1.0] * PER_FOLDER + [0.0] * PER_FOLDER + [1.0] * PER_FOLDER + [0.0] * PER_FOLDER
    )


def test_imdb_embedding_is_normal_with_zero_rows_for_unknown_and_padding(make):
    task = make("imdb", embedding_size=64)
    vectors = task.embedding()
    assert vectors.shape == (14, 64) and vectors.dtype == torch.float32
    assert (vectors[:2] == 0).all() and abs(float(vectors[2:].std()) - 1) < 0.1
    vectors.zero_()
    assert task.embedding().abs().sum() > 0  # every caller gets a copy


@pytest.fixture
def glove(root, make, monkeypatch):
    """Installs a GloVe file with the given lines."""

    def install(lines):
        path = root / "glove.6B.100d.txt"
        path.write_text("\n".join(lines) + "\n")
        raw = dataclasses.replace(SOURCES["glove"].files[0], bytes=path.stat().st_size, sha256=sha256(path))
        monkeypatch.setitem(SOURCES, "glove", dataclasses.replace(SOURCES["glove"], files=(raw,)))

    yield install
    (root / "glove.6B.100d.txt").unlink(missing_ok=True)


def test_glove_vectors_are_used_where_the_word_has_one(make, glove):
    words = make("imdb").words
    known = words[4]
    glove([f"{known} " + " ".join(["0.5"] * 100), "elsewhere " + " ".join(["1"] * 100)])
    task = make("imdb", vectors="glove")
    vectors = task.embedding()
    assert (vectors[4] == 0.5).all() and (vectors[:2] == 0).all() and vectors[5].std() > 0.5
    assert task.facts["vectors"] == "glove 6B 100d, 1 of 12 words"
    assert task.requires(vectors="glove") == ("imdb", "glove")


@pytest.mark.parametrize("rest", ["0.5 0.5", " ".join(["x"] * 100)])
def test_a_damaged_glove_line_is_named(make, glove, rest):
    glove(["elsewhere 1 2", f"{make('imdb').words[3]} {rest}"])
    with pytest.raises(DataError, match=r"glove\.6B\.100d\.txt, line 2"):
        make("imdb", vectors="glove").embedding()


def test_glove_is_never_chosen_silently(make, glove, root):
    glove([f"{make('imdb').words[2]} " + " ".join(["0.5"] * 100)])
    assert make("imdb").embedding()[2].std() > 0.5 and make("imdb").facts["vectors"] == "random"
    (root / "glove.6B.100d.txt").unlink()
    with pytest.raises(DataError, match="glove: not in"):
        make("imdb", vectors="glove")


# ---- cache ------------------------------------------------------------------------------------------------


def test_the_cache_is_used_and_a_damaged_one_is_made_anew(tmp_path):
    calls = []

    def parse():
        calls.append(1)
        return {"a": np.arange(1000)}

    def get(*words):
        return cached(tmp_path, "x", words, ("a",), parse)["a"]

    assert (get("k") == np.arange(1000)).all() and (get("k") == np.arange(1000)).all() and len(calls) == 1
    get("other key")
    assert len(calls) == 2
    for damage in (lambda data: data[:200], lambda data: data[:300] + b"?" + data[301:], lambda data: b""):
        for path in (tmp_path / "cache").glob("x-*.npz"):
            path.write_bytes(damage(path.read_bytes()))
        for words in ("k", "other key"):
            before = len(calls)
            assert (get(words) == np.arange(1000)).all() and len(calls) == before + 1
    assert not list((tmp_path / "cache").glob("*.tmp"))


def test_a_read_only_data_root_caches_in_the_platforms_folder(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere))
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is wanted: nobody can write into it, not even root")
    calls = []

    def parse():
        calls.append(1)
        return {"a": np.ones(3)}

    for _ in range(2):
        assert cached(blocked, "x", ("k",), ("a",), parse)["a"].sum() == 3
    assert len(calls) == 1 and list(elsewhere.rglob("x-*.npz"))


def test_torchvision_is_imported_without_a_warning():
    code = "import tasks.vision as v; m = v.torchvision(); assert m.datasets.MNIST; assert v.torchvision() is m"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
