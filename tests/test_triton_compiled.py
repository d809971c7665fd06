"""Every Triton kernel compiles for compute capability 9.0, without a GPU, and fits on the chip."""

from __future__ import annotations

import itertools
import os
import re

import pytest
import torch

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="TRITON_INTERPRET=1 leaves nothing to compile"
)

SPILLS = 1024  # bytes: a kernel whose registers do not fit at all spills tens of thousands

QUICK = [
    ("cornn", 128, "float32", 120), ("cornn", 128, "tf32", 1920), ("cornn", 256, "bf16", 120),
    ("lstm", 128, "float32", 120), ("lstm", 128, "bf16", 120), ("antisymmetric-gated", 130, "bf16", 1920),
    ("fastrnn", 128, "bf16", 120), ("exprnn", 128, "tf32", 1920), ("tanh", 1, "float32", 1),
    ("antisymmetric", 7, "tf32", 3),
]  # fmt: skip


FORWARD = [{"backward": False, "training": training} for training in (True, False)]
BACKWARD = [
    {"backward": True, "every_step": every_step, "profile": profile}
    for every_step, profile in ((True, True), (False, False), (False, True), (True, False))
]


def check(name, H, precision, rows, record_property, *, variants=(FORWARD[0], BACKWARD[0])):
    from models.scan.triton.plan import SHARED_LIMIT, SHARED_NEEDED
    from models.scan.triton.resources import cell_named, resources

    for variant in variants:
        found = resources(cell_named(name), hidden_size=H, precision=precision, rows=rows, **variant)
        record_property(str(variant), str(found))
        assert 0 < found.shared_bytes <= SHARED_NEEDED <= SHARED_LIMIT or (H < 64 and found.shared_bytes == 0)
        assert found.spill_bytes <= SPILLS, f"{found}: spills"
        assert 0 < found.registers <= 255


@pytest.mark.parametrize("name", ["cornn", "lstm"])
def test_evaluation_and_training_without_a_profile_fit_too(name, record_property):
    """What most launches of a run are."""
    check(name, 128, "float32", 120, record_property, variants=(FORWARD[1], BACKWARD[1]))


@pytest.mark.parametrize("point", QUICK, ids=str)
def test_fits_on_the_chip(point, record_property):
    check(*point, record_property)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_table_and_the_largest_sizes_fit(record_property):
    from models.scan.triton.plan import PRECISIONS, max_hidden
    from models.scan.triton.resources import CELLS, ROWS, SIZES, cell_named

    for name, precision, rows in itertools.product(CELLS, PRECISIONS, (*ROWS, 264, 528, 1056)):
        cell = cell_named(name)
        for H in (*SIZES, max_hidden(cell.recurrent, cell.products, precision)):
            check(name, H, precision, rows, record_property)
            if rows in ROWS:
                check(name, H, precision, rows, record_property, variants=(*FORWARD[1:], *BACKWARD[1:]))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_documented_table_has_these_figures(project):
    """docs/gpu.md line by line, where this is the Triton that it names."""
    import triton

    from models.scan.triton.resources import CELLS, ROWS, SIZES, table

    text = (project / "docs" / "gpu.md").read_text()
    if f"Compiled by Triton {triton.__version__} " not in text:
        pytest.skip(f"the table is of another Triton than {triton.__version__}")
    for line in table(tuple(CELLS), SIZES, ROWS):
        assert line in text.splitlines()


@pytest.mark.parametrize("point", [("cornn", 64, "tf32", 1920), ("lstm", 256, "bf16", 120)], ids=str)
@pytest.mark.parametrize("backward", [False, True])
def test_tensor_cores_sum_from_zero(point, backward):
    """Not from the pre-activation or the gradient that goes straight through, whose last bits they might cut off."""
    from models.scan.triton.resources import cell_named, compile_kernel

    name, H, precision, rows = point
    facts = {"hidden_size": H, "precision": precision, "rows": rows, "backward": backward}
    compiled, plan = compile_kernel(cell_named(name), **facts)
    text = compiled.asm["ttgir"]
    assert plan.dot and plan.stream is (name == "lstm")
    zeros = set(re.findall(r"(%\S+) = arith.constant dense<0.000000e\+00> : tensor<", text))
    starts = dict(re.findall(r"(%arg\d+) = (%\w+)[,)]", text))  # of values that a loop carries
    sums = set(re.findall(r"(%\S+) = tt.dot ", text))
    ins = re.findall(r"= tt.dot %\S+, %\S+, (%\w+)", text)
    assert ins and all(value in sums or starts.get(value, value) in zeros for value in ins), ins


def test_offsets_are_64_bit_and_fusion_is_stated():
    """Time strides go past 2^31 elements at large T, seeds and H: pointers move by 64-bit numbers."""
    from triton import compile as compile_source

    from models.scan.triton import resources
    from models.scan.triton.kernels import forward_kernel
    from models.scan.triton.launch import FP_FUSION, meta, plan_for

    facts = {"hidden_size": 128, "precision": "float32", "backward": False}
    plan = plan_for(resources.cell_named("cornn"), **facts, rows=120, multiprocessors=132)
    source = resources.source(forward_kernel, meta(resources.cell_named("cornn"), **facts, plan=plan, KEEP=True))
    options = {"num_warps": plan.warps, "num_stages": 1, "enable_fp_fusion": FP_FUSION}
    compiled = compile_source(source, target=resources.TARGET, options=options)
    assert compiled.metadata.enable_fp_fusion is FP_FUSION is True
    loop = compiled.asm["ttir"].split("scf.for", 1)[1]
    offsets = re.findall(r"tt\.addptr %\S+, %(\S+) : !tt\.ptr<f32>, (i\d+)", loop)
    moved = {kind for name, kind in offsets if not re.fullmatch(r"c\d+_i32", name)}  # a block's own place is a constant
    assert moved == {"i64"}


class NoGpu:
    """A driver that answers for compute capability 9.0 and launches nothing."""

    def get_current_target(self):
        from models.scan.triton.resources import TARGET

        return TARGET

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


@pytest.fixture
def compile_only(monkeypatch):
    """Launches compile and stop there; the kernels that were compiled."""
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    made, original = [], JITFunction.run

    def run(self, *arguments, grid, warmup, **options):
        made.append(original(self, *arguments, grid=grid, warmup=True, **options))

    monkeypatch.setattr(JITFunction, "run", run)
    monkeypatch.setattr(driver, "_active", NoGpu())  # set_active, and back without asking for a GPU
    return made


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is at hand: there the launches are real")
@pytest.mark.parametrize("name", ["cornn", "fastrnn"])
def test_the_launch_itself_compiles_once_for_all_lengths_and_batches(compile_only, name):
    """The way of a real launch, arguments and all; another T or B is the same kernel."""
    from models.scan.function import Needs
    from models.scan.triton import launch
    from models.scan.triton.resources import cell_named

    cell, H = cell_named(name), 16
    for T, B in ((5, 3), (16, 16), (1, 1)):
        x, s0 = torch.zeros(T, B, 2), torch.zeros(B, cell.states * H)
        V, b, W = torch.zeros(H, 2), torch.zeros(H), torch.zeros(H, cell.recurrent * H)
        p = torch.zeros(cell.params, H) if cell.params else None
        h, final, states, saved = launch.forward(cell, x, V, b, W, p, s0, keep=True, precision="tf32")
        launch.backward(
            cell, x, V, W, p, states, saved, h, final,
            needs=Needs(*(True,) * 6), has_bias=True, profile=torch.zeros(cell.states, T), precision="tf32",
        )  # fmt: skip
    assert len(compile_only) == 6 and len({kernel.hash for kernel in compile_only}) == 2
    assert all(kernel.metadata.enable_fp_fusion for kernel in compile_only)
