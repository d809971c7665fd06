"""Tasks that are read out at every step: the second example of docs/new-task.md, through all that trains a task."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from models import MODELS, build
from models.classifier import SequenceModel
from suite.check import main as check
from suite.report import load_runs
from suite.run import main
from suite.theory import main as theory
from suite.work.training.measure import evaluation_batch
from suite.work.weights import load_trained
from tasks.contract import SPLITS, Spec, TaskError

NAME = "docs.examples.copy_memory:CopyMemory"
GRID = ["--tasks", NAME, "--executor", "inline", "--threads", "1"]
SMALL = ["--set", f"{NAME}.delay=3", "--set", f"{NAME}.symbols=2", "--set", "hidden_size=24", "--set", "lr=0.01"]


def copying(**options):
    from docs.examples.copy_memory import CopyMemory

    return CopyMemory(seed=options.pop("seed", 3), **options)


def records(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((folder / "records").rglob("*.json"))]


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_shown_and_what_is_wanted(split):
    task = copying(delay=5, symbols=2)
    batch = next(task.batches(split, 16, 1))
    assert (
        batch.x.shape == (16, 9, 10)
        and batch.x.dtype == torch.float32
        and torch.equal(batch.x.sum(-1), torch.ones(16, 9))
    )
    shown, blank, marker = batch.x.argmax(-1), 8, 9
    assert shown[:, :2].max() < 8 and (shown[:, 6] == marker).all()
    rest = torch.cat((shown[:, 2:6], shown[:, 7:]), 1)
    assert (rest == blank).all() and (batch.y[:, :7] == blank).all()
    assert torch.equal(batch.y[:, 7:], shown[:, :2])


def test_a_constant_guess_has_the_loss_and_the_score_that_the_task_states():
    task = copying(delay=40, symbols=4)
    batch = next(task.batches("test", 1000, 0))
    outputs = torch.full((1000, 48, 9), -1e4)
    outputs[:, :44, 8] = 0.0
    outputs[:, 44:, :8] = 0.0
    assert float(task.loss(outputs, batch)) == pytest.approx(4 * math.log(8) / 48, rel=1e-5)
    assert f"{4 * math.log(8) / 48:.4f}" in task.facts["constant guess"]
    assert float(task.score(outputs, batch).mean()) == pytest.approx(1 / 8, abs=0.03)
    assert task.score(torch.nn.functional.one_hot(batch.y, 9).float(), batch).eq(1).all()


@pytest.mark.parametrize("name", tuple(MODELS))
@pytest.mark.parametrize(
    ("engine", "dtype", "close"),
    [("reference", torch.float64, 1e-12), ("fused", torch.float64, 1e-9), ("native", torch.float32, 1e-4)],
)
def test_every_output_is_of_its_own_step_and_gradients_are_the_definitions(name, engine, dtype, close):
    task = copying(delay=4, symbols=3)
    batch = next(task.batches("train", 5, 1))
    x = batch.x.to(dtype)

    def made(engine: str) -> SequenceModel:
        torch.manual_seed(0)
        return SequenceModel(build(name, input_size=10, hidden_size=8, engine=engine), 9, every_step=True).to(dtype)

    model, other = made(engine), made("reference")
    outputs, wanted = model(x), other(x)
    assert outputs.shape == (5, 10, 9) and torch.allclose(outputs, wanted, rtol=close, atol=close / 10)
    last = SequenceModel(model.recurrence, 9).to(dtype)
    last.readout = model.readout
    for t in (1, 4, 10):  # what is read out at the end of a shorter sequence
        assert torch.allclose(last(x[:, :t]), outputs[:, t - 1], rtol=close, atol=close / 10)
    for found in (outputs, wanted):
        task.loss(found, batch).backward()
    for (parameter, mine), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=close, atol=close / 10), parameter


def test_lengths_leave_nothing_out():
    torch.manual_seed(0)
    model = SequenceModel(build("tanh", input_size=3, hidden_size=4), 2, every_step=True)
    x = torch.randn(2, 6, 3)
    assert torch.equal(model(x), model(x, torch.tensor([2, 6])))


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_every_step_is_true_or_false(wrong):
    with pytest.raises(TaskError, match="every_step: wanted True or False"):
        Spec(1, 1, 1, "accuracy", True, every_step=wrong)


def test_the_outputs_count_where_memory_bounds_an_evaluation():
    recipe = {"eval_batch_size": 0, "hidden_size": 8, "batch_size": 2}
    task = copying(delay=10**5)
    many = evaluation_batch(task, recipe)
    task.spec = Spec(10, 900, task.spec.length, "accuracy", True, every_step=True)
    assert evaluation_batch(task, recipe) < many


@pytest.mark.parametrize(
    ("memory", "wanted"), [(4 * 2**30, 83), (80 * 2**30, 167), (140 * 2**30, 293), (400 * 2**30, 335)]
)
def test_a_gpu_evaluates_more_examples_at_once_by_its_memory(memory, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=memory))
    recipe = {"eval_batch_size": 0, "hidden_size": 512, "batch_size": 2}
    task = SimpleNamespace(spec=Spec(1, 10, 1559, "accuracy", True))
    assert evaluation_batch(task, recipe) == 83
    assert evaluation_batch(task, recipe, torch.device("cuda")) == wanted
    assert evaluation_batch(task, recipe | {"eval_batch_size": 7}, torch.device("cuda")) == 7


def test_it_keeps_the_contract(capsys):
    assert check(["--tasks", NAME, "--set", f"{NAME}.delay=4"]) == 0
    assert "FAULT" not in capsys.readouterr().out


def test_a_check_lays_outputs_out_as_a_model_does(capsys):
    assert check(["--tasks", "tests.plugins.deep:Flat"]) == 1
    assert "view size is not compatible" in capsys.readouterr().out


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Two seeds of two models, one by one."""
    folder = tmp_path_factory.mktemp("copying")
    words = ["--models", "lstm,exprnn", "--seeds", "0,1", "--epochs", "3", "--keep-weights"]
    assert main([*GRID, *SMALL, *words, "--results-dir", str(folder)]) == 0
    return folder


def test_a_grid_trains_on_it(trained):
    found = records(trained)
    assert len(found) == 4 and all(record["metrics"]["chance"] == 1 / 8 for record in found)
    assert max(record["metrics"]["test"] for record in found) > 0.5
    profile = found[0]["profiles"][-1]
    assert profile["length"] == 7 and all(value > 0 for value in profile["norms"][0])
    assert len(load_runs(trained)) == 4


def test_seeds_side_by_side_give_the_same_curves(tmp_path):
    """At a rate of 0.001: with 0.01 training makes 1e-7 of rounding 1e-4 in the second epoch and 9 % in the third."""
    words = [*GRID, *SMALL, "--set", "lr=0.001", "--models", "lstm", "--seeds", "0,1", "--epochs", "3"]
    assert main([*words, "--results-dir", str(tmp_path / "alone")]) == 0
    assert main([*words, "--seeds-per-run", "2", "--results-dir", str(tmp_path / "together")]) == 0
    alone = {r["run"]["seed"]: r for r in records(tmp_path / "alone")}
    for record in records(tmp_path / "together"):
        assert record["where"]["seeds_together"] == 2
        losses = [[row["train_loss"] for row in r["curve"]] for r in (record, alone[record["run"]["seed"]])]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_kept_weights_give_outputs_of_every_step_and_the_records_score(trained):
    path = sorted((trained / "weights").rglob("*.pt"))[0]
    model = load_trained(path)
    record = json.loads(Path(str(path).replace("weights", "records")).with_suffix(".json").read_text())
    batch = next(model.task().batches("test", 7, 0))
    assert model.model(batch.x).shape == (7, 7, 9)
    assert model.score("test") == pytest.approx(record["metrics"]["test"], abs=1e-6)


def test_a_check_of_the_last_step_refuses_it(tmp_path, capsys):
    words = ["--checks", "plateau", "--tasks", NAME, "--untrained", "--results-dir", str(tmp_path)]
    assert theory(words) == 2
    assert "wanted tasks that read out the last step" in capsys.readouterr().err
