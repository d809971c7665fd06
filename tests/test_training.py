"""The training loop and the driver on a third-party model and task: selection, divergence, resumption, records."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models import MODELS
from models.scan.engines import EngineError
from suite.errors import CannotWrite
from suite.plan import Request, expand
from suite.record import load, validate
from suite.report.summary import table
from suite.store import Store
from suite.work import provenance
from suite.work.building import build_model, build_task
from suite.work.claims import Claims
from suite.work.driver import run_grid
from suite.work.executors.inline import InlineExecutor
from suite.work.executors.processes import ProcessExecutor
from suite.work.job import Finished, Job, Progress, Settings, Stopped
from suite.work.training import checkpoint, group, train
from suite.work.training.group import run_job
from tests.harness.grids import Silent

MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"


def planned(**changes):
    request = {"models": (MODEL,), "tasks": (TASK,), "epochs": 3, "sets": ((None, "hidden_size", 8),), **changes}
    return expand(Request(**request))


def events(one, tmp_path, *, stop_after=None, settings=None):
    seen = []
    job = Job((one.run,), one.sources, settings or Settings(), (str(tmp_path / "c.pt"),))

    def stop():
        return stop_after is not None and sum(isinstance(e, Progress) and e.kind == "epoch" for e in seen) >= stop_after

    run_job(job, seen.append, stop)
    return seen


def record(one, tmp_path, **options):
    last = events(one, tmp_path, **options)[-1]
    assert isinstance(last, Finished), last
    return last.record


def stripped(curve):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in curve]


def test_a_record_is_valid_and_selects_at_best_validation(tmp_path):
    (one,) = planned()
    r = validate(json.loads(json.dumps(record(one, tmp_path))))
    assert r["status"] == "done" and r["stop_reason"] == "budget"
    best = max(r["curve"], key=lambda row: (row["valid"], -row["epoch"]))
    assert r["metrics"]["best_epoch"] == best["epoch"]
    assert r["metrics"]["test"] == best["test"]
    assert r["metrics"]["test_last"] == r["curve"][-1]["test"]
    assert [row["steps"] for row in r["curve"]] == [2, 4, 6]
    assert all(len(row["grad_norm"]) == 5 for row in r["curve"])
    assert r["seconds"]["train_processor"] > 0 and (r["seconds"]["train_waited"] or 0) >= 0
    assert r["where"]["engine"] == "reference" and r["where"]["data"] == {"data": "parity (made up)"}


def test_where_the_system_does_not_tell_of_waiting_the_record_has_none(monkeypatch, tmp_path):
    monkeypatch.setattr("suite.work.training.lap.THREADS", tmp_path / "none")
    (one,) = planned()
    assert validate(json.loads(json.dumps(record(one, tmp_path))))["seconds"]["train_waited"] is None


@pytest.mark.parametrize("model", ["cornn", "lstm", "exprnn"])
def test_same_seed_same_curve_another_seed_another(model, tmp_path):
    (a, b) = planned(models=(model,), seeds=(0, 1))
    settings = Settings(engine="fused")
    first, again, other = (record(p, tmp_path, settings=settings) for p in (a, a, b))
    assert stripped(first["curve"]) == stripped(again["curve"])
    assert first["profiles"] == again["profiles"] and first["profiles"]
    assert stripped(first["curve"]) != stripped(other["curve"])


@pytest.mark.parametrize("model", ["cornn", MODEL])
def test_a_stopped_run_goes_on_with_the_same_curve(model, tmp_path):
    (one,) = planned(models=(model,), epochs=5)
    settings = Settings(engine="auto" if model == MODEL else "fused")
    whole = record(one, tmp_path, settings=settings)
    stopped = events(one, tmp_path, stop_after=2, settings=settings)
    assert isinstance(stopped[-1], Stopped) and (tmp_path / "c.pt").exists()
    resumed = record(one, tmp_path, settings=settings)
    assert stripped(resumed["curve"]) == stripped(whole["curve"])
    assert resumed["profiles"] == whole["profiles"]
    assert resumed["metrics"] == whole["metrics"] and resumed["where"]["resumed"] == 1


def test_a_run_stopped_in_mid_epoch_goes_on_with_the_same_curve(tmp_path):
    (one,) = planned(models=("cornn",), sets=((None, "hidden_size", 8), (None, "batch_size", 7)))
    settings = Settings(engine="fused")
    whole = record(one, tmp_path, settings=settings)
    count = iter(range(1000))
    seen = []
    job = Job((one.run,), one.sources, settings, (str(tmp_path / "c.pt"),))
    run_job(job, seen.append, lambda: next(count) == 25)
    assert isinstance(seen[-1], Stopped)
    state, _ = checkpoint.load(tmp_path / "c.pt", one.run.id)
    assert state["counters"][1] not in (0, 18)  # in the middle of an epoch
    assert stripped(record(one, tmp_path, settings=settings)["curve"]) == stripped(whole["curve"])


def test_a_damaged_checkpoint_is_told_and_left(tmp_path, capsys):
    (one,) = planned()
    (tmp_path / "c.pt").write_bytes(b"PK\x03\x04 nothing")
    assert record(one, tmp_path)["status"] == "done"
    assert "the run starts anew" in capsys.readouterr().err


def test_divergence_is_recorded_and_stops_early(tmp_path):
    sets = ((None, "hidden_size", 8), (None, "lr", 1e30), (None, "rate", 1e30))
    (one,) = planned(epochs=50, sets=sets)
    r = validate(json.loads(json.dumps(record(one, tmp_path), allow_nan=False)))
    assert r["status"] == "diverged" and r["stop_reason"] == "non_finite"
    assert len(r["curve"]) < 50


def test_a_run_that_never_had_a_finite_validation_score_diverged(tmp_path, monkeypatch):
    from tests.plugins.tiny import Parity

    monkeypatch.setattr(Parity, "score", lambda self, outputs, batch: torch.full((len(batch.y),), math.nan))
    (one,) = planned()
    found = record(one, tmp_path)
    assert (found["status"], found["stop_reason"], found["metrics"]["test"]) == ("diverged", "budget", None)


SMALL = {
    TASK: {},
    "adding": {"length": 12, "epoch_steps": 3, "valid_examples": 40, "test_examples": 40},
    "smnist": {"data": "digits5k", "train_examples": 120, "test_examples": 40},
}


@pytest.mark.parametrize("task", SMALL)
@pytest.mark.parametrize("model", [*sorted(MODELS), MODEL])
def test_every_model_trains_in_float64_as_in_float32(model, task, tmp_path):
    """Three steps: the same curve to float32's rounding, and not the same numbers."""
    sets = ((None, "hidden_size", 8), (None, "batch_size", 40), *((task, *pair) for pair in SMALL[task].items()))
    grid = {"models": (model,), "tasks": (task,), "epochs": 1, "sets": sets}
    (exact,), (plain,) = planned(**grid, precision="float64"), planned(**grid)
    found, other = record(exact, tmp_path), record(plain, tmp_path)
    assert found["status"] == "done"
    for key in ("train_loss", "valid_loss", "test_loss"):
        assert found["curve"][0][key] == pytest.approx(other["curve"][0][key], rel=1e-3), key
    assert stripped(found["curve"]) != stripped(other["curve"])


def test_the_time_budget_ends_with_one_full_evaluation(tmp_path):
    (one,) = planned(epochs=10_000, max_seconds=0.2)
    r = record(one, tmp_path)
    assert r["stop_reason"] == "max_seconds"
    assert 0.2 <= r["seconds"]["train"] < 5
    assert r["curve"][-1]["test"] is not None


def test_the_time_budget_ends_a_run_whose_epochs_are_shorter_than_a_read_of_the_losses(tmp_path, monkeypatch):
    """As on a GPU: losses, and with them the time, are read every 25 steps; an epoch has two here."""
    monkeypatch.setitem(train.FLUSH, "cpu", 25)
    (one,) = planned(epochs=2_000, max_seconds=0.05)
    r = record(one, tmp_path)
    assert r["stop_reason"] == "max_seconds" and len(r["curve"]) < 2_000
    assert r["curve"][-1]["steps"] % 2 == 0 and r["curve"][-1]["test"] is not None


def test_a_model_that_raises_becomes_a_failure_with_its_words(tmp_path):
    (one,) = planned(models=("tests.plugins.broken:Raises",))
    r = record(one, tmp_path)
    assert r["status"] == "failed" and r["error"] == {**r["error"], "type": "RuntimeError", "message": "no luck"}
    validate(json.loads(json.dumps(r)))


def test_a_gpu_that_refuses_before_a_run_begins_is_that_runs_failure(tmp_path, monkeypatch):
    def refuse():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(group, "_forget", refuse)
    assert "illegal memory access" in record(planned()[0], tmp_path)["error"]["message"]


def test_batch_larger_than_the_data_is_a_failure_in_one_line(tmp_path):
    (one,) = planned(sets=((None, "hidden_size", 4), (None, "batch_size", 121)))
    assert "wanted batch_size <= 120 (training examples), got 121" in record(one, tmp_path)["error"]["message"]


def test_learning_rate_drops_and_clipping(tmp_path):
    sets = ((None, "hidden_size", 4), (None, "lr_drop_epoch", 1), (None, "lr", 0.01), (None, "clip_norm", 1e-6))
    (one,) = planned(sets=sets)
    r = record(one, tmp_path)
    assert [row["lr"] for row in r["curve"]] == pytest.approx([0.01, 0.001, 0.001])
    assert r["curve"][0]["grad_norm"][0] > 1e-6  # recorded before clipping


def test_initialisation_depends_on_model_and_seed_and_leaves_global_state(tmp_path):
    (a, b) = planned(models=("cornn",), seeds=(0, 1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    task = build_task(a.run, None)
    weights = [next(build_model(p.run, task, engine="fused").parameters()) for p in (a, a, b)]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_a_second_call_skips_what_is_done(tmp_path):
    runs = planned(models=("cornn",), seeds=(0, 1))
    store = Store(tmp_path)
    first = run_grid(runs, store, Settings(), InlineExecutor(), Silent())
    assert first.counts["done"] == 2 and first.exit_code == 0
    stamps = {p: p.stat().st_mtime_ns for p in store.paths()}
    second = run_grid(runs, store, Settings(), InlineExecutor(), Silent())
    assert second.counts["skipped"] == 2 and second.counts["done"] == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in store.paths()}
    assert [r["run"]["seed"] for r in second.outlines] == [0, 1]
    assert second.paths == [store.path(one.run) for one in runs]
    for whole, part in zip(map(load, second.paths), second.outlines, strict=True):
        assert len(whole["curve"]) > 1 and whole["profiles"] and table([part]) == table([whole])
        assert len(part["curve"]) == 1 and not part["profiles"]
    assert not list(Path(tmp_path).rglob("*.tmp")) and not list((tmp_path / "checkpoints").glob("*.pt"))


@pytest.mark.parametrize("make", [InlineExecutor, lambda: ProcessExecutor(2, devices=("cpu", "cpu"))])
def test_a_claim_that_cannot_be_written_stops_the_grid_with_its_records_and_checkpoints(tmp_path, monkeypatch, make):
    """The disk is full when the third run is to be claimed: the second one, at work meanwhile, keeps its checkpoint."""
    runs = [*planned(seeds=(0,)), *planned(seeds=(1,), epochs=100_000), *planned(seeds=(2,))]
    inline = make is InlineExecutor
    if inline:
        runs.pop(1)
    take = Claims.take

    def full(self, name):
        if name == runs[-1].run.id:
            raise CannotWrite("cannot write a claim: No space left on device")
        return take(self, name)

    monkeypatch.setattr(Claims, "take", full)
    store = Store(tmp_path)
    with pytest.raises(CannotWrite, match="No space left"):
        run_grid(runs, store, Settings(), make(), Silent())
    assert store.has(runs[0].run) and not store.has(runs[-1].run)
    assert inline or store.checkpoint_path(runs[1].run).is_file()


def test_failures_stand_apart_and_are_retried_only_on_request(tmp_path):
    runs = planned(models=("tests.plugins.broken:Raises",))
    store = Store(tmp_path)
    assert run_grid(runs, store, Settings(), InlineExecutor(), Silent()).exit_code == 1
    assert not list(store.paths()) and len(list(store.failure_paths())) == 1
    again = run_grid(runs, store, Settings(), InlineExecutor(), Silent())
    assert again.counts == {"failed earlier": 1, "skipped": 0} and again.exit_code == 1
    assert again.earlier[0].startswith("tests.plugins.broken:Raises") and "seed 0: failed earlier: " in again.earlier[0]
    assert again.earlier[1:] == ["--rerun failed tries it again"]
    run_grid(runs, store, Settings(), InlineExecutor(), Silent(), rerun_failed=True)
    assert len(list(store.failure_paths())) == 2
    assert load(next(store.failure_paths()))["status"] == "failed"


def test_profiles_cover_epochs_zero_first_and_last(tmp_path):
    (one,) = planned(models=("cornn",), epochs=4)
    profiles = record(one, tmp_path, settings=Settings(engine="fused"))["profiles"]
    assert [p["epoch"] for p in profiles] == [0, 1, 4]
    assert all(len(p["norms"]) == 2 and len(p["norms"][0]) == len(p["t"]) == 6 for p in profiles)
    assert all(math.isfinite(v) and v >= 0 for p in profiles for row in p["norms"] for v in row)


@pytest.mark.parametrize("model", [MODEL, "lstm"])
def test_the_discarded_first_step_of_a_gpu_changes_nothing(model, tmp_path, monkeypatch):
    (one,) = planned(models=(model,), epochs=2)
    plain = record(one, tmp_path, settings=Settings(engine="reference"))
    original, made = group.prepare, []

    def prepare(*arguments):
        ready = original(*arguments)
        ready.trainer.model.register_buffer("seen", torch.zeros(1))
        ready.trainer.model.register_forward_pre_hook(lambda module, _: module.seen.add_(1) and None)
        group._first_step(ready.trainer)
        assert float(ready.trainer.model.seen) == 0
        made.append([p.grad for p in ready.trainer.parameters])
        return ready

    monkeypatch.setattr(group, "prepare", prepare)
    again = record(one, tmp_path, settings=Settings(engine="reference"))
    assert made and set(made[0]) == {None}
    assert stripped(again["curve"]) == stripped(plain["curve"])


def test_recordings_of_an_earlier_run_are_forgotten(tmp_path):
    from models.scan import graph

    graph._recordings["left over"] = object()  # type: ignore[assignment]
    record(planned()[0], tmp_path)
    assert not graph._recordings


def test_long_steps_between_two_reads_are_no_stall(tmp_path, monkeypatch):
    """As on a GPU, where losses are read after every 25th step alone."""
    monkeypatch.setitem(train.FLUSH, "cpu", 1000)
    monkeypatch.setattr(train.Trainer, "due_to_tell", lambda self, now: True)
    (one,) = planned(epochs=1)
    steps = [e for e in events(one, tmp_path) if isinstance(e, Progress) and e.kind == "step"]
    assert len({e.step for e in steps}) > 1


ILLEGAL = "Triton Error [CUDA]: an illegal memory access was encountered"


@pytest.mark.parametrize(
    ("error", "recording", "answers", "rest"),
    [(RuntimeError(ILLEGAL), "", False, "not tried: the GPU failed under tests.plugins.tiny:Leaky"),
     (torch.AcceleratorError("CUDA error: out of memory"), "", True, None),
     (EngineError("engine graph: this model cannot be recorded"), "Leaky", True, "Leaky could not be recorded")],
)  # fmt: skip
@pytest.mark.parametrize("one_job", [True, False])
def test_after_an_error_that_the_process_does_not_survive_it_tries_nothing_more(
    error, recording, answers, rest, one_job, tmp_path, monkeypatch
):
    """A GPU's part is played: it stops answering under seed 1, and from then on every call to it raises."""
    from models.scan import graph

    def synchronize(*_):
        raise torch.AcceleratorError("CUDA error: an illegal memory access")

    failed: list[int] = []
    monkeypatch.setattr(group, "_lost", [])
    monkeypatch.setattr(graph, "broken", "")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: bool(failed) and not answers)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(torch.cuda, "empty_cache", synchronize)
    monkeypatch.setattr(group, "_first_step", lambda trainer: None)

    planned_runs = planned(seeds=(0, 1, 2))
    runs = tuple(one.run for one in planned_runs)
    original = group.prepare

    def prepare(run, job, *rest):
        if run.seed == 1:
            monkeypatch.setattr(graph, "broken", recording)
            failed.append(1)
            raise error
        return original(run, replace(job, settings=Settings()), *rest)

    monkeypatch.setattr(group, "prepare", prepare)
    monkeypatch.setattr(group, "_train_together", lambda *_: {run.id for run in runs})
    seen = []
    for some in [runs] if one_job else [(run,) for run in runs]:
        paths = tuple(str(tmp_path / f"{run.seed}.pt") for run in some)
        run_job(Job(some, planned_runs[0].sources, Settings(device="cuda"), paths), seen.append)
    records = [event.record for event in seen if isinstance(event, Finished)]
    assert [r["status"] for r in records] == ["done", "failed", "failed" if rest else "done"]
    assert str(error) in records[1]["error"]["message"]
    assert rest is None or rest in records[2]["error"]["message"]


def test_a_gpu_that_does_not_answer_leaves_its_name_out(monkeypatch, tmp_path):
    def broken(device):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", broken)
    assert provenance.where(Settings(device="cuda"), engine="none")["gpu"] is None
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Tue Jan 14\nGCC 13\n")
    monkeypatch.setattr(provenance, "_DRIVERS", (tmp_path / "missing", tmp_path / "version"))
    assert provenance.gpu_driver() == "570.86.15"


def test_peak_memory_is_each_runs_own_in_one_process():
    from suite.work.training import peak

    cpu = torch.device("cpu")
    block = torch.ones(64 * 2**20)  # 256 MiB
    peak.reset(cpu)
    with_block = peak.peak_bytes(cpu)
    del block
    peak.reset(cpu)
    assert with_block - peak.peak_bytes(cpu) > 200 * 2**20
