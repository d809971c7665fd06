"""What the kernels need on the chip: compiled for compute capability 9.0 without a GPU, figures from the assembler.

``python -m models.scan.triton.resources`` prints the table of docs/gpu.md; ``--quick`` a part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from models.scan.cell import Cell
from models.scan.triton.kernels import backward_kernel, forward_kernel
from models.scan.triton.launch import FP_FUSION, meta, plan_for
from models.scan.triton.plan import MULTIPROCESSORS, PRECISIONS, Plan

TARGET = GPUTarget("cuda", 90, 32)
CELLS: dict[str, tuple[str, tuple[float, ...]]] = {
    "cornn": ("models.cornn:CoRNNCell", (0.076, 0.4, 8.0)),
    "exprnn": ("models.exprnn:ExpCell", ()),
    "fastrnn": ("models.fastrnn:FastRNNCell", ()),
    "antisymmetric": ("models.antisymmetric:AntisymmetricCell", (0.1,)),
    "antisymmetric-gated": ("models.antisymmetric:GatedAntisymmetricCell", (0.1,)),
    "lstm": ("models.lstm:LSTMCell", ()),
    "tanh": ("models.tanh:TanhCell", ()),
}
SIZES = (64, 128, 256)
QUICK = ("cornn", "lstm", "antisymmetric-gated")
ROWS = (120, 1920)  # psMNIST's batch: one seed, sixteen


@dataclass(frozen=True)
class Resources:
    """One compiled kernel.

    Attributes:
        plan: its layout.
        shared_bytes: shared memory of a program.
        registers: of a thread.
        spill_bytes: stores and loads of registers that did not fit, per thread, in the whole kernel.
        stack_bytes: local memory of a thread.
    """

    plan: Plan
    shared_bytes: int
    registers: int
    spill_bytes: int
    stack_bytes: int


def cell_named(name: str) -> Cell:
    """An example cell of an architecture."""
    target, arguments = CELLS[name]
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)(*arguments)


def source(kernel: Any, constexprs: dict[str, Any]) -> ASTSource:
    """What the launch would compile: pointers aligned to 16 bytes, as torch's allocator gives them."""
    signature: dict[str, str] = {}
    for name in kernel.arg_names:
        if name in constexprs:
            signature[name] = "constexpr"
        elif name in ("T", "B"):
            signature[name] = "i32"
        elif re.fullmatch(r"c\d", name):
            signature[name] = "fp32"
        else:
            narrow = constexprs["PRECISION"] == "bf16" and constexprs["DOT"]
            kinds = {"matrix": "*bf16" if narrow else "*fp32", "squares": "*fp64"}
            signature[name] = kinds.get(name, "*fp32")
    aligned = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind.startswith("*")}
    return ASTSource(kernel, signature, constexprs, aligned)


def compile_kernel(
    cell: Cell, *, hidden_size: int, precision: str, rows: int, backward: bool, profile: bool = False,
    training: bool = True, every_step: bool = True,
) -> tuple[Any, Plan]:  # fmt: skip
    """Compile one kernel for ``TARGET``: Triton's compiled kernel and the layout.

    Args:
        cell: the time step.
        hidden_size: H.
        precision: one of ``PRECISIONS``.
        rows: batch rows of all seeds together.
        backward: the backward kernel, or the forward.
        profile: with the recording of gradient norms.
        training: forward: every state is kept for the backward, or only what an evaluation needs.
        every_step: backward: gradients reach h at every step, or the final state alone.
    """
    facts: dict[str, Any] = {"hidden_size": hidden_size, "precision": precision, "backward": backward}
    plan = plan_for(cell, **facts, rows=rows, multiprocessors=MULTIPROCESSORS)
    flags: dict[str, Any] = {"HAS_H": every_step, "PROFILE": profile} if backward else {"KEEP": training}
    kernel = backward_kernel if backward else forward_kernel
    options = {"num_warps": plan.warps, "num_stages": 1, "enable_fp_fusion": FP_FUSION}
    return triton.compile(source(kernel, meta(cell, **facts, plan=plan, **flags)), target=TARGET, options=options), plan


def resources(cell: Cell, **facts: Any) -> Resources:
    """Compile one kernel (``compile_kernel``), whatever is in Triton's cache, and read what its assembler reports."""
    said = io.StringIO()
    with knobs.compilation.scope(), knobs.nvidia.scope(), contextlib.redirect_stdout(said):
        knobs.compilation.always_compile = True
        knobs.nvidia.dump_ptxas_log = True
        compiled, plan = compile_kernel(cell, **facts)
    return Resources(plan, compiled.metadata.shared, *_report(said.getvalue()))


def _report(text: str) -> tuple[int, int, int]:
    numbers = {}
    for key, pattern in {
        "stack": r"(\d+) bytes stack frame", "stores": r"(\d+) bytes spill stores",
        "loads": r"(\d+) bytes spill loads", "registers": r"Used (\d+) registers",
    }.items():  # fmt: skip
        found = re.search(pattern, text)
        if found is None:
            raise RuntimeError(f"ptxas did not report {key}: {text.strip()!r}")
        numbers[key] = int(found.group(1))
    return numbers["registers"], numbers["stores"] + numbers["loads"], numbers["stack"]


COLUMNS = (
    "cell", "H", "precision", "rows in all", "way", "rows", "warps",
    "shared forward", "shared backward", "registers", "spills",
)  # fmt: skip


def table(names: tuple[str, ...], sizes: tuple[int, ...], rows: tuple[int, ...]) -> Iterator[str]:
    """The lines of the Markdown table, as they are compiled; registers and spilled bytes are forward / backward."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{' --- |' * len(COLUMNS)}"
    for name, H, precision, count in itertools.product(names, sizes, PRECISIONS, rows):
        facts: dict[str, Any] = {"hidden_size": H, "precision": precision, "rows": count}
        f, b = (resources(cell_named(name), **facts, backward=backward) for backward in (False, True))
        values = (
            name, H, precision, count, f.plan.way, f.plan.rows, f.plan.warps,
            f"{f.shared_bytes:,}", f"{b.shared_bytes:,}",
            f"{f.registers} / {b.registers}", f"{f.spill_bytes} / {b.spill_bytes}",
        )  # fmt: skip
        yield f"| {' | '.join(map(str, values))} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Resources of the Triton kernels on compute capability 9.0.")
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)} at H=128")
    quick = parser.parse_args().quick
    versions = f"Triton {triton.__version__}, assembler {get_ptxas(TARGET.arch).version}"
    print(f"{versions}, compute capability {TARGET.arch / 10}, {MULTIPROCESSORS} multiprocessors\n")
    for line in table(QUICK if quick else tuple(CELLS), (128,) if quick else SIZES, ROWS):
        print(line, flush=True)


if __name__ == "__main__":
    main()
