"""Figures of a run against hand computation: means over uneven batches, quantiles, rates, clocks, order of writes."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from models import build
from suite import files
from suite.errors import CannotWrite
from suite.names import resolve
from suite.plan import Request, expand
from suite.recipes import load
from suite.store import Store
from suite.work.building import build_model, build_task
from suite.work.driver import run_grid
from suite.work.executors.inline import InlineExecutor
from suite.work.job import Settings
from suite.work.training import train
from suite.work.training.measure import evaluate, quantiles
from suite.work.training.obeyed import beyond
from tasks import build as build_task_by_name
from tasks.contract import Batch
from tests.harness.grids import Silent

MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"
CPU = torch.device("cpu")


class Told(nn.Module):
    """Gives its input's last value, and notes in which mode it was called."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.modes: list[bool] = []

    def forward(self, x, lengths=None):
        self.modes.append(self.training)
        return x[:, -1]


def uneven(split, batch_size, epoch):
    """Three examples in one batch, one in the next."""
    for values in ([1.0, 2.0, 3.0], [8.0]):
        x = torch.tensor(values).view(-1, 1, 1)
        yield Batch(x, torch.zeros(len(values), 1))


def test_scores_and_losses_are_means_over_examples_in_evaluation_mode():
    task = SimpleNamespace(
        spec=SimpleNamespace(metric="mse"),
        batches=uneven,
        loss=lambda outputs, batch: (outputs - batch.y).mean(),
        score=lambda outputs, batch: (outputs - batch.y).squeeze(1),
    )
    model = Told()
    assert evaluate(model, task, "valid", batch_size=3, device=CPU) == pytest.approx((14 / 4, 14 / 4))
    assert model.modes == [False, False] and model.training


@pytest.mark.parametrize(
    ("metric", "scores", "wanted"),
    [("accuracy", [0.0, 1.0, 1 + 1e-7, math.nan], 0), ("accuracy", [-0.1, 0.5, 100.0, math.inf], 2), ("mse", [9.0], 0)],
)
def test_scores_that_no_accuracy_has_are_counted(metric, scores, wanted):
    """Rounding is none of them, nor is NaN, by which a run is diverged."""
    task = SimpleNamespace(spec=SimpleNamespace(metric=metric))
    assert int(beyond(task, torch.tensor(scores))) == wanted


def test_the_quantiles_of_a_norm_are_in_rising_order():
    assert quantiles([5.0, 1.0, 2.0, 4.0, 3.0]) == pytest.approx([1.0, 1.4, 3.0, 4.6, 5.0])


def trainer(tmp_path, epochs=1, **sets):
    given = tuple((None, key, value) for key, value in {"hidden_size": 4, "batch_size": 50, **sets}.items())
    (one,) = expand(Request(models=(MODEL,), tasks=(TASK,), epochs=epochs, sets=given))
    task = build_task(one.run, None)
    model = build_model(one.run, task, engine="auto")
    return train.Trainer(model, task, one.run, device=CPU, report=lambda event: None, checkpoint=tmp_path / "c.pt")


def test_the_training_loss_of_an_epoch_is_the_mean_over_examples(tmp_path):
    """120 examples in batches of 50, 50 and 20; every norm counts in the quantiles."""
    made = trainer(tmp_path)
    assert made.note([1.0, 2.0, 6.0], [0.1, 0.3, 0.2], [50, 50, 20])
    assert made.loss_sum / made.loss_count == pytest.approx((50 + 100 + 120) / 120)
    assert made.norms == [0.1, 0.3, 0.2]


def test_the_profile_is_of_validation_examples(tmp_path, monkeypatch):
    made, asked = trainer(tmp_path), []
    batches = made.task.batches

    def spied(split, *rest):
        asked.append(split)
        return batches(split, *rest)

    monkeypatch.setattr(made.task, "batches", spied)
    made.begin()
    assert asked == ["valid"]


def test_evaluations_are_not_training_time_and_a_resumed_run_keeps_its_seconds(tmp_path, monkeypatch):
    real = train.evaluate

    def slow(*args, **options):
        time.sleep(0.3)
        return real(*args, **options)

    monkeypatch.setattr(train, "evaluate", slow)
    made = trainer(tmp_path, epochs=3)
    made.fit()
    assert made.seconds["evaluate"] >= 6 * 0.3
    assert made.seconds["train"] < made.seconds["evaluate"]
    state = made.state()
    again = trainer(tmp_path, epochs=3)
    again.restore(state)
    assert again.seconds == made.seconds and again.resumed == 1


@pytest.mark.parametrize(("module", "name"), [(train, "gradient_profile"), (train.checkpoints, "save")])
def test_profiles_and_checkpoints_are_not_training_time(tmp_path, monkeypatch, module, name):
    real, calls = getattr(module, name), []

    def slow(*args, **options):
        calls.append(time.sleep(0.3))
        return real(*args, **options)

    monkeypatch.setattr(module, name, slow)
    made = trainer(tmp_path, epochs=2)
    made.checkpoint_seconds = -1.0  # due after every step
    made.fit()
    assert calls and made.seconds["train"] < 0.3 * len(calls) / 2


def test_defaults_and_scales_of_initialisation_that_no_source_of_ours_repeats():
    torch.manual_seed(0)
    plain = build("antisymmetric", input_size=64, hidden_size=200)
    assert (plain.epsilon, plain.gamma) == (0.1, 0.01)
    assert float(plain.V.detach().std()) == pytest.approx(64**-0.5, rel=0.05)
    fast = build("fastrnn", input_size=2, hidden_size=3, alpha_init=-1.0, beta_init=2.0)
    told = fast.diagnostics()
    assert told["sigmoid_alpha"] == pytest.approx(0.2689, abs=1e-4)
    assert told["sigmoid_beta"] == pytest.approx(0.8808, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("exprnn", {"lr": 7e-4, "skew_lr_ratio": 0.1, "optimizer": "rmsprop", "rmsprop_alpha": 0.99}),
        ("fastrnn", {"lr": 0.01}),
        ("lstm", {"lr": 5e-4, "optimizer": "rmsprop", "rmsprop_alpha": 0.9}),
        ("tanh", {"lr": 1e-4, "optimizer": "rmsprop", "rmsprop_alpha": 0.9}),
    ],
)
def test_the_psmnist_recipes_that_were_adapted(model, wanted):
    values = load(resolve("model", model), "psmnist").values
    assert {key: values[key] for key in wanted} == wanted


def test_chance_is_the_score_of_a_constant_guess():
    task = build_task_by_name("adding", seed=0, length=20, test_examples=4000)
    (batch,) = list(task.batches("test", 4000, 0))
    guess = torch.ones(len(batch.y), 1)  # the mean of a sum of two uniform numbers
    assert float(task.score(guess, batch).mean()) == pytest.approx(task.spec.chance, rel=0.1)


def test_a_file_is_on_disk_before_it_has_its_name_and_its_name_before_it_counts(tmp_path, monkeypatch):
    calls: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor):
        folder = Path(f"/proc/self/fd/{descriptor}").is_dir()
        calls.append("folder" if folder else "file")
        real_fsync(descriptor)

    def link(*args, **options):
        calls.append("link")
        return real_link(*args, **options)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    assert files.write_new(tmp_path / "record.json", "{}")
    assert calls == ["file", "link", "folder"]


def test_a_checkpoint_outlives_a_record_that_cannot_be_written(tmp_path, monkeypatch):
    (one,) = expand(Request(models=(MODEL,), tasks=(TASK,), epochs=1, sets=((None, "hidden_size", 4),)))
    store = Store(tmp_path)
    path = store.checkpoint_path(one.run)
    files.write_atomic(path, b"a checkpoint")

    def full(record):
        raise CannotWrite("cannot write: disk full")

    monkeypatch.setattr(store, "put", full)
    with pytest.raises(CannotWrite):
        run_grid([one], store, Settings(), InlineExecutor(), Silent())
    assert path.is_file()


def test_the_checkpoint_of_a_broken_record_is_not_swept(tmp_path):
    (one,) = expand(Request(models=(MODEL,), tasks=(TASK,), epochs=1))
    store = Store(tmp_path)
    files.write_atomic(store.path(one.run), "{broken")
    files.write_atomic(store.checkpoint_path(one.run), b"a checkpoint")
    store.sweep(grace=0.0)
    assert store.checkpoint_path(one.run).is_file()
