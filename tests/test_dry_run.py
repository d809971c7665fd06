"""`suite.run --dry-run`: states, parameters, estimates from records or from the model; nothing runs, no data needed."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from pathlib import Path

import pytest

from suite.errors import UsageError
from suite.plan import Request, expand
from suite.record import dumps, load
from suite.run import main
from suite.store import Store, write_atomic
from suite.work.driver import run_grid
from suite.work.estimates.costs import Estimator, modelled_bytes, modelled_seconds
from suite.work.estimates.estimate import dry_run, megabytes, table
from suite.work.estimates.sizes import Tasks, bare_model, stored_blocks
from suite.work.executors.inline import InlineExecutor
from suite.work.job import Job, Settings
from suite.work.training.records import failure
from tests.harness.grids import Silent

MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"
SMALL = ("--set", "adding.length=20", "--set", "adding.epoch_steps=2", "--set", "hidden_size=4")


def planned(**changes):
    request = {"models": (MODEL,), "tasks": (TASK,), "epochs": 2, "sets": ((None, "hidden_size", 8),), **changes}
    return expand(Request(**request))


def rows(capsys, *words: str) -> list[dict]:
    assert main([*words, "--dry-run", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def dry(capsys, grid, root: Path) -> list[dict]:
    assert dry_run(grid, Store(root), Namespace(data_dir=None, engine="auto", json=True, jobs=None, rerun=None)) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_units_epochs_and_what_was_set_by_hand_are_told(tmp_path, capsys):
    words = ["--models", "cornn,lstm", "--tasks", "adding", "--seeds", "0-1", "--results-dir", str(tmp_path)]
    assert main([*words, "--dry-run", *SMALL, "--set", "cornn.dt=0.05", "--epochs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    options = "epoch_steps=2, length=20"
    told = " ".join(line.strip() for line in lines)
    assert f"cornn adding: H=4, 1 epoch, dt=0.05 by hand, {options}" in told
    assert f"lstm adding: H=4, 1 epoch, {options}" in told and max(map(len, lines)) <= 80
    assert main([*words, "--dry-run", "--seeds", "0", "--json"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert row["recipe"]["hidden_size"] == 128 and row["task_options"]["length"] == 500 and row["epochs"] == 600


def test_every_state_is_told(tmp_path, capsys):
    done, diverged, failed, resumable, broken, new = grid = planned(seeds=range(6))
    store = Store(tmp_path)
    run_grid([done, diverged, broken], store, Settings(), InlineExecutor(), Silent())
    text = store.path(diverged.run).read_text()
    store.path(diverged.run).write_text(text.replace('"status": "done"', '"status": "diverged"'))
    store.path(broken.run).write_text(store.path(broken.run).read_text()[:200])
    store.put(failure(failed.run, Job((failed.run,), failed.sources, Settings(), ("c",)), "made up", "now"))
    write_atomic(store.checkpoint_path(resumable.run), b"a checkpoint")
    states = {row["seed"]: row["state"] for row in dry(capsys, grid, tmp_path)}
    assert list(states.values()) == ["done", "diverged", "failed", "resumable", "broken", "new"]
    assert new.run.seed == 5
    before = sorted(tmp_path.rglob("*"))
    dry(capsys, grid, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_trained_and_nothing_is_written(tmp_path, capsys):
    listed = rows(
        capsys, "--models", "cornn,lstm", "--tasks", "adding", "--seeds", "0-2", "--results-dir", str(tmp_path)
    )
    assert [row["state"] for row in listed] == ["new"] * 6
    assert {row["model"]: row["parameters"] for row in listed} == {"cornn": 33_281, "lstm": 67_713}
    assert list(tmp_path.iterdir()) == []


def test_time_comes_from_records_of_the_group_then_of_the_pair_then_from_the_model(tmp_path, capsys):
    grid = planned(seeds=(0, 1))
    (other,) = planned(sets=((None, "hidden_size", 16),))
    assert {row["seconds_from"] for row in dry(capsys, [*grid, other], tmp_path)} == {"rough"}
    store = Store(tmp_path)
    (record,) = run_grid(grid[:1], store, Settings(), InlineExecutor(), Silent()).outlines
    first, second, third = dry(capsys, [*grid, other], tmp_path)
    spent = record["seconds"]["train"] + record["seconds"]["evaluate"]
    assert (first["seconds_from"], first["seconds"]) == ("record", spent)
    assert second["seconds_from"] == "group" and second["seconds"] == pytest.approx(spent, rel=1e-3)
    assert second["memory_from"] == "group" and second["memory_bytes"] == record["size"]["peak_bytes"]
    task = Tasks().get(TASK, dict(other.run.task_options))
    ratio = modelled_seconds(other.run, task, epochs=2) / modelled_seconds(grid[0].run, task, epochs=2)
    assert third["seconds_from"] == "pair" and third["seconds"] == pytest.approx(spent * ratio, rel=1e-3)


def test_twice_the_epochs_are_estimated_at_twice_the_time(tmp_path):
    store, tasks = Store(tmp_path), Tasks()
    run_grid(planned(), store, Settings(), InlineExecutor(), Silent())
    short, long = (Estimator(store, tasks)(planned(epochs=n, seeds=(1,))[0]) for n in (2, 4))
    assert long.seconds == pytest.approx(2 * short.seconds, rel=1e-3)


@pytest.mark.parametrize("model", ["cornn", "tests.plugins.tiny:Leaky"])
def test_slower_engines_are_estimated_slower(model, tmp_path, capsys):
    """Of a model that defines no cell the loop is the only engine."""
    command = ["--models", model, "--tasks", "adding", "--results-dir", str(tmp_path)]
    times = {
        engine: rows(capsys, *command, "--engine", engine)[0]["seconds"]
        for engine in (["auto", "native", "fused", "reference"] if model == "cornn" else ["auto", "reference"])
    }
    if model == "cornn":
        assert times["auto"] == times["native"]
        assert times["fused"] == pytest.approx(2 * times["native"], rel=1e-3)
    assert times["reference"] == pytest.approx((3 if model == "cornn" else 1) * times["auto"], rel=1e-3)


def test_records_of_the_same_engine_count_before_those_of_another(tmp_path):
    store, tasks = Store(tmp_path), Tasks()
    runs = planned(seeds=(0, 1))
    run_grid(runs, store, Settings(), InlineExecutor(), Silent())
    for one, engine, seconds in zip(runs, ("reference", "fused"), (30.0, 10.0), strict=True):
        record = load(store.path(one.run))
        record["where"]["engine"] = engine
        record["seconds"] |= {"train": seconds, "evaluate": 0.0}
        store.path(one.run).write_text(dumps(record))
    (new,) = planned(seeds=(2,))
    estimate = {engine: Estimator(store, tasks, engine)(new).seconds for engine in ("reference", "fused", "native")}
    assert estimate["reference"] == pytest.approx(30, rel=1e-3) and estimate["fused"] == pytest.approx(10, rel=1e-3)
    assert estimate["native"] == pytest.approx((30 / 3 + 10 / 2) / 2, rel=1e-3)


def test_a_record_of_seeds_side_by_side_is_of_all_of_them(tmp_path):
    store, tasks = Store(tmp_path), Tasks()
    run_grid(planned(), store, Settings(), InlineExecutor(), Silent())
    alone = Estimator(store, tasks)(planned(seeds=(1,))[0])
    (path,) = store.paths()
    record = load(path)
    record["where"]["seeds_together"] = 4
    path.write_text(dumps(record))
    shared = Estimator(store, tasks)(planned(seeds=(1,))[0])
    assert shared.memory_bytes == alone.memory_bytes  # on a CPU it is the whole process's
    train, evaluate = record["seconds"]["train"], record["seconds"]["evaluate"]
    assert shared.seconds == pytest.approx(train / 4 + evaluate, rel=1e-3) != alone.seconds
    record["where"]["legs"] = [{"seeds_together": 1}]
    path.write_text(dumps(record))
    assert Estimator(store, tasks)(planned(seeds=(1,))[0]).seconds_from == "rough"  # its seconds are of several kinds


def test_seeds_of_one_process_are_not_said_to_run_in_two(tmp_path, capsys):
    words = ["--models", "cornn", "--tasks", "adding", "--seeds", "0-3", "--dry-run", "--jobs", "2", *SMALL]
    folder = ["--results-dir", str(tmp_path)]
    assert main([*words, *folder]) == 0
    assert "with 2 side by side" in capsys.readouterr().out
    assert main([*words, *folder, "--seeds-per-run", "4"]) == 0
    assert "side by side" not in capsys.readouterr().out


def test_max_seconds_bounds_the_estimate(capsys):
    (row,) = rows(capsys, "--models", "lstm", "--tasks", "adding-5000", "--max-seconds", "60")
    assert row["seconds"] == 60


def test_memory_is_the_stored_blocks_times_time_batch_and_units(capsys):
    (one,) = expand(Request(models=("cornn",), tasks=("adding",)))
    task = Tasks().get("adding", dict(one.run.task_options))
    model = bare_model(one.run, task)
    assert stored_blocks(model) == 3  # DESIGN: states (y, z) and tanh
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert modelled_bytes(one.run, task) == 4 * (500 * 50 * (3 * 128 + 2) + weights)


@pytest.mark.parametrize(
    ("model", "blocks"),
    [("tanh", 1), ("exprnn", 1), ("fastrnn", 2), ("antisymmetric", 2), ("cornn", 3), ("antisymmetric-gated", 3),
     ("lstm", 6)],
)  # fmt: skip
def test_stored_blocks_are_those_of_the_design(model, blocks):
    (one,) = expand(Request(models=(model,), tasks=("adding",)))
    assert stored_blocks(bare_model(one.run, Tasks().get("adding", dict(one.run.task_options)))) == blocks


def test_without_data_the_runs_are_listed_and_the_trouble_is_one_line(tmp_path, capsys):
    words = ["--models", "cornn", "--tasks", "psmnist,adding", "--seeds", "0-1", "--data-dir", str(tmp_path)]
    assert main([*words, "--dry-run", "--results-dir", str(tmp_path / "r")]) == 0
    out = capsys.readouterr()
    assert out.err.count("no estimate") == 1 and out.err.startswith("psmnist:")
    lines = [line.split() for line in out.out.splitlines() if " psmnist " in line]
    assert [line[-4:] for line in lines] == [["-", "-", "-", "-"]] * 2
    assert " 33,281 " in out.out


def test_a_plugin_without_a_cell_has_a_time_and_no_memory(tmp_path, capsys):
    (row,) = dry(capsys, planned(), tmp_path)
    assert row["parameters"] == 1 * 8 + 8 * 8 + 8 + 9 and row["seconds"] > 0
    assert row["memory_bytes"] is None


def test_the_table_fits_80_columns(tmp_path, capsys):
    long = f"{MODEL},antisymmetric-gated,cornn"
    words = ["--models", long, "--tasks", f"{TASK},adding-5000", "--seeds", "0,100000", "--results-dir", str(tmp_path)]
    assert main([*words, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["state", "model", "task", "seed", "parameters", "time", "from", "memory"]
    assert any("Leaky" in line and "…" in line for line in lines)
    assert any("12 runs: 12 new; to do: about" in line for line in lines)


def test_a_hyperparameter_out_of_range_is_one_line(capsys):
    assert main(["--models", "cornn", "--tasks", "adding", "--dry-run", "--set", "dt=-1", *SMALL]) == 2
    said = capsys.readouterr().err
    assert "dt: wanted > 0, got -1" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "foo"], "unknown engine 'foo'"),
        (["--executor", "inline", "--jobs", "3"], "--jobs: wanted 1 with --executor inline"),
        (["--set", "adding.length=1"], "option length: wanted an integer at least 2, got 1"),
        (["--set", "cornn.batch_size=100000"], "batch_size"),
    ],
)
def test_what_a_run_would_refuse_is_refused(words, said, capsys):
    assert main(["--models", "cornn", "--tasks", "adding", "--dry-run", *words]) == 2
    told = capsys.readouterr().err
    assert said in told and len(told.splitlines()) == 1


def test_a_plugin_that_raises_is_one_line(monkeypatch):
    from tests.plugins.tiny import Leaky

    def broken(self, *args, **options):
        raise ZeroDivisionError("oops")

    (one,) = planned()
    task = Tasks().get(TASK, dict(one.run.task_options))
    monkeypatch.setattr(Leaky, "__init__", broken)
    with pytest.raises(UsageError, match="cannot be built: ZeroDivisionError: oops"):
        bare_model(one.run, task)


def test_figures_for_people():
    assert [megabytes(n) for n in (None, 1, 2_600_000, 3_210_000_000)] == ["-", "1 MB", "3 MB", "3.2 GB"]
    assert math.isfinite(len(table([])))


def test_threads_follow_from_the_grid_not_from_what_is_left(tmp_path, monkeypatch):
    """Another number of threads changes the last bits of a run: a resumed grid must not take one."""
    from suite.run import parser
    from suite.work import launch

    monkeypatch.setattr(launch, "cores", lambda: 8)
    grid, store = planned(seeds=range(4)), Store(tmp_path)

    def settings(*words: str):
        args = parser().parse_args(["--models", MODEL, "--tasks", TASK, *words])
        return launch.executor(args, grid, store, ["cpu"])[1]

    assert (settings().threads, settings("--threads", "3").threads) == (2, 3)
    assert settings("--executor", "inline").threads == 8
    run_grid(grid[:3], store, Settings(), InlineExecutor(), Silent())
    assert settings().threads == 2 and settings("--jobs", "2").threads == 4
