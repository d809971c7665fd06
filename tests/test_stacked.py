"""Several layers one upon the other: of every architecture, on every engine, through all that trains a model."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import torch

from models import MODELS, build
from models.classifier import SequenceModel
from models.scan import graph
from models.stacked import Stacked
from suite import check, run
from suite.plan import Request, expand
from suite.report.__main__ import main as report
from suite.work.building import build_model, build_task
from suite.work.estimates.sizes import Tasks, bare_model, likely_engine, products, stored_blocks
from suite.work.weights import load_trained
from tests.test_graph import Again

PLAIN = "tests.plugins.tiny:Leaky"
TASK = "tests.plugins.tiny:Parity"
NAMES = (*MODELS, PLAIN)


def planned(model, *sets, seeds=(0,), task=TASK):
    values = (("hidden_size", 6), ("batch_size", 16), ("num_layers", 3), *sets)
    request = Request(
        models=(model,), tasks=(task,), epochs=2, seeds=seeds, sets=tuple((None, key, value) for key, value in values)
    )
    return [one.run for one in expand(request)]


def stack(name, sizes, engine="auto", dtype=torch.float32):
    torch.manual_seed(0)
    layers = [build(name, input_size=i, hidden_size=h, engine=engine) for i, h in itertools.pairwise(sizes)]
    return Stacked(layers).to(dtype)


@pytest.mark.parametrize("name", tuple(MODELS))
@pytest.mark.parametrize(
    ("engine", "dtype", "close"),
    [("reference", torch.float64, 1e-12), ("fused", torch.float64, 1e-9), ("native", torch.float32, 2e-4)],
)
def test_each_layer_reads_the_one_below_and_gradients_are_the_definitions(name, engine, dtype, close):
    made, plain = (stack(name, (3, 5, 5), one, dtype) for one in (engine, "reference"))
    x = torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    h, final = made.run(x)
    below, end = plain.layers[0](x)
    wanted, top = plain.layers[1](below)
    assert torch.allclose(h, wanted, rtol=close, atol=close / 10)
    assert torch.allclose(final, torch.cat((top, end), 1), rtol=close, atol=close / 10)
    assert torch.equal(final[:, :5], h[-1])
    weight = torch.linspace(-1, 1, h.numel()).view_as(h).to(dtype)
    for one, states in ((made, h), (plain, wanted)):
        (states * weight).sum().backward()
        assert all(parameter.grad is not None for parameter in one.parameters())
    for (parameter, mine), other in zip(made.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine.grad, other.grad, rtol=close, atol=close), parameter


def test_it_is_torchs_lstm_of_several_layers():
    model = stack("lstm", (3, 5, 5), "reference", torch.float64)
    theirs = torch.nn.LSTM(3, 5, num_layers=2).double()
    for number, layer in enumerate(model.layers):
        V, b, W, _ = layer.weights()
        with torch.no_grad():
            for name, value in (("weight_ih", V), ("weight_hh", W), ("bias_ih", b)):
                getattr(theirs, f"{name}_l{number}").copy_(value)
            getattr(theirs, f"bias_hh_l{number}").zero_()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    h, final = model(x)
    wanted, (ends, cells) = theirs(x)
    assert torch.allclose(h, wanted, rtol=1e-10, atol=1e-12)
    assert torch.allclose(final, torch.cat((ends[1], cells[1], ends[0], cells[0]), 1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", ["reference", "fused", "native"])
def test_the_profile_has_every_layers_states_the_top_ones_first(engine):
    model = stack("lstm", (3, 5, 5), engine)
    profile = torch.full((4, 9), float("nan"))
    x = torch.randn(9, 4, 3)
    h, _ = model.run(x, profile=profile)
    h[-1].square().sum().backward()
    assert model.block_names == ("h of layer 2", "c of layer 2", "h of layer 1", "c of layer 1")
    assert profile.isfinite().all() and (profile > 0).sum() >= 4 * 9 - 2  # c's last gradient may come through h alone
    alone = torch.full((2, 9), float("nan"))
    below, _ = model.layers[0].run(x)
    top, _ = model.layers[1].run(below.detach(), profile=alone)
    top[-1].square().sum().backward()
    assert torch.allclose(profile[:2], alone, rtol=1e-4)


def test_precision_groups_and_diagnostics_are_the_layers():
    model = stack("exprnn", (3, 5, 5))
    model.precision = "tf32"
    assert [layer.precision for layer in model.layers] == ["tf32", "tf32"] and model.precision == "tf32"
    groups = model.parameter_groups(0.1)
    assert len(groups) == 2 * len(model.layers[0].parameter_groups(0.1))
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.parameters()}
    assert stack("cornn", (3, 5)).diagnostics().keys() == {
        f"{name} of layer 1" for name in build("cornn", input_size=3, hidden_size=5).diagnostics()
    }


@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_counts_every_layer(name):
    (deep,), task = planned(name), Tasks().get(TASK, {})
    (flat,) = planned(name, ("num_layers", 1))
    assert "num_layers" not in flat.recipe and flat.id != deep.id
    three, one = bare_model(deep, task), bare_model(flat, task)
    assert three.sizes()["parameters"] > 2 * one.sizes()["parameters"] - one.readout.weight.numel()
    assert likely_engine(three, "auto", "cpu") == likely_engine(one, "auto", "cpu")
    blocks = stored_blocks(one)
    assert stored_blocks(three) == (None if blocks is None else 3 * blocks)
    assert products(three) > 2.5 * products(one)


def test_one_layer_is_drawn_as_before():
    (flat,) = planned("cornn", ("num_layers", 1))
    task = build_task(flat, None)
    assert not isinstance(build_model(flat, task, engine="auto").recurrence, Stacked)
    (deep,) = planned("cornn")
    made = build_model(deep, task, engine="auto").recurrence
    assert isinstance(made, Stacked) and [layer.input_size for layer in made.layers] == [1, 6, 6]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Two seeds of every architecture and of a plug-in, side by side."""
    folder = tmp_path_factory.mktemp("stacked")
    words = ["--models", ",".join(NAMES), "--tasks", TASK, "--epochs", "2", "--seeds", "0,1", "--seeds-per-run", "2"]
    sets = ["--set", "num_layers=2", "--set", "hidden_size=6", "--set", "batch_size=16"]
    how = ["--executor", "inline", "--threads", "1", "--keep-weights", "--results-dir", str(folder)]
    assert run.main([*words, *sets, *how]) == 0
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_trains_them_side_by_side_as_one_by_one(name, trained, tmp_path):
    words = ["--models", name, "--tasks", TASK, "--epochs", "2", "--seeds", "1", "--results-dir", str(tmp_path)]
    sets = ["--set", "num_layers=2", "--set", "hidden_size=6", "--set", "batch_size=16"]
    assert run.main([*words, *sets, "--executor", "inline", "--threads", "1"]) == 0
    (path,) = (tmp_path / "records").rglob("*.json")
    alone = json.loads(path.read_text())
    together = json.loads((trained / path.relative_to(tmp_path)).read_text())
    assert together["where"]["seeds_together"] == 2 and together["run"]["recipe"]["num_layers"] == 2
    blocks = len(together["where"]["blocks"])
    assert all(len(profile["norms"]) == blocks for profile in together["profiles"])
    assert bool(together["profiles"]) is (name != PLAIN)
    for mine, other in zip(together["curve"], alone["curve"], strict=True):
        assert mine["train_loss"] == pytest.approx(other["train_loss"], rel=2e-3)


def test_figures_name_the_layers_of_blocks_and_diagnostics(trained, tmp_path):
    assert report(["--results-dir", str(trained), "--reports-dir", str(tmp_path)]) == 0
    figures = {path.name.split("-")[1]: path.read_text() for path in (tmp_path / "plots").glob("diagnostics-*")}
    assert "c of layer 1" in figures["lstm"] and "y of layer 2" in figures["cornn"]
    assert "of layer 2" in re.sub("[yz] of layer", "", figures["cornn"])  # its own diagnostics


def test_kept_weights_give_every_layer_back(trained):
    path = next((trained / "weights").rglob("cornn/**/seed0-*.pt"))
    model = load_trained(path)
    record = json.loads(Path(str(path).replace("weights", "records")).with_suffix(".json").read_text())
    assert isinstance(model.model, SequenceModel) and len(model.model.recurrence.layers) == 2
    assert model.score("test") == pytest.approx(record["metrics"]["test"], abs=1e-6)


@pytest.mark.parametrize(
    ("value", "words"), [("0", "num_layers: wanted >= 1, got 0"), ("1.5", "num_layers: wanted int, got 1.5")]
)
def test_a_number_of_layers_is_one_at_least(value, words, tmp_path, capsys):
    names = ["--models", "tanh", "--tasks", TASK, "--set", f"num_layers={value}", "--results-dir", str(tmp_path)]
    assert run.main(names) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deep:Cut", "Cut.forward: wanted h with gradients to its parameters and to x, for the layer below"),
        ("deep:FinalOnly", "FinalOnly.forward: wanted h with gradients to its parameters and to x, for the layer"),
        ("disobedient:Wide", "Wide.forward: h: wanted (T,B,H) = (6, 40, 6), got (6, 40, 7)"),
        ("careless:OnlyH", "OnlyH.forward: wanted a pair"),
    ],
)
def test_a_layer_that_breaks_its_promise_is_named(name, said, tmp_path, capsys):
    words = ["--models", f"tests.plugins.{name}", "--tasks", TASK, "--epochs", "1", "--results-dir", str(tmp_path)]
    sets = ["--set", "num_layers=2", "--set", "hidden_size=6", "--set", "batch_size=16"]
    assert run.main([*words, *sets, "--executor", "inline", "--threads", "1"]) == 1
    assert said in capsys.readouterr().err


def test_a_gradient_that_is_zero_at_first_is_one(tmp_path):
    words = ["--models", "tests.plugins.deep:Silent", "--tasks", TASK, "--epochs", "1", "--results-dir", str(tmp_path)]
    sets = ["--set", "num_layers=2", "--set", "hidden_size=6", "--set", "batch_size=16"]
    assert run.main([*words, *sets, "--executor", "inline", "--threads", "1"]) == 0


@pytest.mark.parametrize(("name", "said"), [("Cut", "no gradient reaches x"), ("FinalOnly", "only through the final")])
def test_a_check_finds_what_would_not_stack(name, said, capsys):
    assert check.main(["--models", f"tests.plugins.deep:{name}"]) == 1
    assert said in capsys.readouterr().out


def test_a_models_own_number_of_layers_is_its_own(tmp_path):
    name = "tests.plugins.deep:OwnLayers"
    (one,) = planned(name)
    assert one.recipe["num_layers"] == 3 and planned(name, ("num_layers", 2))[0].recipe["num_layers"] == 2
    made = build_model(one, build_task(one, None), engine="auto").recurrence
    assert not isinstance(made, Stacked) and made.inner.num_layers == 3
    words = ["--models", f"{name},tanh", "--tasks", TASK, "--epochs", "1", "--results-dir", str(tmp_path)]
    assert run.main([*words, "--set", "num_layers=2", "--executor", "inline", "--keep-weights"]) == 0
    (path,) = (tmp_path / "records").rglob("tests.plugins.deep*/**/*.json")
    assert run.main(["--replay", str(path), "--executor", "inline"]) == 0
    (path,) = (tmp_path / "weights").rglob("tests.plugins.deep*/**/*.pt")
    assert load_trained(path).model.recurrence.inner.num_layers == 2


def test_each_layer_keeps_recordings_of_its_own(monkeypatch):
    """Layers of one architecture have equal cells: one recording for both would be replayed twice a step."""
    monkeypatch.setattr("models.scan.engines.unavailable", lambda name, device: None)
    monkeypatch.setitem(graph.call.__kwdefaults__, "recording", Again)
    graph.clear()
    Again.made, shapes = 0, [(9, b, 3) for b in range(1, 6)]
    model, plain = stack("tanh", (3, 5, 5, 5), "graph"), stack("tanh", (3, 5, 5, 5), "reference")
    for epoch in range(2):
        for shape in shapes:
            x = torch.randn(shape, generator=torch.Generator().manual_seed(epoch))
            for one in (model, plain):
                one.zero_grad()
                one.run(x)[0].square().sum().backward()
            for mine, other in zip(model.parameters(), plain.parameters(), strict=True):
                assert torch.allclose(mine.grad, other.grad, rtol=1e-4, atol=1e-6)
    assert Again.made == 3 * len(shapes)
    graph.clear()
