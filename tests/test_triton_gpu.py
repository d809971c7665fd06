"""The same cases as compiled kernels on a GPU, and CUDA graphs."""

from __future__ import annotations

import pytest
import torch

from tests.test_triton_interpreted import run_cases

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.timeout(1800)
def test_gates_on_the_gpu(project):
    run_cases(project, interpret=False)


@pytest.mark.timeout(1800)
def test_planned_layouts_on_the_gpu(project):
    run_cases(project, interpret=False, cases="planned.py")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_long_sequences_on_the_gpu(project):
    run_cases(project, "-m", "slow", interpret=False)
