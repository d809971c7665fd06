"""The `graph` engine on a GPU: real CUDA graphs against the plain loop."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from models.lstm import LSTMCell
from models.scan import graph, reference
from models.scan.engines import EngineError
from tests.test_graph import CELLS, Plain, arguments, equal, gradients

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def fresh():
    graph.clear()
    yield
    graph.clear()


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: type(c).__name__)
def test_cuda_graphs_are_the_plain_loop(cell):
    device = torch.device("cuda")
    for seed in range(3):
        tensors = arguments(cell, seed, T=17, B=5, H=33, device=device)
        profile, wanted_profile = (torch.zeros(cell.states, 17, device=device) for _ in range(2))
        outputs = graph.run(cell, *tensors, profile=profile)
        wanted = reference.run(cell, *tensors, profile=wanted_profile)
        equal(outputs, wanted, approximately=True)
        found = [gradients(outputs, tensors) for _ in range(2)]
        for grads in found:
            equal(grads, gradients(wanted, tensors), approximately=True)
        torch.testing.assert_close(profile, wanted_profile, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: type(c).__name__)
def test_a_backward_of_the_final_state_alone_is_recorded_at_the_second_step(cell):
    """As in training: the read-out asks for no gradient of h."""
    device = torch.device("cuda")
    for seed in range(4):
        tensors = arguments(cell, seed, T=17, B=5, H=33, device=device)
        outputs, wanted = graph.run(cell, *tensors), reference.run(cell, *tensors)
        equal(gradients(outputs[1:], tensors), gradients(wanted[1:], tensors), approximately=True)
    (recorded,) = graph._recordings.values()
    assert recorded.backwards[(False, True)] is not recorded.backwards[(True, True)]


def test_cuda_graphs_with_two_forwards_before_one_backward():
    cell, device = LSTMCell(), torch.device("cuda")
    first, second = (arguments(cell, s, T=17, B=5, H=33, device=device) for s in (0, 1))
    outputs = [graph.run(cell, *t) for t in (first, second)]
    for tensors, out in zip((first, second), outputs, strict=True):
        equal(gradients(out, tensors), gradients(reference.run(cell, *tensors), tensors), approximately=True)


def test_recordings_that_come_and_go_leave_an_older_one_right():
    """torch has 32 streams: the 33rd recording would share one, and its end would free what the first one writes to."""
    cell, device = LSTMCell(), torch.device("cuda")
    tensors = arguments(cell, T=9, B=64, H=64, device=device)
    wanted = reference.run(cell, *tensors)
    grads = gradients(wanted, tensors)
    for B in range(1, 41):
        graph.run(cell, *arguments(cell, B=B, device=device))
        torch.cuda.empty_cache()
        outputs = graph.run(cell, *tensors)
        equal(outputs, wanted, approximately=True)
        equal(gradients(outputs, tensors), grads, approximately=True)


def look_at_a_value():
    """Records what cannot be recorded; afterwards torch's allocator is not to be trusted in this process."""

    class Looking(Plain):
        def forward(self, x, *, profile=None):
            return super().forward(x * (1 if x.sum().item() > 0 else 2))

    before = torch.cuda.current_stream()
    with pytest.raises(EngineError, match="cannot be recorded"):
        graph.run_module(Looking().cuda(), torch.randn(3, 2, 3, device="cuda"))
    assert torch.cuda.current_stream() == before
    if not graph.broken:  # then the process is said to be sound
        torch.cuda.empty_cache()
        torch.rand(2, device="cuda")
        torch.cuda.synchronize()


def test_a_look_at_a_value_cannot_be_recorded(project):
    # _exit: torch before 2.13 may end the process when it tidies up after a recording that failed
    code = "import os; from tests.test_graph_gpu import look_at_a_value; look_at_a_value(); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
