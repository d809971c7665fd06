"""Kept weights: what a record's scores are of, whoever trained them and however often they were stopped."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch

from models import MODELS
from suite import merge, run
from suite.errors import UsageError
from suite.plan import Request, expand
from suite.store import Store
from suite.work.building import build_task
from suite.work.job import Finished, Job, Progress, Settings, Stopped
from suite.work.training.group import run_job
from suite.work.training.measure import evaluate, evaluation_batch
from suite.work.weights import load_model

PARITY, WORDS = "tests.plugins.tiny:Parity", "tests.plugins.tiny:Words"
LEAKY = "tests.plugins.tiny:Leaky"
KEEP = Settings(keep_weights=True)
EPOCHS = 6


def planned(model=LEAKY, task=PARITY, seeds=(0,), **changes):
    sets = ((None, "hidden_size", 8), (None, "batch_size", 16), (None, "lr", 0.1))
    return expand(Request(models=(model,), tasks=(task,), seeds=seeds, epochs=EPOCHS, sets=sets, **changes))


def train(runs, folder, *, settings=KEEP, stop_after=None):
    seen = []
    paths = tuple(str(folder / f"{one.run.seed}.pt") for one in runs)

    def stop():
        return stop_after is not None and sum(isinstance(e, Progress) and e.kind == "epoch" for e in seen) >= stop_after

    run_job(Job(tuple(one.run for one in runs), runs[0].sources, settings, paths), seen.append, stop)
    return [event for event in seen if isinstance(event, (Finished, Stopped))]


def score_of(model, run):
    """The test metric of a model on the run's own task."""
    task = build_task(run, None)
    batch = evaluation_batch(task, run.recipe)
    return evaluate(model, task, "test", batch_size=batch, device=torch.device("cpu"))[0]


def assert_of_the_record(event, run, tmp_path):
    path = tmp_path / f"{run.id}.pt"
    path.write_bytes(event.weights)
    model = load_model(path)
    assert not model.training
    assert score_of(model, run) == event.record["metrics"]["test"]
    return model


@pytest.mark.parametrize("model", sorted([*MODELS, LEAKY]))
@pytest.mark.parametrize("task", [PARITY, WORDS])
def test_weights_give_the_test_score_of_their_record(model, task, tmp_path):
    (one,) = planned(model, task)
    (event,) = train([one], tmp_path)
    loaded = assert_of_the_record(event, one.run, tmp_path)
    if task == WORDS:  # the padding's vector is as it was, and gets no gradient
        assert loaded.embedding.padding_idx == 1 and not loaded.embedding.weight[1].any()


def test_they_are_those_of_the_best_epoch_not_of_the_last(tmp_path):
    runs = planned(seeds=range(6))
    events = {one.run.seed: train([one], tmp_path)[0] for one in runs}
    early = [one for one in runs if events[one.run.seed].record["metrics"]["best_epoch"] < EPOCHS]
    differ = [
        one for one in early if len({events[one.run.seed].record["metrics"][k] for k in ("test", "test_last")}) > 1
    ]
    assert differ
    for one in runs:
        assert_of_the_record(events[one.run.seed], one.run, tmp_path)


def test_a_stopped_run_keeps_the_same_weights(tmp_path):
    for one in planned(seeds=range(2)):
        (whole,) = train([one], tmp_path)
        for stop_after in range(1, EPOCHS):
            (tmp_path / f"{one.run.seed}.pt").unlink(missing_ok=True)
            (stopped,) = train([one], tmp_path, stop_after=stop_after)
            (went_on,) = train([one], tmp_path)
            assert isinstance(stopped, Stopped)
            assert went_on.weights == whole.weights


def test_weights_asked_for_too_late_are_told(tmp_path, capsys):
    one = next(one for one in planned(seeds=range(6)) if best_epoch(one, tmp_path) < EPOCHS)
    (tmp_path / f"{one.run.seed}.pt").unlink(missing_ok=True)
    train([one], tmp_path, settings=Settings(), stop_after=EPOCHS - 1)
    capsys.readouterr()
    (event,) = train([one], tmp_path)
    assert event.weights is None and event.record["status"] == "done"
    assert "no weights: the best epoch came before they were asked for" in capsys.readouterr().err


def best_epoch(one, tmp_path):
    (event,) = train([one], tmp_path)
    return event.record["metrics"]["best_epoch"]


@pytest.mark.parametrize("model", ["cornn", "exprnn", "fastrnn", LEAKY])
@pytest.mark.parametrize("task", [PARITY, WORDS])
def test_seeds_side_by_side_keep_each_their_own(model, task, tmp_path):
    runs = planned(model, task, seeds=(0, 1, 2))
    events = train(runs, tmp_path)
    assert [event.record["where"]["seeds_together"] for event in events] == [3, 3, 3]
    held = []
    for one, event in zip(runs, events, strict=True):
        model = assert_of_the_record(event, one.run, tmp_path)
        assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in model.state_dict().values())
        held.append(model.readout.weight)
    assert not torch.equal(held[0], held[1])


def test_nothing_is_kept_unasked_or_of_a_run_without_a_score(tmp_path):
    (one,) = planned()
    assert train([one], tmp_path, settings=Settings())[0].weights is None
    (diverges,) = planned("tests.plugins.faults:NotFinite")
    (event,) = train([diverges], tmp_path)
    assert event.record["status"] == "diverged" and event.weights is None


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_their_precision_is_the_runs(precision, tmp_path):
    (one,) = planned("lstm", precision=precision)
    (event,) = train([one], tmp_path)
    model = assert_of_the_record(event, one.run, tmp_path)
    assert next(model.parameters()).dtype == getattr(torch, precision)


# ---- files -----------------------------------------------------------------------------------------------------------


def command(results, *words, models="cornn,lstm", seeds="0,1"):
    return ["--models", models, "--tasks", PARITY, "--seeds", seeds, "--epochs", "2", "--set", "hidden_size=4",
            "--threads", "1", "--results-dir", str(results), *words]  # fmt: skip


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_each_run_leaves_a_file_beside_its_record(executor, tmp_path, capsys):
    assert run.main(command(tmp_path / "r", "--keep-weights", "--executor", executor)) == 0
    store = Store(tmp_path / "r")
    records = list(store.records())
    files = sorted((tmp_path / "r" / "weights").glob("*/*/*"))
    assert [path.stem for path in files] == [path.stem for path in store.paths()]
    for record, path in zip(records, files, strict=True):
        from suite.runs import Run

        assert score_of(load_model(path), Run.from_identity(record["run"])) == record["metrics"]["test"]
    capsys.readouterr()
    shutil.rmtree(tmp_path / "r" / "weights" / "lstm")
    assert run.main(command(tmp_path / "r", "--keep-weights", "--executor", executor)) == 0
    assert "2 finished runs have no weights; another --results-dir trains anew" in capsys.readouterr().err


def test_a_merge_brings_them_with_new_records_alone(tmp_path):
    for name, words in (("a", ["--keep-weights"]), ("b", [])):
        assert run.main(command(tmp_path / name, *words, models="lstm", seeds="0" if name == "b" else "0,1")) == 0
    assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / "b")]) == 0
    (new,) = (tmp_path / "b" / "weights").glob("*/*/*")
    assert new.name.startswith("seed1-")  # seed 0's record is b's own, and a's weights are not of it
    theirs = tmp_path / "a" / new.relative_to(tmp_path / "b")
    assert new.read_bytes() == theirs.read_bytes()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    (one,) = planned("cornn")
    path = folder / "weights.pt"
    path.write_bytes(train([one], folder)[0].weights)
    return path


def test_a_file_that_is_no_weights_is_one_line(kept, tmp_path):
    whole = kept.read_bytes()
    bad = tmp_path / "bad.pt"
    with pytest.raises(UsageError, match="No such file"):
        load_model(bad)
    for data in (b"", b"text", whole[: len(whole) // 2]):
        bad.write_bytes(data)
        with pytest.raises(UsageError, match="damaged or other file"):
            load_model(bad)
    held = torch.load(kept, weights_only=True)
    for other in ({}, [1], torch.zeros(2), {**held, "run": 3}, {**held, "spec": {"length": 1}}):
        torch.save(other, bad)
        with pytest.raises(UsageError, match="damaged or other file"):
            load_model(bad)
    torch.save({**held, "version": 2}, bad)
    with pytest.raises(UsageError, match="wanted a file of weights of version 1, got version 2"):
        load_model(bad)


def test_weights_of_another_model_are_refused(kept, tmp_path):
    held = torch.load(kept, weights_only=True)
    other = copy.deepcopy(held)
    other["run"]["model_version"] += 1
    torch.save(other, tmp_path / "version.pt")
    with pytest.raises(UsageError, match="wanted weights of cornn version"):
        load_model(tmp_path / "version.pt")
    other = copy.deepcopy(held)
    other["model"].pop("readout.bias")
    torch.save(other, tmp_path / "keys.pt")
    with pytest.raises(UsageError, match=r"as it is now: .*readout\.bias"):
        load_model(tmp_path / "keys.pt")
