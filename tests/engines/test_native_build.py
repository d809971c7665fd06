"""The native engine's library: building, caching, refusing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from models.scan import engines, native
from models.scan.native import build as builder
from models.tanh import TanhCell
from suite.run import main
from tests.engines.common import needs_compiler, python

TINY = """
struct Cell {
    static constexpr int STATES = 1, RECURRENT = 1, INPUTS = 1, PRODUCTS = 1, ADD = 1, PARAMS = 0, SAVED = 0;
    explicit Cell(const float*) {}
    INLINE void forward(vf* a, const vf*, vf* next, const vf*) const { next[0] = a[0]; }
    INLINE void backward(vf* g, const vf*, const vf*, const vf*, const vf*, vf* ga, vf*) const {
        ga[0] = g[0];
        g[0] = vf{};
    }
};
"""


@pytest.fixture
def fresh():
    """Builds and refusals are remembered for a process: forget them around a test."""
    caches = (builder.compiler, builder._compiler_version, builder.load, native._refusal, engines.unavailable)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def functor(tmp_path) -> Path:
    path = tmp_path / "tiny.hpp"
    path.write_text(TINY)
    return path


@needs_compiler
def test_a_library_is_built_once(tmp_path, functor):
    first = builder.library(functor, folder=tmp_path)
    stamp = first.stat().st_mtime_ns
    assert builder.library(functor, folder=tmp_path) == first
    assert first.stat().st_mtime_ns == stamp
    functor.write_text(TINY + "// changed\n")
    assert builder.library(functor, folder=tmp_path) != first


@needs_compiler
def test_the_name_depends_on_compiler_and_options(functor, monkeypatch):
    plain = builder.key(functor)
    assert builder.key(functor, ("-O1",)) != plain
    monkeypatch.setattr(builder, "_compiler_version", lambda: "another compiler")
    assert builder.key(functor) != plain
    monkeypatch.undo()
    monkeypatch.setattr(builder, "_processor", lambda: "another processor")
    assert builder.key(functor) != plain


BUILD = """
import sys
from pathlib import Path
from models.scan.native import build
print(build.library(Path(sys.argv[1]), folder=Path(sys.argv[2])))
"""


@needs_compiler
def test_several_processes_build_at_once(tmp_path, functor):
    started = [python(BUILD, functor, tmp_path / "cache") for _ in range(4)]
    paths = {process.communicate(timeout=200)[0].strip() for process in started}
    assert len(paths) == 1 and all(process.returncode == 0 for process in started)
    assert not list((tmp_path / "cache").glob(".building*"))


@needs_compiler
def test_an_interrupted_build_leaves_nothing_broken(tmp_path, functor):
    cache = tmp_path / "cache"
    process = python(BUILD, functor, cache, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(cache.glob(".building*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list(cache.glob("tiny*.so"))
    assert builder.library(functor, folder=cache).is_file()
    assert not list(cache.glob(".building*"))


def test_without_a_compiler_auto_takes_fused_and_native_fails_clearly(monkeypatch, fresh):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    facts = {"device": torch.device("cpu"), "dtype": torch.float32, "hidden_size": 4}
    assert engines.choose("auto", TanhCell(), **facts) == "fused"
    with pytest.raises(engines.EngineError, match=r"engine native: no C\+\+ compiler found \(wanted CXX=/no/such"):
        engines.choose("native", TanhCell(), **facts)


def test_a_grid_says_once_that_native_is_passed_over_and_why(monkeypatch, fresh, tmp_path, capsys):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    names = ["--models", "tanh,lstm", "--tasks", "tests.plugins.tiny:Parity", "--seeds", "0,1"]
    how = ["--executor", "inline", "--threads", "1", "--results-dir", str(tmp_path)]
    said = "engine native cannot run here, fused is used: no C++ compiler found"
    for more, count in ((["--epochs", "1"], 1), (["--epochs", "1"], 0), (["--epochs", "2", "--engine", "fused"], 0)):
        assert main([*names, *how, *more]) == 0  # the second time all is there
        assert capsys.readouterr().err.count(said) == count


def test_a_broken_compiler_is_a_reason(monkeypatch, fresh):
    monkeypatch.setenv("CXX", "false")
    facts = {"device": torch.device("cpu"), "dtype": torch.float32, "hidden_size": 4}
    assert engines.choose("auto", TanhCell(), **facts) == "fused"
    assert "--version fails" in engines.why_not("native", TanhCell(), **facts)


@needs_compiler
def test_sources_that_do_not_compile_are_a_reason(tmp_path, functor):
    functor.write_text(TINY.replace("next[0] = a[0]", "next[0] = nonsense"))
    with pytest.raises(builder.BuildError, match=r"cannot compile tiny.hpp: .*nonsense"):
        builder.library(functor, folder=tmp_path)
    assert not list(tmp_path.glob(".building*")) and not list(tmp_path.glob("*.so"))
    with pytest.raises(builder.BuildError, match="no functor at"):
        builder.library("no-such-cell", folder=tmp_path)


@needs_compiler
def test_a_cache_that_cannot_be_written_is_a_reason(tmp_path, functor):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(builder.BuildError, match="cannot be written to"):
        builder.library(functor, folder=tmp_path / "file" / "cache")


@needs_compiler
def test_a_functor_must_agree_with_its_cell(functor, fresh, monkeypatch, tmp_path):
    monkeypatch.setattr(builder, "cache_dir", lambda: tmp_path)
    facts = {"device": torch.device("cpu"), "dtype": torch.float32, "hidden_size": 4, "precision": "float32"}

    class Other(TanhCell):
        pass

    cell = Other(saved=1)
    monkeypatch.setattr(Other, "functor", str(functor))
    assert (
        native.why_not(cell, **facts)
        == f"functor {functor} has blocks (1, 1, 1, 1, 1, 0, 0), its cell (1, 1, 1, 1, 1, 0, 1)"
    )
    monkeypatch.setattr(Other, "functor", None)
    assert native.why_not(cell, **facts) == "Other has no functor"


def test_what_it_refuses():
    facts = {"device": torch.device("cpu"), "dtype": torch.float32, "hidden_size": 4, "precision": "float32"}
    assert native.why_not(TanhCell(), **{**facts, "dtype": torch.bfloat16}) == "it computes in float32, not in bfloat16"
    assert native.why_not(TanhCell(), **{**facts, "precision": "bf16"}) == "it has no precision bf16"
    assert native.unavailable("cuda") == "it runs on cpu, not on cuda"
