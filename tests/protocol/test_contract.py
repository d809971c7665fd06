"""Every task obeys the contract, on small raw files of the true formats."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from tasks import build, load
from tasks.contract import SPLITS, DataError, TaskError
from tasks.draws import generator
from tasks.options import schema
from tasks.sources import SOURCES
from tests.protocol.files import (
    SMALL,
    TRAIN,
    all_batches,
    each_split,
    each_task,
    same,
)


@each_task
@each_split
def test_batches_have_the_shapes_and_types_of_the_spec(make, name, split):
    task = make(name)
    for batch in all_batches(task, split):
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
        assert len(all_batches(task, "train", size=size)) == task.steps(size)
    for split in ("valid", "test"):
        assert sum(len(batch.y) for batch in all_batches(task, split)) == task.sizes[split]
    if not name.startswith("adding"):
        assert sum(len(batch.y) for batch in all_batches(task, "train")) == task.sizes["train"]


@each_task
@each_split
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(make, name, split):
    first = all_batches(make(name, seed=3), split)
    assert same(first, all_batches(make(name, seed=3), split))
    if split != "test" or name.startswith("adding"):
        assert not same(first, all_batches(make(name, seed=4), split))


@each_task
def test_training_order_changes_by_epoch_and_the_others_stay(make, name):
    task = make(name)
    assert not same(all_batches(task, "train", 1), all_batches(task, "train", 2))
    assert same(all_batches(task, "train", 2), all_batches(task, "train", 2))
    for split in ("valid", "test"):
        assert same(all_batches(task, split, 1), all_batches(task, split, 2))


@each_task
def test_two_iterators_side_by_side_do_not_disturb_each_other(make, name):
    task = make(name)
    alone = all_batches(task, "train", 1)
    mixed = [first for first, _ in zip(task.batches("train", 16, 1), task.batches("train", 16, 2))]
    assert same(alone, mixed)


@each_task
def test_no_global_random_state_is_read_or_written(make, name):
    def states():
        return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()

    before = states()
    task = make(name, seed=5)
    first = [all_batches(task, split) for split in SPLITS]
    task.embedding()
    after = states()
    assert torch.equal(before[0], after[0]) and before[1] == after[1] and (before[2] == after[2]).all()
    with torch.random.fork_rng():
        torch.manual_seed(99)
        again = make(name, seed=5)
        assert all(same(part, all_batches(again, split)) for part, split in zip(first, SPLITS))


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
        values = [all_batches(task, split)[0].x[0, :, 0] for split in SPLITS]
        assert not torch.equal(values[0], values[1]) and not torch.equal(values[1], values[2])
        return
    every = torch.cat([task.indices[split] for split in SPLITS])
    assert len(every.unique()) == len(every)


@each_task
def test_moving_gives_the_task_back_and_the_same_batches(make, name):
    task = make(name)
    before = all_batches(task, "train")
    assert task.to("cpu") is task
    assert same(before, all_batches(task, "train"))


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
    assert len(all_batches(task, "valid", size=10_000)) == 1


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
