"""What a run must not take over from the process or machine it finds itself in."""

from __future__ import annotations

import pytest
import torch

from models.scan import graph, triton
from suite.benchmark.contenders import LOOP, Contender
from suite.benchmark.session import Wanted, measure
from suite.benchmark.shapes import SHAPES
from suite.work import provenance
from suite.work.training import peak
from suite.work.training.tf32 import allow_in_cudnn, cublas
from tests.test_graph import Again


@pytest.fixture
def rounding():
    """TF32 for float32 products, as some container images have it from the start."""
    before = cublas("tf32")
    yield
    cublas(before)


def test_a_measurement_multiplies_exactly_and_leaves_the_setting_as_it_was(rounding):
    cpu = torch.device("cpu")
    wanted = Wanted(((SHAPES["har2"].small(), "tanh"),), (Contender(LOOP),), (1,), cpu, seconds=0.01, least=1)
    rows = measure(wanted, lambda line: None)
    next(rows)
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    list(rows)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


@pytest.mark.parametrize("switch", [torch.backends, torch.backends.cudnn, torch.backends.cudnn.rnn])
def test_a_switch_of_imported_code_does_not_round_float32_in_cudnn(switch):
    """torch has four, from general to special; the old one, where they differ, cannot even be read."""
    exact, before = allow_in_cudnn(False), switch.fp32_precision
    try:
        switch.fp32_precision = "tf32"
        allow_in_cudnn(False)
        allow_in_cudnn(False)
        assert torch.backends.cudnn.rnn.fp32_precision == torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert allow_in_cudnn(True) is False and allow_in_cudnn(False) is True
    finally:
        switch.fp32_precision = before
        allow_in_cudnn(exact)


def test_recording_takes_no_random_numbers_and_changes_no_buffer():
    seen, x = torch.zeros(()), torch.ones(3, requires_grad=True)

    def body(given, *, profile):
        seen.add_(1)
        return (given * torch.rand(3),)

    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    (got,) = graph.call("draws", body, (x,), buffers=(seen,), recording=Again)
    assert torch.equal(got, wanted) and seen == 1  # the replay's own
    (other,) = graph.call("draws", body, (x,), buffers=(seen,), recording=Again)
    assert not torch.equal(other, wanted) and seen == 2
    graph.clear()


def test_memory_of_the_driver_that_ran_out_is_no_model_that_cannot_be_recorded():
    def body(given, *, profile):
        raise RuntimeError("CUDA error: out of memory")

    with pytest.raises(RuntimeError, match=r"^CUDA error: out of memory"):
        graph.call("full", body, (torch.ones(3),), recording=Again)


@pytest.mark.parametrize(
    "words,full",
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", False),
    ],
)
def test_memory_that_a_library_of_the_gpu_did_not_find(words, full):
    assert peak.ran_out(RuntimeError(words)) is full


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_triton_says_why_it_cannot_launch():
    pytest.importorskip("triton")
    reason = triton._cannot_launch()
    assert reason is not None and reason.startswith("Triton cannot start kernels here (") and "C compiler" in reason


def test_a_cudnn_that_does_not_fit_is_named_in_the_record(monkeypatch):
    def version():
        raise RuntimeError("cuDNN version incompatibility: compiled against (9, 1), found (8, 9)")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", version)
    assert provenance.libraries()["cudnn"].startswith("RuntimeError: cuDNN version incompatibility")
