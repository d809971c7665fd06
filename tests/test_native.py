"""The native engine's library: building, caching, refusing, threads, memory, sanitizers."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from models import MODELS
from models.scan import engines, native
from models.scan.cell import scan
from models.scan.native import build as builder
from models.tanh import TanhCell
from suite.work import forkserver
from tests.oracles import gates

needs_compiler = pytest.mark.skipif(native.unavailable("cpu") is not None, reason="no C++ compiler")
ROOT = Path(__file__).resolve().parent.parent
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


def python(code: str, *arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


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


@needs_compiler
@pytest.mark.parametrize("name", MODELS)
def test_threads_share_the_batch(name):
    """Two threads: the same up to rounding, and the same bit for bit each time."""
    problem = gates.problem(name, 40, 30, 70)
    one = gates.run("native", problem)
    torch.set_num_threads(2)
    two, again = gates.run("native", problem), gates.run("native", problem)
    for n in one:
        assert torch.equal(two[n], again[n]), n
        assert gates.error(two[n], one[n]) < 1e-5, n


@needs_compiler
@pytest.mark.parametrize("name", ["cornn", "lstm"])
def test_torchs_threads_and_threads_of_its_own_give_the_same(name, monkeypatch):
    if native._openmp() is None:
        pytest.skip("this torch has no OpenMP")
    torch.set_num_threads(2)
    problem = gates.problem(name, 40, 30, 70)
    torchs = gates.run("native", problem)
    monkeypatch.setattr(native, "_openmp", lambda: None)
    own = gates.run("native", problem)
    assert all(torch.equal(torchs[n], own[n]) for n in torchs)


FORKED = """
import os, sys, torch
from models.scan import native
from tests.oracles import gates
torch.set_num_threads(2)
problem = gates.problem("cornn", 40, 8, 70)
before = gates.run("native", problem)["h"]
pid = os.fork()
if not pid:
    h = torch.empty_like(before)
    with torch.no_grad():
        h.copy_(native.run(problem.cell, *problem.tensors.values())[0])
    os._exit(0 if torch.equal(h, before) else 1)
print(os.waitpid(pid, 0)[1])
"""


@needs_compiler
def test_a_forked_child_does_not_wait_for_threads_that_it_lacks():
    out, err = python(FORKED).communicate(timeout=100)
    assert out.strip() == "0", err


def look(connection):
    """In a worker: whether it has OpenMP whole, after two threads of it have worked."""
    torch.set_num_threads(2)
    before = native._is_forked
    gates.run("native", gates.problem("cornn", 40, 8, 70))
    connection.send((before, len(list(Path("/proc/self/task").iterdir()))))


@needs_compiler
def test_a_worker_of_the_runner_uses_torchs_threads():
    """Its fork server only imports, so nothing is lost by the fork."""
    context = forkserver.start()
    ours, theirs = context.Pipe()
    process = context.Process(target=look, args=(theirs,))
    process.start()
    assert ours.poll(60)
    forked, threads = ours.recv()
    process.join()
    assert forked is False and threads >= 2


@needs_compiler
@pytest.mark.parametrize(("name", "threads"), [("cornn", 1), ("lstm", 2), ("tanh", 1)])
def test_a_run_too_large_for_the_caches_is_that_of_its_halves(name, threads):
    """Large scans store past the caches; what belongs to an example must be the same bit for bit, as every row is."""
    torch.set_num_threads(threads)
    T, B, H = 420, 64, 64 if name != "tanh" else 192
    problem = gates.problem(name, T, B, H)
    assert T * B * H * (problem.cell.states + problem.cell.saved) > 4 << 20
    with native.poisoned():
        whole = gates.run("native", problem)
    for half in (slice(0, 32), slice(32, 64)):
        tensors = {**problem.tensors, "x": problem.tensors["x"][:, half], "s0": problem.tensors["s0"][half]}
        part = gates.Problem(problem.cell, tensors, problem.g_h[:, half], problem.g_final[half])
        got = gates.run("native", part)
        assert torch.equal(got["h"], whole["h"][:, half])
        assert torch.equal(got["final"], whole["final"][half])
        assert torch.equal(got["x"], whole["x"][:, half])
        assert torch.equal(got["s0"], whole["s0"][half])


@needs_compiler
def test_more_threads_than_examples():
    torch.set_num_threads(8)
    assert not gates.end_to_end("native", "lstm", 17, 3, 128)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
def test_subnormals_are_flushed_as_in_the_calling_thread(threads):
    """tanh(1e-39) is 1e-39, or 0 where the caller flushes subnormals; in every shard."""
    torch.set_num_threads(threads)
    T, B, H = 50, 16, 32
    zero = torch.zeros(B, H)
    for flush in (False, True):
        x = torch.full((T, B, H), 1e-39)
        torch.set_flush_denormal(flush)
        h, _ = scan(TanhCell(), x, None, None, torch.zeros(H, H), None, zero, engine="native")
        torch.set_flush_denormal(False)
        assert bool((h == (0.0 if flush else 1e-39)).all())


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


MEMORY = """
import torch
from models import MODELS, build
from models.scan import buffers
T, B, H = 400, 64, 128
def field(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024
x = torch.randn(T, B, 1)
for name in MODELS:
    m = build(name, input_size=1, hidden_size=H, engine="native")
    m(x[:2])[1].sum().backward()  # library, workspace and gradients are there
    cell = m.cell()
    buffers._idle.clear()
    open("/proc/self/clear_refs", "w").write("5")
    before = field("VmRSS")
    h, final = m(x)
    final.sum().backward()
    blocks = cell.states + cell.saved + 2 * cell.inputs + 1
    print(name, (field("VmHWM") - before) / (4 * T * B * H), blocks)
    del h, final
"""


@needs_compiler
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a step is read from Linux's /proc")
def test_memory_of_a_training_step():
    """At most 1.2 times (stored blocks + 2G + 1) * T * B * H floats."""
    done = python(MEMORY)
    out, err = done.communicate(timeout=200)
    assert done.returncode == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows] == list(MODELS)
    for name, used, blocks in rows:
        assert float(used) <= 1.2 * float(blocks), name


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
