"""Seeds side by side in one process: each seed's curve, record and checkpoint as if it had run alone."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from models import MODELS
from suite.plan import Request, expand
from suite.work.job import Finished, Job, Progress, Settings, Stopped
from suite.work.training import train as trainer
from suite.work.training.group import run_job

SETTINGS = Settings(engine="fused")
TASK = "tests.plugins.tiny:Parity"


def planned(model, **changes):
    sets = ((None, "hidden_size", 8), (None, "batch_size", 16), *changes.pop("sets", ()))
    return expand(
        Request(
            **{
                "models": (model,),
                "tasks": (changes.pop("task", TASK),),
                "epochs": 3,
                "seeds": (0, 1, 2),
                "sets": sets,
                **changes,
            }
        )
    )


def train(runs, tmp_path, *, settings=SETTINGS, stop=lambda: False):
    seen = []
    paths = tuple(str(tmp_path / f"{p.run.seed}.pt") for p in runs)
    run_job(Job(tuple(p.run for p in runs), runs[0].sources, settings, paths), seen.append, stop)
    return seen


def records(seen):
    return {e.record["run"]["seed"]: e.record for e in seen if isinstance(e, Finished)}


def assert_same_curve(a, b, tolerance=2e-3):
    assert [row["steps"] for row in a["curve"]] == [row["steps"] for row in b["curve"]]
    for mine, other in zip(a["curve"], b["curve"]):
        for key in ("train_loss", "valid_loss", "test_loss", "lr"):
            assert mine[key] == pytest.approx(other[key], rel=tolerance), key
        assert mine["grad_norm"] == pytest.approx(other["grad_norm"], rel=tolerance)


@pytest.mark.parametrize("engine", ["fused", "auto"])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_curves_are_those_of_single_runs(model, engine, tmp_path):
    runs, settings = planned(model), Settings(engine=engine)
    together = records(train(runs, tmp_path, settings=settings))
    assert set(together) == {0, 1, 2}
    for one in runs:
        alone = records(train([one], tmp_path, settings=settings))[one.run.seed]
        assert alone["where"]["seeds_together"] == 1 and together[one.run.seed]["where"]["seeds_together"] == 3
        assert alone["id"] == together[one.run.seed]["id"]
        assert_same_curve(together[one.run.seed], alone)


SGD = ((None, "optimizer", "sgd"), (None, "sgd_momentum", 0.9), (None, "sgd_nesterov", True))
ADAGRAD = ((None, "optimizer", "adagrad"),)
ADAMW = ((None, "optimizer", "adamw"), (None, "weight_decay", 0.1))
RATES = ((None, "lr_warmup_steps", 3), (None, "lr_decay", "cosine"))


@pytest.mark.parametrize(
    "sets",
    [
        ((None, "clip_norm", 0.01),),
        ((None, "optimizer", "rmsprop"),),
        ((None, "lr_drop_epoch", 1),),
        SGD,
        SGD[:1],
        ADAGRAD,
        ADAMW,
        RATES,
    ],
)
def test_clipping_and_optimisers_are_each_seeds_own(sets, tmp_path):
    runs = planned("cornn", sets=sets)
    together = records(train(runs, tmp_path))
    for one in runs:
        assert_same_curve(together[one.run.seed], records(train([one], tmp_path))[one.run.seed])


def test_a_plain_torch_model_goes_side_by_side_too(tmp_path):
    runs = planned("tests.plugins.tiny:Leaky")
    together = records(train(runs, tmp_path, settings=Settings()))
    assert_same_curve(together[1], records(train([runs[1]], tmp_path, settings=Settings()))[1])


def test_buffers_and_untrained_parameters_are_each_seeds_own(tmp_path):
    runs = planned("tests.plugins.odd:Reservoir")
    together = records(train(runs, tmp_path, settings=Settings()))
    assert {r["where"]["seeds_together"] for r in together.values()} == {3}
    for one in runs:
        assert_same_curve(together[one.run.seed], records(train([one], tmp_path, settings=Settings()))[one.run.seed])


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("Counting", "training changes the buffer recurrence.calls"),
        ("Drawing", "their first losses are not those of each alone"),
        ("Attribute", "their first losses are not those of each alone"),
        ("Hooked", "their first gradients are not those of each alone (recurrence.inner.bias)"),
    ],
)
def test_what_would_be_another_training_goes_one_by_one(model, why, tmp_path, capsys):
    runs = planned(f"tests.plugins.odd:{model}")
    together = records(train(runs, tmp_path, settings=Settings()))
    said = capsys.readouterr().err
    assert "seeds go one by one" in said and why in said
    assert {r["where"]["seeds_together"] for r in together.values()} == {1}
    alone = records(train([runs[1]], tmp_path / "alone", settings=Settings()))[1]
    assert together[1]["curve"] == [
        {**row, "seconds": mine["seconds"]} for row, mine in zip(alone["curve"], together[1]["curve"])
    ]


def test_batches_that_stop_fitting_together_send_the_seeds_on_one_by_one(tmp_path, capsys):
    runs = planned("cornn", tasks=("tests.plugins.odd:Ragged",))
    together = records(train(runs, tmp_path))
    assert "seeds go one by one: their batches have different shapes" in capsys.readouterr().err
    assert {r["status"] for r in together.values()} == {"done"} and len(together) == 3
    for one in runs:
        assert_same_curve(together[one.run.seed], records(train([one], tmp_path / "alone"))[one.run.seed])


def test_one_seeds_error_is_not_the_others(tmp_path, capsys):
    runs = planned("cornn", task="tests.plugins.odd:OneBad")
    together = records(train(runs, tmp_path))
    assert "cornn tests.plugins.odd:OneBad: seeds go one by one: ValueError: damaged example" in capsys.readouterr().err
    assert {seed: record["status"] for seed, record in together.items()} == {0: "done", 1: "failed", 2: "done"}
    assert together[1]["error"]["message"] == "damaged example"
    assert_same_curve(together[2], records(train([runs[2]], tmp_path / "alone"))[2])


def test_what_vmap_refuses_goes_one_by_one_and_says_so(tmp_path, capsys):
    runs = planned("lstm")
    seen = train(runs, tmp_path, settings=Settings(engine="torch"))
    assert "seeds go one by one" in capsys.readouterr().err
    assert {r["where"]["engine"] for r in records(seen).values()} == {"torch"}
    assert len(records(seen)) == 3
    assert {r["where"]["seeds_together"] for r in records(seen).values()} == {1}


def test_a_checkpoint_of_several_seeds_holds_its_own_alone(tmp_path):
    runs = planned("cornn", epochs=1_000, sets=((None, "hidden_size", 64),), seeds=range(8))

    def stopped_at(count, place):
        place.mkdir()
        seen: list = []
        paths = tuple(str(place / f"{p.run.seed}.pt") for p in runs[:count])
        job = Job(tuple(p.run for p in runs[:count]), runs[0].sources, SETTINGS, paths)
        run_job(job, seen.append, lambda: any(isinstance(e, Progress) and e.kind == "epoch" for e in seen))
        return [(place / f"{p.run.seed}.pt").stat().st_size for p in runs[:count]]

    (alone,) = stopped_at(1, tmp_path / "alone")
    together = stopped_at(8, tmp_path / "together")
    assert max(together) < 1.2 * alone, (alone, together)


def test_what_the_first_step_compiles_is_in_every_seeds_record(tmp_path, monkeypatch):
    from suite.work.training import group

    class Compiling(group.SideBySide):
        def _try(self):
            time.sleep(0.3)
            super()._try()

    monkeypatch.setattr(group, "SideBySide", Compiling)
    found = records(train(planned("cornn", epochs=1), tmp_path))
    assert len(found) == 3 and all(r["seconds"]["compile"] >= 0.3 for r in found.values())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory: 3 at once\nmany lines more"),
        RuntimeError("Triton Error [CUDA]: out of memory\nmore"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`\nmore"),
    ],
    ids=["torch", "triton", "cublas"],
)
def test_too_many_for_the_memory_go_on_one_by_one(error, tmp_path, monkeypatch, capsys):
    runs = planned("cornn", epochs=3)
    from suite.work.training import group

    seen: list = []

    class Full(group.SideBySide):
        def fit(self):
            raise error

    monkeypatch.setattr(group, "SideBySide", Full)
    paths = tuple(str(tmp_path / f"{p.run.seed}.pt") for p in runs)
    run_job(Job(tuple(p.run for p in runs), runs[0].sources, SETTINGS, paths), seen.append)
    assert f"seeds go one by one: {str(error).splitlines()[0]}\n" in capsys.readouterr().err
    found = records(seen)
    assert {s: r["status"] for s, r in found.items()} == dict.fromkeys(range(3), "done")
    assert {r["where"]["seeds_together"] for r in found.values()} == {1}


def test_the_gpu_is_set_up_before_its_memory_is_counted(monkeypatch):
    from suite.work.training import group
    from suite.work.training.tf32 import allow_in_cudnn

    calls: list[str] = []
    exact = allow_in_cudnn(False)
    monkeypatch.setattr(torch.cuda, "init", lambda: calls.append("init"))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(str(device)))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("peak"))
    try:
        for precision, tf32 in (("float32", False), ("tf32", True), ("float64", False), ("bf16", True)):
            group._prepare_device(torch.device("cuda:1"), replace(planned("lstm")[0].run, precision=precision))
            assert torch.backends.cudnn.rnn.fp32_precision == ("tf32" if tf32 else "ieee"), precision
    finally:
        allow_in_cudnn(exact)
    assert calls[:4] == ["init", "cuda:1", "peak", "init"]


def poison(monkeypatch, *, seed):
    """One seed's model diverges at its first step."""
    from suite.work.training import group

    build = group.build_model

    def poisoned(run, task, *, engine):
        model = build(run, task, engine=engine)
        if run.seed == seed:
            with torch.no_grad():
                model.readout.weight.fill_(float("inf"))
        return model

    monkeypatch.setattr(group, "build_model", poisoned)


def test_one_diverging_seed_leaves_the_others_alone(tmp_path, monkeypatch):
    runs = planned("cornn", epochs=4)
    poison(monkeypatch, seed=1)
    together = records(train(runs, tmp_path))
    assert {s: r["status"] for s, r in together.items()} == {0: "done", 1: "diverged", 2: "done"}
    assert_same_curve(together[2], records(train([runs[2]], tmp_path))[2])


def test_the_record_of_a_diverged_seed_does_not_wait_for_the_others(tmp_path, monkeypatch):
    runs = planned("cornn", epochs=4)
    poison(monkeypatch, seed=1)
    seen: list = []
    paths = tuple(str(tmp_path / f"{p.run.seed}.pt") for p in runs)

    def stop():
        return any(isinstance(event, Finished) for event in seen)

    run_job(Job(tuple(p.run for p in runs), runs[0].sources, SETTINGS, paths), seen.append, stop)
    ended = [event for event in seen if isinstance(event, (Finished, Stopped))]
    assert [type(event) for event in ended] == [Finished, Stopped, Stopped]
    assert ended[0].record["run"]["seed"] == 1 and ended[0].record["status"] == "diverged"
    rest = records(train([runs[0], runs[2]], tmp_path))
    assert {seed: r["where"]["seeds_together"] for seed, r in rest.items()} == {0: 2, 2: 2}


def test_a_run_that_went_on_otherwise_says_what_trained_it_before(tmp_path):
    runs = planned("cornn", epochs=4)
    stopped_after(runs, tmp_path, epochs=6)
    alone = records(train([runs[2]], tmp_path))[2]["where"]
    assert (alone["seeds_together"], [leg["seeds_together"] for leg in alone["legs"]]) == (1, [3])
    same = records(train(runs[:2], tmp_path / "new"))[0]["where"]
    assert same["legs"] == []


@pytest.mark.parametrize(
    ("model", "sets"),
    [*((model, ((None, "optimizer", name),)) for model in sorted(MODELS) for name in ("adam", "rmsprop")),
     ("fastrnn", SGD), ("fastrnn", SGD[:1]), ("fastrnn", ADAGRAD)],
)  # fmt: skip
def test_a_group_resumes_as_if_it_had_not_stopped(model, sets, tmp_path):
    """FastRNN's alpha and beta are scalars, whose moments must not be taken for Adam's count of steps."""
    runs = planned(model, epochs=4, sets=sets)
    whole = records(train(runs, tmp_path / "whole"))
    stopped_after(runs, tmp_path, epochs=6)
    again = records(train(runs, tmp_path))
    for seed, record in again.items():
        assert record["where"]["resumed"] == 1 and record["where"]["seeds_together"] == 3
        assert_same_curve(record, whole[seed], tolerance=1e-4)


def test_no_seeds_padding_vector_is_trained(tmp_path):
    """vmap's rule for an embedding spares the padding row of the first seed alone."""
    runs = planned("tanh", task="tests.plugins.tiny:Words")
    together = records(train(runs, tmp_path))
    assert {record["where"]["seeds_together"] for record in together.values()} == {3}
    for one in runs:
        assert_same_curve(together[one.run.seed], records(train([one], tmp_path))[one.run.seed], tolerance=1e-4)


def stopped_after(runs, tmp_path, *, epochs):
    seen: list = []

    def stop():
        return sum(isinstance(event, Progress) and event.kind == "epoch" for event in seen) >= epochs

    paths = tuple(str(tmp_path / f"{p.run.seed}.pt") for p in runs)
    run_job(Job(tuple(p.run for p in runs), runs[0].sources, SETTINGS, paths), seen.append, stop)
    assert sum(isinstance(event, Stopped) for event in seen) == len(runs)


def test_a_stopped_group_goes_on_together_or_alone(tmp_path):
    runs = planned("cornn", epochs=4)
    whole = records(train(runs, tmp_path / "a"))
    stopped_after(runs, tmp_path, epochs=6)
    alone = records(train([runs[2]], tmp_path))[2]
    assert alone["where"]["resumed"] == 1
    assert_same_curve(alone, whole[2])
    rest = records(train(runs[:2], tmp_path))
    for seed in (0, 1):
        assert_same_curve(rest[seed], whole[seed], tolerance=1e-5)


def test_no_seed_of_a_group_is_compared_with_itself(tmp_path):
    """The curves of different seeds differ: the tests above compare what they say."""
    together = records(train(planned("cornn"), tmp_path))
    assert together[0]["curve"][0]["train_loss"] != together[1]["curve"][0]["train_loss"]


def test_the_time_budget_ends_short_epochs_too(tmp_path, monkeypatch):
    """Losses, and with them the time, are read at the end of an epoch that is shorter than their interval."""
    monkeypatch.setitem(trainer.FLUSH, "cpu", 25)
    found = records(train(planned("tanh", epochs=2_000, max_seconds=0.05), tmp_path))
    assert {r["stop_reason"] for r in found.values()} == {"max_seconds"}
    assert all(r["curve"][-1]["test"] is not None for r in found.values())
