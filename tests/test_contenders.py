"""What suite.speed times is compared first: engines, several seeds, and products with rounded operands."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models import MODELS
from models.scan.rounding import rounded
from suite.benchmark import contenders, judge, rounding
from suite.benchmark.contenders import LOOP, Contender, Step
from suite.benchmark.shapes import SHAPES, Shape

CPU = torch.device("cpu")
TINY = Shape("tiny", "psmnist", 6, 4, 2, 5, 3, "classes")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", MODELS)
def test_all_contenders_compute_the_same(model, shape):
    short = replace(SHAPES[shape], T=5, B=3, H=8)
    engines = [LOOP, "reference", "fused"] + (["torch"] if model in ("lstm", "tanh") else [])
    steps = {engine: Step(model, engine, short, CPU) for engine in engines}
    judge.check_equal(steps)
    losses = {engine: step() for engine, step in steps.items()}
    assert max(losses.values()) - min(losses.values()) < 1e-4 * max(losses.values())
    gradients = [
        {n.replace("recurrence.model.", "recurrence."): p.grad for n, p in step.model.named_parameters()}
        for step in steps.values()
    ]
    for other in gradients[1:]:
        for n, g in gradients[0].items():
            torch.testing.assert_close(other[n], g, rtol=1e-3, atol=1e-5)


def test_what_differs_is_not_timed():
    steps = {engine: Step("cornn", engine, TINY, CPU) for engine in (LOOP, "fused")}
    steps["fused"].model.recurrence.dt = 0.3
    with pytest.raises(judge.Unequal, match="they do not compute the same"):
        judge.check_equal(steps)


@pytest.mark.parametrize("damage", [lambda g: g.mul_(1.1), lambda g: g.fill_(float("nan"))])
def test_a_wrong_backward_is_not_timed(monkeypatch, damage):
    steps = {engine: Step("cornn", engine, TINY, CPU) for engine in (LOOP, "fused")}
    backward = Step.backward

    def damaged(self, loss):
        backward(self, loss)
        if self.engine == "fused":
            damage(self.model.recurrence.i2h.weight.grad)

    monkeypatch.setattr(Step, "backward", damaged)
    with pytest.raises(judge.Unequal, match=r"fused's gradient lies .* from that of loop"):
        judge.check_equal(steps)


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_seeds_side_by_side_are_compared_and_timed(model, seeds):
    """Each seed has weights and a batch of its own; at those of the one that is alone it has that one's gradients."""
    short = replace(SHAPES["imdb"], T=5, B=3, H=8)
    wanted = [Contender(LOOP), Contender("fused", seeds=seeds), Contender("reference", seeds=seeds)]
    steps = {one.name: one.step(model, short, CPU) for one in wanted}
    assert list(steps) == ["loop", *(["fused-x2", "reference-x2"] if seeds == 2 else ["fused", "reference"])]
    if seeds == 2:
        first, second = steps["fused-x2"].losses().tolist()
        assert abs(first - second) > 1e-6
    judge.check_equal(steps)
    if seeds == 2:
        before = {k: v.detach().clone() for k, v in steps["fused-x2"].stacked.items()}
        steps["fused-x2"]()
        assert any(not torch.equal(v[1], before[k][1]) for k, v in steps["fused-x2"].stacked.items())


@pytest.mark.parametrize("seed", [0, 2])
def test_a_wrong_gradient_of_any_seed_is_not_timed(seed, monkeypatch):
    steps = {one.name: one.step("cornn", TINY, CPU) for one in (Contender(LOOP), Contender("fused", seeds=3))}
    gradients = contenders.SideBySideStep.gradients

    def damaged(self):
        return [{k: (1.1 if s == seed else 1.0) * g for k, g in one.items()} for s, one in enumerate(gradients(self))]

    monkeypatch.setattr(contenders.SideBySideStep, "gradients", damaged)
    with pytest.raises(judge.Unequal, match=r"fused-x3's gradient lies"):
        judge.check_equal(steps)


@pytest.mark.parametrize("seed", [0, 2])
def test_a_wrong_loss_of_any_seed_is_not_timed(seed, monkeypatch):
    steps = {one.name: one.step("cornn", TINY, CPU) for one in (Contender(LOOP), Contender("fused", seeds=3))}
    losses = contenders.SideBySideStep.losses
    wrong = torch.tensor([7.0 if s == seed else 1.0 for s in range(3)])
    monkeypatch.setattr(contenders.SideBySideStep, "losses", lambda self: losses(self) * wrong)
    with pytest.raises(judge.Unequal, match=r"fused-x3 gives loss"):
        judge.check_equal(steps)


@pytest.mark.parametrize(("precision", "length"), [("float32", 20), ("tf32", 16), ("bf16", 16)])
def test_rounded_operands_are_compared_over_the_first_steps(precision, length):
    """No engine rounds on a CPU: a contender that says it does stands in, and what it was asked for is looked at."""
    long, asked = replace(TINY, T=20), []
    steps = {one.name: one.step("cornn", long, CPU) for one in (Contender(LOOP), Contender("fused"))}
    steps["fused"].precision = precision
    tried = Step.tried

    def watched(self, n):
        asked.append((self.engine, n))
        return tried(self, n)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "tried", watched)
        judge.check_equal(steps)
        assert ("fused", length) in asked and ("loop", length) in asked
        patch.setattr(steps["fused"].model.recurrence, "dt", 0.8)
        with pytest.raises(judge.Unequal):
            judge.check_equal(steps)


def test_rounding_changes_nothing_where_operands_have_few_bits_and_more_with_fewer_bits():
    exact = torch.randn(64).to(torch.bfloat16).float()
    assert torch.equal(rounded(exact, "bf16"), exact) and torch.equal(rounded(exact, "tf32"), exact)
    x = torch.randn(10_000)
    assert torch.equal(rounded(x, "bf16"), x.to(torch.bfloat16).float())
    error = (rounded(x, "tf32") / x - 1).abs().max()
    assert 2**-12 < error <= 2**-11
    short = replace(SHAPES["har2"], T=20, B=4)
    for model in MODELS:
        found = rounding.apart(model, short, 0)
        assert 0 < found["tf32"][1] < found["bf16"][1] < 0.5, model
        assert max(found["tf32"][0], found["bf16"][0]) < 0.05


def test_every_product_of_the_loops_is_rounded_and_the_read_out_is_not():
    """Products a time step, by the equations: the input's and the state's, which coRNN's weight takes as one."""
    for model in MODELS:
        step = Step(model, LOOP, replace(SHAPES["psmnist"], T=5, B=4, H=8), CPU)
        with rounding.Rounded("bf16", step.model.readout.weight) as mode:
            step.forward()
        assert mode.products == (5 if model == "cornn" else 10), model
