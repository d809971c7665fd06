"""What the tests of the native engine share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.scan import native
from tests.oracles import gates

needs_compiler = pytest.mark.skipif(native.unavailable("cpu") is not None, reason="no C++ compiler")
ROOT = Path(__file__).resolve().parents[2]


def python(code: str, *arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def look(connection):
    """In a worker: whether it has OpenMP whole, after two threads of it have worked."""
    torch.set_num_threads(2)
    before = native._is_forked
    gates.run("native", gates.problem("cornn", 40, 8, 70))
    connection.send((before, len(list(Path("/proc/self/task").iterdir()))))
