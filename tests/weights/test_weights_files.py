"""Weights as files: beside their records, merged with them, damaged, or of another training."""

from __future__ import annotations

import copy
import io
import math
import os
import re
import shutil

import pytest
import torch

from suite import merge, run
from suite.errors import CannotWrite, UsageError
from suite.store import Store
from suite.work import driver
from suite.work.driver import run_grid
from suite.work.executors.inline import InlineExecutor
from suite.work.job import Settings
from suite.work.weights import load_trained
from tests.harness.grids import Silent
from tests.weights.common import KEEP, PARITY, planned, score_of, train


def command(results, *words, models="cornn,lstm", seeds="0,1"):
    return ["--models", models, "--tasks", PARITY, "--seeds", seeds, "--epochs", "2", "--set", "hidden_size=4",
            "--threads", "1", "--results-dir", str(results), *words]  # fmt: skip


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_each_run_leaves_a_file_beside_its_record(executor, tmp_path, capsys):
    results = tmp_path / "r"
    assert run.main(command(results, "--keep-weights", "--executor", executor)) == 0
    assert f"weights in {results / 'weights'}" in capsys.readouterr().err
    store, files = Store(results), sorted((results / "weights").glob("*/*/*"))
    assert [path.stem for path in files] == [path.stem for path in store.paths()]
    for record, path in zip(store.records(), files, strict=True):
        assert score_of(load_trained(path)) == record["metrics"]["test"]
    shutil.rmtree(results / "weights" / "lstm")
    assert run.main(command(results, "--keep-weights", "--executor", executor)) == 0
    assert "2 finished runs have no weights; another --results-dir trains anew" in capsys.readouterr().err


def test_a_split_that_there_is_not_answers_with_those_there_are(tmp_path):
    (one,) = planned()
    (event,) = train([one], tmp_path)
    path = tmp_path / "kept.pt"
    path.write_bytes(event.weights)
    for split in ("tset", "", None):
        with pytest.raises(UsageError, match=f"unknown split '{split or ''}.*Known: test, train, valid"):
            load_trained(path).score(split)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path, capsys):
    (tmp_path / "weights").write_text("a file")
    assert run.main(command(tmp_path, "--keep-weights", "--executor", "inline")) == 5
    assert "cannot write" in capsys.readouterr().err
    assert not list(Store(tmp_path).paths())


def test_weights_that_cannot_be_written_cost_no_record(tmp_path, capsys, monkeypatch):
    """The disk takes records and no weights: the grid stops, and what was trained is recorded."""
    store, runs = Store(tmp_path / "r"), planned(seeds=(0, 1))

    def full(path, data):
        raise CannotWrite(f"cannot write {path}: no space")

    monkeypatch.setattr(driver, "write_atomic", full)
    with pytest.raises(CannotWrite, match="no space"):
        run_grid(runs, store, KEEP, InlineExecutor(), Silent())
    assert store.has(runs[0].run) and not store.weights_path(runs[0].run).exists()
    assert "seed 0: no weights: cannot write" in capsys.readouterr().err


def test_a_run_without_a_score_is_not_missed(tmp_path, capsys):
    store, runs = Store(tmp_path / "r"), planned("tests.plugins.faults:NotFinite")
    for _ in range(2):
        run_grid(runs, store, KEEP, InlineExecutor(), Silent())
    assert "no weights" not in capsys.readouterr().err


def test_weights_of_another_training_are_not_taken_for_the_records(tmp_path):
    store, runs = Store(tmp_path / "r"), planned()
    place, record = store.weights_path(runs[0].run), store.path(runs[0].run)
    run_grid(runs, store, KEEP, InlineExecutor(), Silent())
    load_trained(place)
    old = place.read_bytes()
    record.unlink()
    run_grid(runs, store, Settings(), InlineExecutor(), Silent())
    assert not place.exists()  # they went with the run's new training
    place.write_bytes(old)
    with pytest.raises(UsageError, match=r"wanted the weights of seed0-.*\.json, got those of another training"):
        load_trained(place)


def test_a_second_drivers_weights_do_not_replace_those_of_the_record(tmp_path):
    store, runs = Store(tmp_path / "r"), planned()
    place = store.weights_path(runs[0].run)
    run_grid(runs, store, KEEP, InlineExecutor(), Silent())
    first = place.read_bytes()
    (event,) = train(runs, tmp_path)
    grid = driver._Grid(store, _NoClaims(), driver.Shy(Silent()), None)
    grid.take(event)
    assert place.read_bytes() == first and first != event.weights
    load_trained(place)


class _NoClaims:
    def release(self, names): ...


def test_a_sweep_removes_what_killed_writers_left(tmp_path):
    left = tmp_path / "weights" / "m" / "t" / ".seed0.pt.0.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    os.utime(left, (0, 0))
    assert Store(tmp_path).sweep() == [left]


def test_a_merge_brings_them_with_their_records(tmp_path, capsys):
    a, b, c = (tmp_path / name for name in "abc")
    for results, words, seeds in ((a, ["--keep-weights"], "0,1"), (b, [], "0")):
        assert (
            run.main(
                command(
                    results,
                    *words,
                    models="lstm",
                    seeds=seeds,
                )
            )
            == 0
        )
    assert merge.main([str(a), "--results-dir", str(b)]) == 0
    (new,) = (b / "weights").glob("*/*/*")
    assert new.name.startswith("seed1-")  # seed 0's record is b's own, and a's weights are not of it
    theirs = a / new.relative_to(b)
    assert new.read_bytes() == theirs.read_bytes()
    load_trained(new)
    shutil.copytree(a / "records", c / "records")
    assert merge.main([str(a), "--results-dir", str(c)]) == 0  # the records are there already
    assert len(list((c / "weights").glob("*/*/*"))) == 2
    for path in (new, theirs):
        path.unlink()
    theirs.mkdir()
    capsys.readouterr()
    assert merge.main([str(a), "--results-dir", str(b)]) == 1
    assert f"left out: {theirs}: cannot be read" in capsys.readouterr().err


# ---- files that are not what they should be --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    (event,) = train(planned("cornn"), folder)
    path = folder / "weights.pt"
    path.write_bytes(event.weights)
    return path


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_model_with_rounded_products_computes_on_a_cpu(precision, kept, tmp_path):
    found = torch.load(kept, weights_only=True)
    found["run"]["precision"] = precision
    torch.save(found, tmp_path / "rounded.pt")
    trained = load_trained(tmp_path / "rounded.pt")
    assert trained.run.precision == precision
    assert score_of(trained) == score_of(load_trained(kept))


def test_a_file_that_is_no_weights_is_one_line(kept, tmp_path):
    whole, found = kept.read_bytes(), torch.load(kept, weights_only=True)
    flipped = bytearray(whole)
    flipped[whole.index(found["model"]["readout.weight"].numpy().tobytes()) + 3] ^= 0x40
    bad = tmp_path / "bad.pt"
    with pytest.raises(UsageError, match="No such file"):
        load_trained(bad)
    for data in (b"", b"text", whole[: len(whole) // 2], bytes(flipped)):
        bad.write_bytes(data)
        with pytest.raises(UsageError, match="damaged or other file"):
            load_trained(bad)
    changes = ({"run": 3}, {"spec": {"length": 1}}, {"model": 3}, {"epoch": "x"})
    strange = {**found, "run": {**found["run"], "recipe": {"lr": math.nan}}}
    for other in ({}, [1], torch.zeros(2), strange, *({**found, **change} for change in changes)):
        torch.save(other, bad)
        with pytest.raises(UsageError, match="damaged or other file"):
            load_trained(bad)
    wrong = {**found, "spec": {**found["spec"], "higher_is_better": not found["spec"]["higher_is_better"]}}
    torch.save(wrong, bad)
    with pytest.raises(UsageError, match=r"bad.pt: spec.higher_is_better: wanted"):
        load_trained(bad)
    torch.save({"version": 2}, bad)
    with pytest.raises(UsageError, match="wanted a file of weights of version 1, got version 2"):
        load_trained(bad)


def test_weights_of_a_model_that_has_changed_are_refused(kept, tmp_path):
    found = torch.load(kept, weights_only=True)
    path = tmp_path / "other.pt"

    def refused(match, change):
        other = copy.deepcopy(found)
        change(other)
        torch.save(other, path)
        with pytest.raises(UsageError, match=f"^{re.escape(str(path))}: .*{match}") as told:
            load_trained(path)
        assert "\n" not in str(told.value)

    refused("wanted cornn of version 1, got version 2", lambda other: other["run"].update(model_version=2))
    refused("readout.bias", lambda other: other["model"].pop("readout.bias"))
    refused("hidden_size", lambda other: other["run"]["recipe"].pop("hidden_size"))
    refused("unexpected keyword", lambda other: other["run"]["recipe"].update(renamed=1.0))
    refused("dt", lambda other: other["run"]["recipe"].update(dt=-1.0))
    refused("no_such_module", lambda other: other["run"].update(model="no_such_module:Model"))
    refused("cannot be built", lambda other: other["model"].update({"embedding.weight": 3}))
    (event,) = train(planned("tests.plugins.odd:Extra"), tmp_path)
    found = torch.load(io.BytesIO(event.weights), weights_only=True)
    refused("AssertionError: $", lambda other: other["model"].update({"recurrence._extra_state": {}}))  # has no words
    with pytest.raises(UsageError, match="engine 'nope'"):
        load_trained(kept, engine="nope")
