"""``suite.check``, and the same promises where a run meets them: one clear line, and no wrong figure."""

from __future__ import annotations

import json
import re

import pytest
import torch

from models.classifier import SequenceModel
from models.contract import ModelError
from models.scan import engines, graph
from suite import check, run
from suite.record import validate
from suite.report import __main__ as report
from suite.store import Store
from tests.plugins.careless import OnlyH
from tests.plugins.tiny import Parity

BAD, CARELESS = "tests.plugins.disobedient", "tests.plugins.careless"
MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"


def asked(capsys, *words):
    code = check.main([*words, "--json"])
    out = capsys.readouterr().out
    return code, [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    "words",
    [["--models", "cornn,exprnn,fastrnn,antisymmetric,antisymmetric-gated,lstm,tanh"],
     ["--models", f"docs.examples.gru:PlainGRU,docs.examples.gru:GRU,{MODEL},{BAD}:Bare"],
     ["--tasks", f"adding,docs.examples.recall:Recall,{TASK},tests.plugins.tiny:Words", "--set", "adding.length=20"]],
)  # fmt: skip
def test_what_keeps_its_contract_has_no_fault(capsys, words):
    code, found = asked(capsys, *words)
    assert [one for one in found if one["state"] == "FAULT"] == [] and code == 0
    assert {one["name"] for one in found} == set(words[1].split(","))
    assert all(one["text"] for one in found)


@pytest.mark.parametrize(
    ("name", "promise", "words"),
    [
        ("Wide", "shapes", "h: wanted (T,B,H) = (12, 5, 8), got (12, 5, 9)"),
        ("BatchFirst", "rows apart", "is x taken as (B,T,I)?"),
        ("Foresees", "causal", "changes with the input from step 6 on"),
        ("OtherFinal", "final state", "block 0 of the final state is not the last h"),
        ("Drawn", "repeatable", "the same input gives another h"),
        ("Mixed", "rows apart", "a row alone has another h than in its batch"),
        ("Unsaved", "reloading", "something learned or drawn is not in it"),
        ("Names", "shapes", "block_names: wanted 1 (states), got 2"),
        ("WrongBackward", "engine fused", "too far"),
        ("WithoutNumbers", "engine fused", "inf off float64"),
        ("Missing", "", ""),
    ],
)
def test_a_models_slip_is_found(capsys, name, promise, words):
    if name == "Missing":
        assert check.main(["--models", f"{BAD}:{name}"]) == 2
        assert "cannot be imported" in capsys.readouterr().err
        return
    code, found = asked(capsys, "--models", f"{BAD}:{name}")
    faults = {one["promise"]: one["text"] for one in found if one["state"] == "FAULT"}
    assert code == 1 and words in faults[promise], faults


PAIR = "wanted a pair, h (T,B,H) and the final state (B,N*H); got"


@pytest.mark.parametrize(
    ("name", "promise", "words"),
    [
        ("NotNumbers", "finite", "h: wanted finite numbers, got NaN from step 2 on (400 of 480)"),
        ("NoNumberInIt", "finite", "h: wanted finite numbers, got NaN from step 0 on"),
        ("InPlace", "forward", "x: wanted it left as it is, got it changed in place"),
        ("ClampsInPlace", "forward", "x: wanted it left as it is, got it changed in place"),
        ("DropsInPlace", "forward", "x: wanted it left as it is, got it changed in place"),
        ("OnlyH", "forward", f"OnlyH.forward: {PAIR} a tensor of shape (12, 5, 8)"),
        ("Three", "forward", f"Three.forward: {PAIR} a tuple of 3"),
        ("HiddenName", "hyperparameters", "its hyperparameter lr has the name of a trainer's key"),
        ("CutOff", "gradients", "no gradient reaches any of its 2 parameters"),
    ],
)
def test_a_models_slip_is_one_fault_and_what_follows_from_it_is_none(capsys, name, promise, words):
    code, found = asked(capsys, "--models", f"{CARELESS}:{name}")
    ((where, text),) = ((one["promise"], one["text"]) for one in found if one["state"] == "FAULT")
    assert code == 1 and where == promise and words in text


@pytest.mark.parametrize(
    ("name", "engines_asked"), [(f"{CARELESS}:NoNumberInIt", False), (f"{BAD}:WithoutNumbers", True)]
)
def test_of_a_cell_without_numbers_engines_are_asked_where_the_plain_loop_has_some(capsys, name, engines_asked):
    _, found = asked(capsys, "--models", name)
    promises = [one["promise"] for one in found]
    after = promises.index("finite") + 1
    assert promises[after] == "what follows" and found[after]["state"] == "note"
    assert promises[after + 1 :] == ([p for p in promises if p.startswith("engine ")] if engines_asked else [])
    assert ("engine fused" in promises) == engines_asked


@pytest.mark.parametrize(
    ("name", "promise", "words"),
    [
        ("TotalScore", "loss and score", "score: wanted the metric of each example, (32,), got a tensor ()"),
        ("Percent", "loss and score", "score: wanted fractions for accuracy, got 0 to 100"),
        ("LossPerExample", "loss and score", "loss: wanted a scalar tensor"),
        ("SummedLoss", "loss and score", "loss: wanted the mean over the batch"),
        ("NumberAsLoss", "loss and score", "loss: wanted a scalar tensor, the mean over the batch, got float"),
        ("Detached", "loss and score", "loss: wanted one that depends on the outputs"),
        ("Tuples", "batches", "batches: wanted tasks.contract.Batch(x, y, lengths), got tuple"),
        ("NoValid", "description", "wanted at least one example of each of train, valid, test"),
        ("Few", "batches", "test: sizes says 41 examples, the batches have 40"),
        ("Misspelt", "it is built", "spec.metric: wanted 'accuracy' or another name, got 'Acuracy'"),
        ("UpsideDown", "it is built", "spec.higher_is_better: wanted True for accuracy, got False"),
        ("LargerError", "it is built", "spec.higher_is_better: wanted False for mse, got True"),
        ("Doubles", "batches", "wanted float32 (B,T,1)"),
        ("Restless", "repeatable", "asked twice with the same seed and epoch, the batches differ"),
        ("Restless", "random state", "it draws from a global generator"),
        ("Smoothed", "loss and score", "loss or score draws from a global generator"),
    ],
)
def test_a_tasks_slip_is_found(capsys, name, promise, words):
    code, found = asked(capsys, "--tasks", f"{BAD}:{name}")
    faults = {one["promise"]: one["text"] for one in found if one["state"] == "FAULT"}
    assert code == 1 and words in faults[promise], faults


@pytest.mark.parametrize(
    ("words", "promise", "said"),
    [(["--models", f"{BAD}:Reservoir"], "gradients", "nothing to train"),
     (["--models", f"{BAD}:Noisy"], "seeds side by side", "random numbers in training"),
     (["--tasks", f"{BAD}:Weighted"], "loss and score", "no plain mean over the batch"),
     (["--models", "docs.examples.gru:PlainGRU"], "gradient profile", "not filled")],
)  # fmt: skip
def test_what_is_allowed_and_worth_knowing_is_a_note(capsys, words, promise, said):
    code, found = asked(capsys, *words)
    (note,) = (one["text"] for one in found if one["promise"] == promise and one["state"] == "note")
    assert code == 0 and said in note


def test_a_model_is_asked_at_sizes_and_in_a_precision_that_it_takes(capsys):
    assert check.main(["--models", f"{BAD}:Sixteen"]) == 1
    assert "FAULT it is built         ValueError: hidden_size: wanted a multiple of 16" in capsys.readouterr().out
    code, found = asked(capsys, "--models", f"{BAD}:Sixteen", "--hidden-size", "16", "--precision", "float64")
    assert code == 0 and "H=16" in found[0]["text"]
    assert found[-1]["promise"] == "seeds side by side" and found[-1]["state"] == "ok"  # each with its own buffer


def test_it_is_told_in_lines_and_counted(capsys):
    assert check.main(["--models", MODEL, "--tasks", f"{BAD}:TotalScore"]) == 1
    out = capsys.readouterr().out
    assert f"model {MODEL}\n  ok    it is built" in out and "  FAULT loss and score" in out
    assert out.endswith("1 fault\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "wanted --models or --tasks"), (["--models", "lsmt"], "did you mean lstm"),
     (["--models", MODEL, "--set", "rate=1"], "wanted NAME.KEY=VALUE"),
     (["--models", MODEL, "--set", f"{MODEL}.rat=1"], "did you mean rate")],
)  # fmt: skip
def test_bad_words_get_one_line(capsys, words, said):
    assert check.main(words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


# ---- the same promises in a run


@pytest.mark.parametrize(
    ("model", "task", "words"),
    [
        (f"{BAD}:Wide", TASK, "FAILED: Wide.forward: h: wanted (T,B,H) = (6, 40, 128), got (6, 40, 129)"),
        (f"{CARELESS}:OnlyH", TASK, f"FAILED: OnlyH.forward: {PAIR} a tensor of shape (6, 40, 128)"),
        (f"{CARELESS}:Three", TASK, f"FAILED: Three.forward: {PAIR} a tuple of 3"),
        (f"{CARELESS}:InPlace", TASK, "FAILED: InPlace.forward: x: wanted it left as it is, got it changed in place"),
        (f"{CARELESS}:DropsInPlace", TASK, "FAILED: DropsInPlace.forward: x: wanted it left as it is"),
        (MODEL, f"{BAD}:TotalScore", "FAILED: score: wanted the metric of each example, (40,), got a tensor ()"),
        (MODEL, f"{BAD}:Percent", "FAILED: score: wanted fractions for accuracy, got"),
        (MODEL, f"{BAD}:LossPerExample", "FAILED: loss: wanted a scalar tensor, the mean over the batch"),
        (MODEL, f"{BAD}:NumberAsLoss", "FAILED: loss: wanted a scalar tensor, the mean over the batch, got float"),
        (MODEL, f"{BAD}:Detached", "FAILED: loss: wanted one that depends on the outputs"),
        (MODEL, f"{BAD}:Tuples", "FAILED: batches: wanted tasks.contract.Batch(x, y, lengths), got tuple"),
    ],
)
def test_a_slip_fails_a_run_in_one_line(tmp_path, capsys, model, task, words):
    names = ["--models", model, "--tasks", task, "--epochs", "1", "--executor", "inline", "--device", "cpu"]
    assert run.main([*names, "--results-dir", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err
    assert list(Store(tmp_path).paths()) == []


def test_a_hyperparameter_named_as_a_trainers_key_is_refused_as_the_models_own_slip(tmp_path, capsys):
    names = ["--models", f"{CARELESS}:HiddenName", "--tasks", "adding", "--results-dir", str(tmp_path)]
    for more in ([], ["--set", f"{CARELESS}:HiddenName.lr=0.1"]):
        assert run.main([*names, *more]) == 2
        err = capsys.readouterr().err
        assert f"model {CARELESS}:HiddenName: its hyperparameter lr has the name of a trainer's key" in err
        assert "recipe" not in err and err.count("\n") == 1


def test_what_is_no_pair_is_told_of_a_recording_too(monkeypatch):
    monkeypatch.setattr(engines, "unavailable", lambda name, device_type: None)
    monkeypatch.setattr(graph, "call", lambda key, body, tensors, **more: tuple(body(*tensors, profile=None)))
    with pytest.raises(ModelError, match=re.escape(f"OnlyH.forward: {PAIR} a tensor of shape (2, 5, 8)")):
        SequenceModel(OnlyH(3, 8, engine="graph"), 2)(torch.zeros(5, 2, 3))


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("NoValid", "wanted at least one example of valid, got 0"),
        ("Misspelt", "spec.metric: wanted 'accuracy' or another name, got 'Acuracy'"),
        ("UpsideDown", "spec.higher_is_better: wanted True for accuracy, got False"),
        ("LargerError", "spec.higher_is_better: wanted False for mse, got True"),
    ],
)
def test_a_slip_that_shows_before_training_is_refused(tmp_path, capsys, task, words):
    names = ["--models", MODEL, "--tasks", f"{BAD}:{task}", "--executor", "inline", "--results-dir", str(tmp_path)]
    assert run.main(names) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


def test_an_empty_split_behind_a_wrong_size_is_named(tmp_path, capsys, monkeypatch):
    original = Parity.batches
    monkeypatch.setattr(
        Parity, "batches", lambda self, split, *a: iter(()) if split == "test" else original(self, split, *a)
    )
    names = ["--models", MODEL, "--tasks", TASK, "--epochs", "1", "--executor", "inline"]
    assert run.main([*names, "--results-dir", str(tmp_path)]) == 1
    assert "FAILED: batches: wanted at least one example of test, got none" in capsys.readouterr().err


def test_a_cell_with_step_alone_is_estimated_and_trained(tmp_path, capsys):
    names = ["--models", f"{BAD}:Bare", "--tasks", TASK, "--epochs", "1", "--executor", "inline"]
    names += ["--results-dir", str(tmp_path)]
    assert run.main([*names, "--dry-run"]) == 0
    assert run.main(names) == 0


@pytest.mark.parametrize("together", [1, 2])
def test_a_recurrence_that_nothing_trains_fails_and_the_rest_goes_on(tmp_path, capsys, together):
    names = ["--models", f"{CARELESS}:CutOff,{BAD}:Reservoir", "--tasks", TASK, "--epochs", "1", "--executor", "inline"]
    assert run.main([*names, "--seeds", "0,1", "--seeds-per-run", str(together), "--results-dir", str(tmp_path)]) == 1
    assert "CutOff.forward: wanted h with gradients to its parameters, got none to any of 2" in capsys.readouterr().err
    assert len(list(Store(tmp_path).failure_paths())) == 2
    assert len(list(Store(tmp_path).paths())) == 2  # the reservoir's: it has nothing to train


def test_an_error_of_a_plugin_is_told_with_its_type_and_place(tmp_path, capsys):
    names = ["--models", "tests.plugins.broken:Raises", "--tasks", TASK, "--epochs", "1", "--executor", "inline"]
    assert run.main([*names, "--results-dir", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "FAILED: RuntimeError: no luck (broken.py:" in err


def test_a_run_that_diverges_says_where(tmp_path, capsys):
    names = ["--models", "tests.plugins.faults:NotFinite", "--tasks", TASK, "--epochs", "3", "--executor", "inline"]
    assert run.main([*names, "--results-dir", str(tmp_path)]) == 1
    assert "diverged in epoch 1, after 1 step: loss or gradient norm not finite" in capsys.readouterr().err


def test_a_failed_run_keeps_the_epochs_before_the_failure(tmp_path, capsys):
    names = ["--models", f"{BAD}:Tires", "--tasks", TASK, "--epochs", "3", "--executor", "inline", "--results-dir"]
    assert run.main([*names, str(tmp_path)]) == 1
    (path,) = Store(tmp_path).failure_paths()
    record = validate(json.loads(path.read_text()))
    assert [row["epoch"] for row in record["curve"]] == [1] and record["curve"][0]["valid"] is not None
    assert record["metrics"]["test"] is None and record["error"]["message"] == "tired"
    assert (
        report.main(["--results-dir", str(tmp_path), "--reports-dir", str(tmp_path / "pages")]) == 2
    )  # no other record
