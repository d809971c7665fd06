"""The `graph` engine: the plain loop over time, recorded once as CUDA graphs and replayed.

On a GPU the plain loop is bound by the launches of its small kernels; a replay launches them all at once. It takes any
cell with ``step``, and by ``run_module`` any recurrence at all whose ``forward`` is torch code on the GPU that looks at
no value (no ``.item()``). A recording belongs to the shapes it was made with, costs a few plain passes, and keeps the
memory of one forward and backward: sequences of ever new lengths are not for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.scan import reference
from models.scan.cell import Cell
from models.scan.engines import EngineError
from models.scan.recording import Body, Recording, Unrecorded, put

KEPT = 8  # recordings of a layer; training, evaluation and their last, smaller batches take four

Made = TypeVar("Made")


def unavailable(device_type: str) -> str | None:
    """Why this machine cannot run the engine at all, or None."""
    if device_type != "cuda":
        return f"CUDA graphs need a GPU, and this is {device_type}"
    return None if torch.cuda.is_available() else "no GPU: torch sees no CUDA device or driver"


def why_not(cell: Any, *, device: torch.device, dtype: torch.dtype, hidden_size: int, precision: str) -> str | None:
    """Why the engine cannot run this cell here, or None."""
    if type(cell).__eq__ is object.__eq__ or type(cell).__hash__ is None:
        return f"{type(cell).__name__} is told apart by identity: a frozen dataclass lets a recording be found again"
    return None


class _Replay(torch.autograd.Function):
    """A recording under autograd.

    A backward that comes after another forward replays its own forward first, with the random numbers that it had.
    """

    @staticmethod
    def forward(ctx: Any, recording: Recording, profile: Tensor | None, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.random = recording.random_state()
        outputs = recording.forward(tensors)
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.recording, ctx.profile, ctx.generation = recording, profile, recording.generation
        return tuple(o.detach().clone() for o in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        recording = ctx.recording
        if recording.generation != ctx.generation:
            now = recording.random_state()
            recording.set_random_state(ctx.random)
            recording.forward(ctx.saved_tensors)
            recording.set_random_state(now)
            ctx.generation = recording.generation
        grads = recording.backward(cotangents)
        if ctx.profile is not None:
            ctx.profile.copy_(recording.profile)
        return (None, None, *grads)


_recordings: OrderedDict[tuple[Hashable, ...], Recording] = OrderedDict()
_layer = 0
# Whose recording failed: before torch 2.13 the allocator may count it as under way from then on (pytorch #180395).
broken = ""


@contextmanager
def layer(number: int) -> Iterator[None]:
    """Recordings made and used within are those of this layer of a stack, whose layers may have equal cells."""
    global _layer
    before, _layer = _layer, number
    try:
        yield
    finally:
        _layer = before


def clear() -> None:
    """Forget all recordings and free their memory."""
    _recordings.clear()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch._C._cuda_clearCublasWorkspaces()  # type: ignore[attr-defined]


def _facts(tensor: Tensor | None, tracked: bool) -> Hashable:
    return (
        None if tensor is None else (tuple(tensor.shape), tensor.dtype, tensor.device, tracked and tensor.requires_grad)
    )


def call(
    key: Hashable, body: Body, tensors: Sequence[Tensor | None], *, profile: Tensor | None = None,
    buffers: Iterable[Tensor] = (), recording: type[Recording] = Recording,
) -> tuple[Tensor, ...]:  # fmt: skip
    """``body(*tensors, profile=profile)`` by the recording of this key and these shapes, made where there is none.

    Args:
        key: what tells the body from others.
        body: returns a tuple of tensors; all its tensors come in as arguments.
        tensors: all of one device.
        profile: buffer that the backward fills, or None.
        buffers: what the body changes in place: recording it is no step, and leaves them as they are.
        recording: what records.

    Raises:
        EngineError: inside vmap or autocast, or what the body does cannot be recorded.
    """
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise EngineError("engine graph: it cannot run under vmap; run the seeds one by one")
    if any(torch.is_autocast_enabled(d) for d in ("cuda", "cpu")):
        raise EngineError("engine graph: it cannot run under autocast; leave autocast off")
    tracked = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    profile = profile if tracked else None
    full = (key, _layer, *(_facts(t, tracked) for t in tensors), _facts(profile, False))
    with torch.cuda.device_of(next(t for t in tensors if t is not None)):
        if full not in _recordings:
            examples = [t if t is None or tracked else t.detach() for t in tensors]
            held = [(buffer, buffer.clone()) for buffer in buffers]
            _recordings[full] = _recording(partial(recording, body, examples, profile), tensors, key)
            for buffer, before in held:
                put(buffer, before)
            for old in [known for known in _recordings if known[:2] == full[:2]][:-KEPT]:
                del _recordings[old]
        _recordings.move_to_end(full)
        if tracked and _recordings[full].behind():
            _recording(_recordings[full].catch_up, tensors, key)
        if tracked:
            return _Replay.apply(_recordings[full], profile, *tensors)
        return tuple(o.clone() for o in _recordings[full].forward(tensors))


def _named(key: Hashable) -> str:
    """The class of the cell or module that a key of a recording holds."""
    return type(key[1]).__name__ if isinstance(key, tuple) and len(key) > 1 else str(key)


def _recording(work: Callable[[], Made], tensors: Sequence[Tensor | None], key: Hashable) -> Made:
    """What ``work`` records; where the recording breaks off for another reason than memory, an EngineError."""
    try:
        return work()
    except Unrecorded as error:
        if "out of memory" in str(error):  # of the driver: not torch's own class
            raise
        global broken
        if torch.__version__ < "2.13" and any(t is not None and t.is_cuda for t in tensors):
            broken = broken or _named(key)
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(f"engine graph: this model cannot be recorded as a CUDA graph: {line}") from error


def run(
    cell: Cell, x: Tensor, V: Tensor | None, b: Tensor | None, W: Tensor | None, p: Tensor | None, s0: Tensor,
    *, profile: Tensor | None = None, precision: str = "float32",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Loop a cell over time; arguments as in ``models.scan.cell.scan``."""

    def loop(*tensors: Any, profile: Tensor | None) -> tuple[Tensor, ...]:
        return reference.run(cell, *tensors, profile=profile)

    h, final = call(("scan", cell), loop, (x, V, b, W, p, s0), profile=profile)
    return h, final


def run_module(
    module: nn.Module, x: Tensor, *, profile: Tensor | None = None, check: Callable[[Any], object] = lambda found: None
) -> tuple[Tensor, ...]:
    """``module(x, profile=profile)`` by a recording, for a recurrence that defines no cell.

    Args:
        module: returns a tuple of tensors; its buffers are read where they are, and must stay there.
        x: (T,B,I).
        profile: buffer that the backward fills, or None.
        check: raises where what the module returned is wrong.
    """
    names, values = zip(*module.named_parameters(), strict=True) if list(module.parameters()) else ((), ())

    def forward(given: Tensor, *parameters: Tensor, profile: Tensor | None) -> tuple[Tensor, ...]:
        named = dict(zip(names, parameters, strict=True))
        found = torch.func.functional_call(module, named, (given,), {"profile": profile})
        check(found)
        return tuple(found)

    return call(("module", module, module.training), forward, (x, *values), profile=profile, buffers=module.buffers())
