"""The native engine's threads: shards of the batch, forks, subnormals; and its memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models import MODELS
from models.scan import native
from models.scan.cell import scan
from models.tanh import TanhCell
from suite.work.executors import forkserver
from tests.engines.common import look, needs_compiler, python
from tests.oracles import gates


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
