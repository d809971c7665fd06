"""The `graph` engine's backward where an output has no gradient; with the stand-in for recordings of test_graph.py."""

from __future__ import annotations

import pytest
import torch

from models.cornn import CoRNNCell
from models.lstm import LSTMCell
from models.scan import graph, reference
from tests.test_graph import Again, arguments, equal, gradients, replayed


@pytest.fixture(autouse=True)
def fresh():
    graph.clear()
    yield
    graph.clear()


def test_a_backward_without_some_output_is_recorded_once_it_was_asked_for():
    """The first such backward replays that of all outputs; from the next forward on it has one of its own."""
    cell = CoRNNCell(0.2, 0.7, 1.3)
    (h, final), asked = (True, True), []

    class Counted(Again):
        made = rehearsed = 0

        def run_backward(self, given):
            asked.append(given)
            return super().run_backward(given)

    for seed, kept in ((0, slice(1, 2)), (1, slice(1, 2)), (2, slice(0, 2)), (3, slice(0, 1)), (4, slice(0, 1))):
        tensors = arguments(cell, seed)
        outputs, wanted = replayed(cell, tensors, recording=Counted), reference.run(cell, *tensors)
        equal(gradients(outputs[kept], tensors), gradients(wanted[kept], tensors))
    both, last, first = (h, final), (False, final), (h, False)
    assert asked == [both, both, last, last, last, both, both, first, first, first]
    assert (Counted.made, Counted.rehearsed) == (1, 2)


def test_what_an_output_does_not_reach_has_zeros_in_every_step():
    def body(x, g, *, profile):
        return x * g, x * 2

    x, g = (torch.ones(3).requires_grad_() for _ in range(2))
    for _ in range(3):
        x.grad = g.grad = None
        graph.call("two", body, (x, g), recording=Again)[1].sum().backward()
        assert torch.equal(g.grad, torch.zeros(3)) and torch.equal(x.grad, torch.full((3,), 2.0))


def test_without_memory_for_another_backward_that_of_all_outputs_serves():
    class Full(Again):
        made = rehearsed = 0

        def rehearse(self, work):
            super().rehearse(work)
            raise torch.OutOfMemoryError("CUDA out of memory")

    cell = LSTMCell()
    for seed in range(3):
        tensors = arguments(cell, seed)
        outputs, wanted = replayed(cell, tensors, recording=Full), reference.run(cell, *tensors)
        equal(gradients(outputs[1:], tensors), gradients(wanted[1:], tensors))
    assert (Full.made, Full.rehearsed) == (1, 1)


def test_only_what_is_wanted():
    cell = CoRNNCell(0.2, 0.7, 1.3)
    tensors = [t if t is None else t.detach() for t in arguments(cell)]
    tensors[3].requires_grad_()
    outputs, wanted = replayed(cell, tensors), reference.run(cell, *tensors)
    equal(gradients(outputs[:1], tensors), gradients(wanted[:1], tensors))  # no gradient comes in for `final`
