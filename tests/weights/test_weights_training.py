"""Kept weights are what a record's scores are of, whoever trained them and however often they were stopped."""

from __future__ import annotations

import io
import itertools

import pytest
import torch

from models import MODELS
from suite.work.building import build_model, build_task
from suite.work.job import Settings, Stopped
from suite.work.training import checkpoint
from suite.work.weights import Trained
from tests.weights.common import EPOCHS, LEAKY, PARITY, WORDS, anew, assert_of_the_record, planned, train

TOO_LATE = "the best epoch came before they were asked for"


@pytest.mark.parametrize("model", sorted([*MODELS, LEAKY]))
@pytest.mark.parametrize("task", [PARITY, WORDS])
def test_weights_give_the_test_score_of_their_record(model, task, tmp_path):
    (one,) = planned(model, task)
    (event,) = train([one], tmp_path)
    loaded = assert_of_the_record(event, one.run, tmp_path)
    whole = Trained(loaded, one.run, event.record["metrics"]["best_epoch"])
    assert whole.score() == pytest.approx(event.record["metrics"]["test"], abs=1e-6)
    assert whole.score("valid") == pytest.approx(event.record["metrics"]["valid"], abs=1e-6)
    if task == WORDS:  # the padding's vector is as it was, and gets no gradient
        assert loaded.embedding.padding_idx == 1 and not loaded.embedding.weight[1].any()


def test_they_are_those_of_the_best_epoch_not_of_the_last(tmp_path):
    runs = planned(seeds=range(6))
    events = [train([one], tmp_path)[0] for one in runs]
    scores = [event.record["metrics"] for event in events]
    assert any(m["best_epoch"] < EPOCHS and m["test"] != m["test_last"] for m in scores)
    for one, event in zip(runs, events, strict=True):
        assert_of_the_record(event, one.run, tmp_path)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_their_precision_is_the_runs(precision, tmp_path):
    (one,) = planned("lstm", precision=precision)
    (event,) = train([one], tmp_path)
    model = assert_of_the_record(event, one.run, tmp_path)
    assert next(model.parameters()).dtype == getattr(torch, precision)


# ---- stopped and asked for late --------------------------------------------------------------------------------------


def states_equal(one, other):
    one, other = (torch.load(io.BytesIO(data), weights_only=True)["model"] for data in (one, other))
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def test_a_stopped_run_keeps_the_same_weights(tmp_path):
    for one in planned(seeds=range(2)):
        (whole,) = train([one], tmp_path)
        for stop_after in range(1, EPOCHS):
            anew(one, tmp_path)
            (stopped,) = train([one], tmp_path, stop_after=stop_after)
            (went_on,) = train([one], tmp_path)
            assert isinstance(stopped, Stopped)
            assert states_equal(went_on.weights, whole.weights)


def test_the_wish_for_them_may_change_and_they_are_of_the_score_or_none(tmp_path):
    kept = 0
    for one, wishes in itertools.product(planned(seeds=range(2)), itertools.product((True, False), repeat=3)):
        anew(one, tmp_path)
        for wish, stop_after in zip(wishes, (2, 2, None), strict=True):
            (event,) = train([one], tmp_path, settings=Settings(keep_weights=wish), stop_after=stop_after)
        if event.weights is None:
            assert event.lacking == (TOO_LATE if wishes[-1] else "")
        else:
            kept += 1
            assert wishes[-1]
            assert_of_the_record(event, one.run, tmp_path)
    assert kept


def best_epoch(one, tmp_path):
    anew(one, tmp_path)
    (event,) = train([one], tmp_path)
    anew(one, tmp_path)
    return event.record["metrics"]["best_epoch"]


def test_asked_for_too_late_they_are_missing_and_that_is_said(tmp_path):
    one = next(one for one in planned(seeds=range(12)) if best_epoch(one, tmp_path) < EPOCHS - 1)
    train([one], tmp_path, settings=Settings(), stop_after=EPOCHS - 1)
    (event,) = train([one], tmp_path)
    assert event.weights is None and event.record["status"] == "done"
    assert event.lacking == TOO_LATE


def test_a_run_stopped_after_its_best_epoch_has_its_weights_in_the_checkpoint(tmp_path):
    one, best = next((one, n) for one in planned(seeds=range(12)) if (n := best_epoch(one, tmp_path)) < EPOCHS)
    train([one], tmp_path, settings=Settings(), stop_after=best)
    (event,) = train([one], tmp_path)
    assert_of_the_record(event, one.run, tmp_path)


def test_a_checkpoint_of_an_older_version_goes_on(tmp_path):
    (one,) = planned()
    train([one], tmp_path, stop_after=2)
    state, _ = checkpoint.load(tmp_path / "0.pt", one.run.id)
    older = {key: value for key, value in state.items() if key != "best_weights"}
    checkpoint.save(tmp_path / "0.pt", one.run.id, older)
    (event,) = train([one], tmp_path)
    assert event.record["status"] == "done" and event.record["where"]["resumed"] == 1


# ---- seeds side by side ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["cornn", "exprnn", "fastrnn", LEAKY])
@pytest.mark.parametrize("task", [PARITY, WORDS])
def test_seeds_side_by_side_keep_each_their_own(model, task, tmp_path):
    runs = planned(model, task, seeds=(0, 1, 2))
    events = train(runs, tmp_path)
    assert [event.record["where"]["seeds_together"] for event in events] == [3, 3, 3]
    held = []
    for one, event in zip(runs, events, strict=True):
        loaded = assert_of_the_record(event, one.run, tmp_path)
        assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in loaded.state_dict().values())
        held.append(loaded.readout.weight)
    assert not torch.equal(held[0], held[1])


def test_seeds_that_were_stopped_together_go_on_alone(tmp_path):
    runs = planned(seeds=(0, 1, 2))
    train(runs, tmp_path, stop_after=7)
    for one in runs:
        (event,) = train([one], tmp_path)
        assert event.record["where"]["resumed"] == 1
        assert_of_the_record(event, one.run, tmp_path)


# ---- odd runs --------------------------------------------------------------------------------------------------------


def test_nothing_is_kept_or_told_unasked_or_of_a_run_without_a_score(tmp_path):
    (one,) = planned()
    (event,) = train([one], tmp_path, settings=Settings())
    assert event.weights is None and not event.lacking
    (diverges,) = planned("tests.plugins.faults:NotFinite")
    (event,) = train([diverges], tmp_path)
    assert event.record["status"] == "diverged" and event.weights is None and not event.lacking


def test_a_run_that_diverged_later_has_the_weights_of_its_best_epoch(tmp_path):
    (one,) = planned("tests.plugins.odd:Falls")
    (event,) = train([one], tmp_path)
    assert event.record["status"] == "diverged" and event.record["metrics"]["best_epoch"] <= 3
    assert_of_the_record(event, one.run, tmp_path)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_state_that_is_no_tensor_is_kept_and_one_that_cannot_be_read_back_is_told(seeds, tmp_path):
    runs = planned("tests.plugins.odd:Extra", seeds=seeds)
    for one, event in zip(runs, train(runs, tmp_path), strict=True):
        assert_of_the_record(event, one.run, tmp_path)
    events = train(planned("tests.plugins.odd:Unsaveable", seeds=seeds), tmp_path)
    assert [event.record["status"] for event in events] == ["done"] * len(seeds)
    assert all(event.weights is None and event.lacking.startswith("they cannot be saved: ") for event in events)


def test_sizes_may_be_numbers_of_numpy(tmp_path):
    (one,) = planned(task="tests.plugins.odd:Counted")
    (event,) = train([one], tmp_path)
    assert_of_the_record(event, one.run, tmp_path)


def test_a_model_is_built_alike_twice_whatever_its_task_draws():
    (one,) = planned(task="tests.plugins.odd:Global")
    task = build_task(one.run, None)
    first, second = (build_model(one.run, task, engine="auto").state_dict() for _ in range(2))
    assert all(first[name].equal(second[name]) for name in first)
