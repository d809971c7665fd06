"""On a GPU: runs, several seeds, checkpoints, full memory and measurements; marked gpu, and skipped elsewhere."""

from __future__ import annotations

import json
import warnings

import pytest
import torch

from models import MODELS, build
from suite import speed
from suite.plan import Request, expand
from suite.work.job import Finished, Job, Progress, Settings, Stopped
from suite.work.training.group import prepare, run_job
from suite.work.training.measure import to_device
from suite.work.training.tf32 import allow_in_cudnn

pytestmark = pytest.mark.gpu
DEVICE = "cuda:0"
SETS = ((None, "hidden_size", 16), (None, "batch_size", 16), ("adding", "length", 20), ("adding", "epoch_steps", 30))


def planned(model, *, seeds=(0,), epochs=2, tasks=("adding",), sets=SETS, **changes):
    return expand(
        Request(
            models=(model,), tasks=tasks, epochs=epochs, seeds=tuple(seeds), sets=sets, device_kind="cuda", **changes
        )
    )


def job(runs, folder, *, device=DEVICE, engine="auto", **settings):
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(str(folder / f"{p.run.seed}.pt") for p in runs)
    return Job(tuple(p.run for p in runs), runs[0].sources, Settings(device=device, engine=engine, **settings), paths)


def train(runs, folder, *, stop=lambda seen: False, **settings):
    seen: list = []
    run_job(job(runs, folder, **settings), seen.append, lambda: stop(seen))
    return seen


def records(seen):
    return {e.record["run"]["seed"]: e.record for e in seen if isinstance(e, Finished)}


def assert_same_curve(a, b, tolerance=2e-2):
    assert a["status"] == b["status"] == "done", (a["error"], b["error"])
    for mine, other in zip(a["curve"], b["curve"], strict=True):
        for key in ("train_loss", "valid_loss", "test_loss"):
            assert mine[key] == pytest.approx(other[key], rel=tolerance), key


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_run_is_that_of_the_cpu_and_takes_the_kernels(model, tmp_path):
    runs = planned(model)
    (gpu,) = records(train(runs, tmp_path / "gpu")).values()
    (cpu,) = records(train(runs, tmp_path / "cpu", device="cpu")).values()
    assert gpu["where"]["engine"] == "triton" and gpu["where"]["gpu"] and gpu["size"]["peak_bytes"] > 0
    assert gpu["seconds"]["compile"] > 0
    assert_same_curve(gpu, cpu)
    for mine, other in zip(gpu["profiles"], cpu["profiles"], strict=True):
        assert mine["norms"][0] == pytest.approx(other["norms"][0], rel=0.1, abs=1e-6)


@pytest.mark.parametrize("engine", ["fused", "reference", "graph"])
def test_the_other_engines_train_alike(engine, tmp_path):
    runs = planned("cornn")
    (one,) = records(train(runs, tmp_path / "one", engine=engine)).values()
    (other,) = records(train(runs, tmp_path / "other")).values()
    assert one["where"]["engine"] == engine
    assert_same_curve(one, other)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_no_training_step_waits_for_the_device(model, seeds, tmp_path):
    from suite.work.training.lap import Lap
    from suite.work.training.side_by_side import SideBySide

    runs = planned(model, seeds=range(seeds), sets=(*SETS, (None, "clip_norm", 1.0)))
    whole = job(runs, tmp_path)
    trainers = [
        prepare(one.run, whole, tmp_path / f"{one.run.seed}.pt", lambda event: None, lambda: False).trainer
        for one in runs
    ]
    together = SideBySide(trainers) if seeds > 1 else None

    def step(batches):
        if together is None:
            trainers[0]._step(to_device(batches[0], trainers[0].device))
        else:
            together._step(together._stacked(batches, Lap()))

    sources = [trainer.epoch_batches() for trainer in trainers]
    for _ in range(2):  # kernels are compiled, libraries set up
        step([next(source) for source in sources])
    torch.cuda.synchronize()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
            torch.cuda.set_sync_debug_mode("error")
        for _ in range(10):
            step([next(source) for source in sources])
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_data_sets_lie_on_the_device(tmp_path):
    runs = planned("tanh", tasks=("psmnist",), sets=(*SETS[:2], ("psmnist", "data", "digits5k")))
    trainer = prepare(runs[0].run, job(runs, tmp_path), tmp_path / "0.pt", lambda event: None, lambda: False).trainer
    batch = next(trainer.epoch_batches())
    assert batch.x.device == batch.y.device == torch.device(DEVICE)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_seeds_side_by_side_are_those_of_single_runs(precision, tmp_path):
    runs = planned("cornn", seeds=range(3), precision=precision)
    together = records(train(runs, tmp_path / "together"))
    assert {r["where"]["seeds_together"] for r in together.values()} == {3}
    for one in runs:
        (alone,) = records(train([one], tmp_path / "alone")).values()
        assert alone["id"] == together[one.run.seed]["id"]
        assert_same_curve(together[one.run.seed], alone)


def test_cudnn_refuses_vmap_and_its_seeds_go_one_by_one(tmp_path):
    together = records(train(planned("lstm", seeds=range(2)), tmp_path, engine="torch"))
    assert {r["status"] for r in together.values()} == {"done"}
    assert {r["where"]["seeds_together"] for r in together.values()} == {1}


def graph_of(tensor):
    """Names of the nodes that autograd goes through from a tensor."""
    seen, waiting = {}, [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen[node] = node.name()
            waiting += [after for after, _ in node.next_functions]
    return set(seen.values())


@pytest.mark.parametrize("model", ["lstm", "tanh"])
def test_cudnn_is_the_reference(model):
    exact = allow_in_cudnn(False)
    try:
        torch.manual_seed(0)
        one = build(model, input_size=3, hidden_size=32, engine="torch").to(DEVICE)
        other = build(model, input_size=3, hidden_size=32, engine="reference").to(DEVICE)
        other.load_state_dict(one.state_dict())
        x = torch.randn(40, 5, 3, device=DEVICE)
        found = []
        for net in (one, other):
            h, final = net(x)  # with a profile it would be another engine
            assert ("CudnnRnnBackward0" in graph_of(h)) == (net is one)
            (h.square().sum() + final.sum()).backward()
            found.append([h, final, *(p.grad for p in net.parameters())])
        for mine, wanted in zip(*found, strict=True):
            torch.testing.assert_close(mine, wanted, rtol=1e-3, atol=1e-4)
    finally:
        allow_in_cudnn(exact)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_stopped_run_goes_on_where_it_was(deterministic, tmp_path):
    runs = planned("tests.plugins.faults:Dropped", epochs=3, tasks=("tests.plugins.tiny:Parity",), sets=SETS[:2])
    (whole,) = records(train(runs, tmp_path / "whole", deterministic=deterministic)).values()

    def after_an_epoch(seen):
        return any(isinstance(e, Progress) and e.kind == "epoch" for e in seen)

    seen = train(runs, tmp_path / "parts", deterministic=deterministic, stop=after_an_epoch)
    assert sum(isinstance(e, Stopped) for e in seen) == 1
    (rest,) = records(train(runs, tmp_path / "parts", deterministic=deterministic)).values()
    assert rest["where"]["resumed"] == 1
    assert_same_curve(rest, whole, tolerance=1e-5)


@pytest.fixture
def little_memory():
    """A share of the GPU's memory for this process: other tests may run beside it."""
    torch.cuda.set_per_process_memory_fraction(0.05)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_full_memory_is_a_failed_record_with_its_peak_and_the_rest_goes_on(tmp_path, little_memory):
    runs = [*planned("tests.plugins.faults:FillsTheGpu"), *planned("cornn")]
    failed, done = (next(iter(records(train([one], tmp_path / str(i))).values())) for i, one in enumerate(runs))
    assert failed["status"] == "failed" and "out of memory" in failed["error"]["message"]
    assert failed["size"]["peak_bytes"] > 2**20 and done["status"] == "done"


def test_the_measurement_has_every_precision_and_several_seeds(tmp_path):
    options = ["--device", "cuda", "--shapes", "har2", "--models", "cornn,lstm", "--seconds", "1"]
    more = ["--precision", "float32,tf32,bf16", "--seeds", "1,2", "--results-dir", str(tmp_path), "--json"]
    assert speed.main([*options, *more]) == 0
    (path,) = (tmp_path / "speed").glob("*.json")
    content = json.loads(path.read_text())
    assert content["machine"]["gpu"]
    rows = {(row["model"], row["engine"]): row for row in content["rows"]}
    for model in ("cornn", "lstm"):
        for name in ("loop", "fused", "triton", "triton-tf32", "triton-bf16", "triton-x2", "triton-tf32-x2"):
            assert rows[model, name]["step_ms"]["median"] > 0, (model, name)
    assert rows["lstm", "torch"]["step_ms"]["median"] > 0 and rows["lstm", "torch-tf32"]["step_ms"]["median"] > 0
