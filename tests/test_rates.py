"""Optimisers and learning rates: those of torch, step by step, the same after a stop."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from models import build
from models.classifier import SequenceModel
from suite.errors import UsageError
from suite.plan import Request, expand
from suite.runs import LATER
from suite.work.job import Finished, Job, Progress, Settings, Stopped
from suite.work.training.group import run_job
from suite.work.training.rates import Rates, lr_scale, optimizer_for

MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"
STEPS = 3 * 2  # epochs times steps of an epoch: see planned
FLAT = {**LATER, "lr_drop_epoch": 0, "lr_drop_factor": 10.0}


def planned(*sets, model=MODEL):
    own = ((None, "hidden_size", 8), *((None, key, value) for key, value in sets))
    return expand(Request(models=(model,), tasks=(TASK,), epochs=3, sets=own))[0]


def trained(one, path, *, stop_after=None):
    """The job's last event; ``stop_after`` epochs it is asked to stop."""
    seen = []

    def stop():
        return stop_after is not None and sum(isinstance(e, Progress) and e.kind == "epoch" for e in seen) >= stop_after

    run_job(Job((one.run,), one.sources, Settings(), (str(path),)), seen.append, stop)
    return seen[-1]


def curve(event):
    assert isinstance(event, Finished), event
    return [{key: value for key, value in row.items() if key != "seconds"} for row in event.record["curve"]]


def test_rates_of_groups_keep_their_ratio_after_a_drop():
    recipe = {
        "lr": 0.01,
        "optimizer": "rmsprop",
        "rmsprop_alpha": 0.9,
        **FLAT,
        "lr_drop_epoch": 2,
        "lr_drop_factor": 4.0,
    }
    model = SequenceModel(build("exprnn", input_size=1, hidden_size=6, skew_lr_ratio=0.1), 2)
    optimizer = optimizer_for(model, recipe)
    rates = Rates(optimizer, recipe, 21)
    assert sorted(set(rates.base)) == pytest.approx([0.001, 0.01])
    assert {group["alpha"] for group in optimizer.param_groups} == {0.9}
    for epoch, scale in ((1, 1.0), (2, 1.0), (3, 0.25)):
        rates.set(optimizer, epoch, 7 * epoch - 1)
        now = [group["lr"] for group in optimizer.param_groups]
        assert now == [lr * scale for lr in rates.base] and rates.first(epoch, 7 * epoch - 1) == now[0]


@pytest.mark.parametrize(
    ("recipe", "theirs"),
    [
        ({"optimizer": "sgd"}, lambda p: torch.optim.SGD(p, lr=0.1)),
        ({"optimizer": "sgd", "sgd_momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        (
            {"optimizer": "sgd", "sgd_momentum": 0.5, "sgd_nesterov": True, "weight_decay": 0.3},
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5, nesterov=True, weight_decay=0.3),
        ),
        ({"optimizer": "adagrad"}, lambda p: torch.optim.Adagrad(p, lr=0.1)),
        ({"optimizer": "adagrad", "weight_decay": 0.3}, lambda p: torch.optim.Adagrad(p, lr=0.1, weight_decay=0.3)),
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, lr=0.1)),
        ({"optimizer": "adam", "weight_decay": 0.3}, lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.3)),
        ({"optimizer": "adamw"}, lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.0)),
        ({"optimizer": "adamw", "weight_decay": 0.3}, lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.3)),
        ({"optimizer": "rmsprop", "rmsprop_alpha": 0.7}, lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.7)),
        (
            {"optimizer": "rmsprop", "rmsprop_alpha": 0.7, "weight_decay": 0.3},
            lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.7, weight_decay=0.3),
        ),
    ],
)
def test_optimisers_are_torchs(recipe, theirs):
    models = []
    for make in (
        lambda model: optimizer_for(model, {**FLAT, "lr": 0.1, **recipe}),
        lambda model: theirs(model.parameters()),
    ):
        torch.manual_seed(0)
        model = SequenceModel(build("tanh", input_size=2, hidden_size=5, engine="reference"), 3).double()
        optimizer = make(model)
        for step in range(4):
            optimizer.zero_grad()
            x = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(step)).double()
            model(x).square().sum().backward()
            optimizer.step()
        models.append(model)
    for mine, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.allclose(mine, other, rtol=1e-10, atol=1e-12)


class Spared(nn.Module):
    """Its second weight shall not decay."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def parameter_groups(self, lr):
        return [{"params": [self.first], "lr": lr}, {"params": [self.second], "lr": lr, "weight_decay": 0.0}]


def test_a_group_keeps_the_weight_decay_that_it_names():
    model = Spared()
    optimizer = optimizer_for(model, {**FLAT, "lr": 0.1, "optimizer": "adamw", "weight_decay": 0.5})
    for weight in (model.first, model.second):
        weight.grad = torch.zeros(1)
    optimizer.step()
    assert model.first.item() == pytest.approx(1 - 0.1 * 0.5) and model.second.item() == 1.0


@pytest.mark.parametrize("decay", ["none", "cosine", "linear"])
@pytest.mark.parametrize("warm", [0, 1, 7])
def test_rates_are_those_of_torchs_schedulers(decay, warm):
    steps = 50
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3)
    falling = {
        "none": lambda: LinearLR(optimizer, start_factor=1.0, total_iters=1),
        "cosine": lambda: CosineAnnealingLR(optimizer, T_max=steps - warm),
        "linear": lambda: LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps - warm),
    }[decay]
    if warm > 1:  # their factor after n steps is (1/warm) + n (1 - 1/warm) / total_iters: ours is (n+1) / warm
        rising = LinearLR(optimizer, start_factor=1 / warm, total_iters=warm - 1)
        scheduler = SequentialLR(optimizer, [rising, falling()], milestones=[warm])
    elif warm:
        scheduler = SequentialLR(optimizer, [LinearLR(optimizer, 1.0, total_iters=1), falling()], milestones=[1])
    else:
        scheduler = falling()
    recipe = {**FLAT, "lr_warmup_steps": warm, "lr_decay": decay}
    for step in range(steps):
        mine = 0.3 * lr_scale(recipe, epoch=1, step=step, steps=steps)
        assert mine == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12), step
        optimizer.step()
        scheduler.step()


@given(
    st.integers(0, 20), st.sampled_from(["none", "cosine", "linear"]), st.integers(1, 60), st.integers(0, 3),
)  # fmt: skip
def test_a_rate_rises_to_the_recipes_and_then_never_rises_again(warm, decay, steps, drop):
    recipe = {"lr_warmup_steps": warm, "lr_decay": decay, "lr_drop_epoch": drop, "lr_drop_factor": 4.0}
    scales = [lr_scale(recipe, epoch=1 + step // 10, step=step, steps=steps) for step in range(steps)]
    assert all(0 < scale <= 1 and math.isfinite(scale) for scale in scales)
    falling = scales[max(0, warm - 1) :]
    assert falling == sorted(falling, reverse=True)
    if not drop:
        assert scales[:warm] == sorted(scales[:warm])
        assert not falling or falling[0] == 1.0


def test_a_run_has_these_rates_and_the_curve_tells_each_epochs_last(tmp_path, monkeypatch):
    seen = []
    step = torch.optim.AdamW.step

    def noted(self, *args, **options):
        seen.append(self.param_groups[0]["lr"])
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    one = planned(
        ("optimizer", "adamw"), ("weight_decay", 0.01), ("lr", 0.01), ("lr_warmup_steps", 2), ("lr_decay", "cosine")
    )
    rows = curve(trained(one, tmp_path / "c.pt"))
    falling = [0.005 * (1 + math.cos(math.pi * n / 4)) for n in range(4)]
    assert seen == pytest.approx([0.005, 0.01, *falling]) and len(seen) == STEPS
    assert [row["lr"] for row in rows] == pytest.approx(seen[1::2], rel=1e-8)


def test_a_stopped_run_goes_on_at_the_rate_that_it_would_have_had(tmp_path):
    one = planned(("optimizer", "adamw"), ("weight_decay", 0.1), ("lr_warmup_steps", 3), ("lr_decay", "linear"))
    whole = curve(trained(one, tmp_path / "a.pt"))
    assert isinstance(trained(one, tmp_path / "b.pt", stop_after=1), Stopped)
    again = trained(one, tmp_path / "b.pt")
    assert curve(again) == whole and again.record["where"]["resumed"] == 1


def test_weight_decay_changes_a_run_and_its_id(tmp_path):
    plain, decayed = planned(), planned(("weight_decay", 0.5))
    assert plain.run.id != decayed.run.id and "weight_decay" not in plain.run.recipe
    one, other = (curve(trained(run, tmp_path / f"{run.run.id}.pt")) for run in (plain, decayed))
    assert one[0]["grad_norm"][0] == other[0]["grad_norm"][0]  # the loss's own gradient, before any decay
    assert one[-1]["train_loss"] != other[-1]["train_loss"]


def test_a_models_own_hyperparameter_of_such_a_name_is_left_to_it(tmp_path):
    one = planned(("lr_decay", 0.25), ("weight_decay", 0.5), model="tests.plugins.odd:OwnNames")
    assert one.run.recipe["lr_decay"] == 0.25
    rows = curve(trained(one, tmp_path / "c.pt"))
    assert len({row["lr"] for row in rows}) == 1  # no rate fell
    assert rows[-1]["diagnostics"] == {"lr_decay": 0.25, "weight_decay": 0.5}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("lr_decay", "cosin", "unknown lr_decay 'cosin': did you mean cosine"),
        ("lr_decay", 0.5, "lr_decay: wanted str, got 0.5"),
        ("weight_decay", -1, "weight_decay: wanted >= 0, got -1"),
        ("lr_warmup_steps", 0.5, "lr_warmup_steps: wanted int, got 0.5"),
    ],
)
def test_a_bad_value_is_a_line(key, value, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        planned((key, value))
