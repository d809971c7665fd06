"""Every architecture of the table through the same contract, on the engines that any machine has."""

from __future__ import annotations

import inspect

import pytest
import torch

import models
from models import MODELS, build
from models.classifier import SequenceModel
from models.contract import ModelError, Recurrence
from models.scan.engines import EngineError
from suite.errors import UsageError
from suite.names import resolve

NAMES = sorted(MODELS)


def make(name, **options):
    torch.manual_seed(0)
    return build(name, input_size=3, hidden_size=6, **options)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_first_block_is_h(name):
    model = make(name)
    h, final = model(torch.randn(5, 4, 3))
    assert h.shape == (5, 4, 6)
    assert final.shape == (4, model.states * 6)
    assert torch.equal(final[:, :6], h[-1])
    assert len(model.block_names) == model.states


@pytest.mark.parametrize("name", NAMES)
def test_every_hyperparameter_has_a_default_and_the_class_names_its_source(name):
    plugin = resolve("model", name)
    assert all(p.default is not inspect.Parameter.empty for p in plugin.schema.values())
    assert plugin.cls.source and plugin.cls.version >= 1
    assert isinstance(make(name), Recurrence)


@pytest.mark.parametrize("name", NAMES)
def test_parameter_names_are_the_same_on_every_engine(name):
    keys = {tuple(make(name, engine=e).state_dict()) for e in ("auto", "reference", "fused")}
    assert len(keys) == 1


@pytest.mark.parametrize("name", NAMES)
def test_parameter_groups_cover_every_parameter_once(name):
    model = SequenceModel(make(name), 2)
    grouped = [p for group in model.parameter_groups(0.1) for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped}) == len(list(model.parameters()))


def test_exprnn_has_its_own_rate_for_the_skew_parameter():
    model = make("exprnn", skew_lr_ratio=0.25)
    rates = {id(p): group["lr"] for group in model.parameter_groups(0.4) for p in group["params"]}
    assert rates[id(model.skew)] == pytest.approx(0.1)
    assert rates[id(model.T)] == 0.4


@pytest.mark.parametrize("name", NAMES)
def test_diagnostics_are_finite_numbers(name):
    values = make(name).diagnostics()
    assert all(isinstance(v, float) and v == v for v in values.values())
    if name == "cornn":
        assert set(values) == {"w_norm_inf", "z_norm_inf", "eta", "eta_general", "dt_r"}


@pytest.mark.parametrize("name", NAMES)
def test_profile_is_filled_by_the_backward_pass(name):
    model = make(name, engine="fused")
    buffer = torch.full((model.states, 5), torch.nan)
    _, final = model(torch.randn(5, 4, 3), profile=buffer)
    assert torch.isnan(buffer).all()
    (final[:, :6] ** 2).sum().backward()
    assert torch.isfinite(buffer).all()
    expected = (2 * final[:, :6]).detach().norm()
    assert float(buffer[0, -1]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("cornn", "dt", 0.0), ("cornn", "gamma", -1.0), ("cornn", "epsilon", float("nan")), ("cornn", "damping", "x"),
        ("cornn", "layout", "x"), ("exprnn", "init", "x"), ("exprnn", "skew_lr_ratio", 0.0),
        ("antisymmetric", "epsilon", 0.0), ("antisymmetric-gated", "gamma", -0.1),
    ],
)  # fmt: skip
def test_values_out_of_range_are_named(name, option, value):
    with pytest.raises(ModelError, match=f"{option}: wanted"):
        make(name, **{option: value})


@pytest.mark.parametrize(("precision", "why"), [("tf32", "for a GPU, not for cpu"), ("bf16", "for the triton engine")])
def test_torchs_own_classes_round_nothing_on_a_cpu(precision, why):
    model = make("lstm", engine="torch")
    model.precision = precision
    with pytest.raises(EngineError, match=f"^engine torch: precision {precision} is {why}"):
        model.engine_for(torch.device("cpu"), torch.float32)


def test_sizes_out_of_range_and_unknown_engines_are_named():
    with pytest.raises(ModelError, match="hidden_size: wanted >= 1, got 0"):
        build("tanh", input_size=1, hidden_size=0)
    with pytest.raises(EngineError, match="unknown engine 'fusd'"):
        build("tanh", input_size=1, hidden_size=1, engine="fusd")
    with pytest.raises(EngineError, match="torch has no CoRNN"):
        make("cornn", engine="torch").engine_for(torch.device("cpu"), torch.float32)
    with pytest.raises(TypeError, match="fixes gated"):
        make("antisymmetric", gated=True)


@pytest.mark.parametrize("name", ["lstm", "tanh"])
def test_the_torch_engine_agrees_and_still_gives_profiles(name):
    x = torch.randn(9, 4, 3, dtype=torch.float64)
    ours, theirs = make(name, engine="fused").double(), make(name, engine="torch").double()
    theirs.load_state_dict(ours.state_dict())
    for a, b in zip(ours(x), theirs(x)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    buffer = torch.full((theirs.states, 9), torch.nan)
    theirs(x, profile=buffer)[1].sum().backward()
    assert torch.isfinite(buffer).all()
    assert theirs.engine == "torch"


@pytest.mark.parametrize(
    ("name", "sizes", "options", "wanted"),
    [
        ("cornn", (1, 128, 10), {}, 34_314), ("cornn", (1, 256, 10), {}, 134_154), ("cornn", (9, 64, 1), {}, 8_897),
        ("cornn", (96, 128, 10), {"layout": "separate"}, 46_474), ("cornn", (2, 128, 1), {}, 33_281),
        ("cornn", (100, 128, 1), {"layout": "joint"}, 45_825), ("lstm", (1, 128, 10), {}, 68_362),
        ("antisymmetric-gated", (1, 128, 10), {}, 9_930),
    ],
)  # fmt: skip
def test_parameter_counts_with_read_out(name, sizes, options, wanted):
    inputs, hidden, outputs = sizes
    model = SequenceModel(build(name, input_size=inputs, hidden_size=hidden, **options), outputs)
    assert model.sizes() == {"parameters": wanted, "embedding_parameters": 0}


def test_reading_out_the_last_valid_step_equals_shorter_sequences():
    model = SequenceModel(make("cornn"), 2)
    x = torch.randn(3, 8, 3)
    lengths = torch.tensor([8, 3, 5])
    together = model(x, lengths)
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[row], model(x[row : row + 1, :n])[0], rtol=1e-5, atol=1e-6)


def test_an_embedding_is_trained_and_counted_apart():
    table = torch.randn(11, 3)
    model = SequenceModel(make("tanh"), 1, embedding=table, padding_index=1)
    model(torch.tensor([[0, 1, 2], [1, 3, 1]])).sum().backward()
    gradient = model.embedding.weight.grad
    assert not gradient[1].any() and gradient[2].any() and gradient[3].any()
    assert torch.equal(model.embedding.weight[1], table[1])
    assert model.sizes()["embedding_parameters"] == 33


def test_building_leaves_the_table_alone_and_needs_no_torch_to_list():
    assert models.MODELS is MODELS and "cornn" in MODELS


def test_unknown_names_answer_with_the_near_ones():
    with pytest.raises(UsageError, match="unknown model 'cornnn': did you mean cornn"):
        resolve("model", "cornnn")
    with pytest.raises(UsageError, match="unknown task 'psmist': did you mean psmnist"):
        resolve("task", "psmist")
    with pytest.raises(UsageError, match="cannot be imported: ModuleNotFoundError"):
        resolve("model", "no.such:Thing")
    with pytest.raises(UsageError, match="wanted a subclass of"):
        resolve("model", "collections:OrderedDict")


@pytest.mark.parametrize("embedded", [False, True])
def test_a_trained_model_runs_in_inference_mode(embedded):
    """There torch counts no changes in place; what an embedding gives is of that kind always."""
    rows = torch.randn(7, 3) if embedded else None
    model = SequenceModel(build("tanh", input_size=3, hidden_size=4), 2, embedding=rows).eval()
    x = torch.randint(7, (2, 5)) if embedded else torch.randn(2, 5, 3)
    with torch.no_grad():
        wanted = model(x)
    with torch.inference_mode():
        assert torch.equal(model(x.clone()), wanted)
