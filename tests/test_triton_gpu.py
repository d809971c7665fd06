"""The same cases as compiled kernels on a GPU."""

from __future__ import annotations

import pytest

from tests.test_triton_interpreted import run_cases

pytestmark = pytest.mark.gpu


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
