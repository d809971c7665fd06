"""The same cases as compiled kernels on a GPU."""

from __future__ import annotations

import pytest
import torch

from tests.test_triton_interpreted import run_cases

pytestmark = pytest.mark.gpu


def sharing() -> list[str]:
    """Processes that share the cases, most of whose time goes into compiling kernels; the largest takes some 9 GB."""
    return ["-n", str(max(1, min(8, torch.cuda.get_device_properties(0).total_memory // (12 * 10**9))))]


@pytest.mark.timeout(1800)
def test_gates_on_the_gpu(project):
    run_cases(project, *sharing(), interpret=False)


@pytest.mark.timeout(1800)
def test_planned_layouts_on_the_gpu(project):
    run_cases(project, *sharing(), interpret=False, cases="planned.py")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_long_sequences_on_the_gpu(project):
    run_cases(project, *sharing(), "-m", "slow", interpret=False)
