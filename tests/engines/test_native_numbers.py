"""The native engine's vectors: narrower instruction sets, tanh and sigmoid, and what the sanitizers say."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import subprocess
from pathlib import Path

import pytest
import torch

from models import MODELS
from models.scan.native import build as builder
from tests.engines.common import needs_compiler, python
from tests.oracles import gates


def _misses_on(architecture: str, names, folder: Path, monkeypatch) -> list[str]:
    @functools.cache
    def load(functor):
        return ctypes.CDLL(str(builder.library(functor, folder=folder, extra=(f"-march={architecture}",))))

    monkeypatch.setattr(builder, "load", load)
    shapes = [(1, 1, 1), (2, 3, 7), (17, 50, 64), (17, 3, 130)]
    return [miss for name in names for shape in shapes for miss in gates.end_to_end("native", name, *shape)]


on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="these are x86-64 instruction sets")
NARROWER = ["x86-64", "x86-64-v3"]  # 4 and 8 lanes: what the vectors of this processor's own width do not test


@needs_compiler
@on_x86
@pytest.mark.parametrize("architecture", NARROWER)
def test_narrower_vectors(architecture, tmp_path, monkeypatch):
    assert not _misses_on(architecture, ["cornn"], tmp_path, monkeypatch)


@needs_compiler
@on_x86
@pytest.mark.slow
@pytest.mark.parametrize("architecture", NARROWER)
def test_narrower_vectors_for_every_cell(architecture, tmp_path, monkeypatch):
    assert not _misses_on(architecture, MODELS, tmp_path, monkeypatch)


FUNCTIONS = """
#include "vector.hpp"
extern "C" void tanh_all(const float* x, float* y, long n) {
    for (long i = 0; i < n; i += VL) store(y + i, tanh_(load(x + i)));
}
extern "C" void sigmoid_all(const float* x, float* y, long n) {
    for (long i = 0; i < n; i += VL) store(y + i, sigmoid_(load(x + i)));
}
"""


@needs_compiler
def test_tanh_and_sigmoid_to_a_few_units_in_the_last_place(tmp_path):
    source, library = tmp_path / "functions.cpp", tmp_path / "functions.so"
    source.write_text(FUNCTIONS)
    command = [*builder.compiler(), *builder.FLAGS, f"-I{builder.HERE}", str(source), "-o", str(library)]
    subprocess.run(command, check=True, timeout=120)
    loaded = ctypes.CDLL(str(library))
    x = torch.cat(
        (torch.linspace(-20, 20, 1 << 18), torch.logspace(-30, 1.9, 1 << 16), -torch.logspace(-30, 1.9, 1 << 16))
    )
    special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 88.0, -88.0, 1e-45] * 4)
    for name, exact in (("tanh_all", torch.tanh), ("sigmoid_all", torch.sigmoid)):
        for values in (x, special):
            y = torch.empty_like(values)
            getattr(loaded, name)(
                ctypes.c_void_p(values.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_long(len(y))
            )
            want = exact(values.double())
            spacing = torch.nextafter(want.float().abs(), torch.tensor(float("inf"))) - want.float().abs()
            error = (y.double() - want).abs() / spacing.double()
            assert torch.equal(y.isnan(), want.isnan())
            # sigmoid's own values below 1e-37 are subnormal or clamped: absolute there
            big = want.abs() > 1e-37
            assert float(torch.where(big, error, 0).max()) < 4.0
            assert float(torch.where(big, 0, (y.double() - want).abs()).nan_to_num().max()) < 1e-37


SANITIZED = """
import functools, sys, torch
from pathlib import Path
from models import MODELS
from models.scan.native import build
flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g")
build.library = functools.partial(build.library, folder=Path(sys.argv[1]), extra=flags)
from models.scan import native
from tests.oracles import gates
torch.set_num_threads(2)
for name in MODELS:
    for T, B, H, I in ((1, 1, 1, 1), (2, 3, 7, 2), (17, 5, 33, 40), (9, 50, 130, 1)):
        with native.poisoned():
            gates.run("native", gates.problem(name, T, B, H, I))
            problem = gates.problem(name, T, B, H, I)
            with torch.no_grad():
                native.run(problem.cell, *problem.tensors.values())
print("clean")
"""


@needs_compiler
@pytest.mark.slow
def test_sanitizers_find_nothing(tmp_path):
    """Address and undefined behaviour, over every cell and odd shapes."""
    find = functools.partial(subprocess.run, capture_output=True, text=True, check=True, timeout=60)
    found = [find([*builder.compiler(), f"-print-file-name=lib{n}.so"]).stdout.strip() for n in ("asan", "ubsan")]
    if not all(Path(path).is_absolute() for path in found):
        pytest.skip("the compiler has no sanitizer libraries")
    env = {**os.environ, "LD_PRELOAD": " ".join(found), "ASAN_OPTIONS": "detect_leaks=0:detect_odr_violation=0"}
    done = python(SANITIZED, tmp_path, env=env)
    out, err = done.communicate(timeout=1500)
    assert done.returncode == 0 and out.strip() == "clean", err[-3000:]
