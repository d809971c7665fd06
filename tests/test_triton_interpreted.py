"""The Triton kernels on the CPU: tests/triton_cases run in a process with TRITON_INTERPRET=1."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import numpy
import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def versions(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def interpreter_fails() -> str | None:
    """Why Triton's interpreter cannot run these cases here, or None."""
    import triton

    if versions(triton.__version__) < (3, 7) and versions(numpy.__version__) >= (2, 4):
        return f"the interpreter of Triton {triton.__version__} fails under numpy {numpy.__version__} (3.7 does not)"
    return None


def run_cases(project, *arguments: str, interpret: bool, cases: str = "interpreted.py") -> str:
    folder = project / "tests" / "triton_cases"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    # CUBLAS_WORKSPACE_CONFIG: torch's deterministic mode, which fills fresh memory with NaN, asks for it on a GPU
    environment |= {
        "OMP_NUM_THREADS": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONPATH": f"{folder}{os.pathsep}{project}",
    }
    if interpret:
        if reason := interpreter_fails():
            pytest.skip(reason)
        environment["TRITON_INTERPRET"] = "1"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(folder / cases),
        *arguments,
    ]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def test_gates_through_the_interpreter(project):
    out = run_cases(project, interpret=True)
    assert int(re.search(r"(\d+) passed", out).group(1)) > 100
    assert "skipped" not in out


def test_the_cases_of_the_planned_layouts_themselves(project):
    out = run_cases(project, interpret=True, cases="planned.py")
    assert int(re.search(r"(\d+) passed", out).group(1)) >= 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_long_sequences_through_the_interpreter(project):
    run_cases(project, "-m", "slow", interpret=True)
