"""A function of tensors, forward and backward, recorded as CUDA graphs for one set of shapes."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

WARM_UP = 2  # plain passes before a recording: libraries set themselves up at first use, which cannot be recorded

Body = Callable[..., tuple[Tensor, ...]]
Given = tuple[bool, ...]  # whether each output has a gradient

# Streams that no live recording uses, by device. torch hands 32 out in turn, and forgetting a recording frees the
# workspace of its stream's products, which another recording on that stream would still write to (pytorch #193402).
_streams: defaultdict[torch.device, list[torch.cuda.Stream]] = defaultdict(list)


class Unrecorded(RuntimeError):
    """A recording that was under way broke off."""


class Recording:
    """Forward and backward of a function of tensors, recorded for one set of shapes.

    Args:
        body: ``body(*tensors, profile=...)``, a tuple of tensors.
        tensors: examples of its arguments, None where there is none.
        profile: an example of the buffer that its backward fills, or None.
    """

    def __init__(self, body: Body, tensors: Sequence[Tensor | None], profile: Tensor | None) -> None:
        self.body, self.generation = body, 0
        self.inputs = [None if t is None else _own(t) for t in tensors]
        self.wanted = [t for t in self.inputs if t is not None and t.requires_grad]
        self.profile = None if profile is None else torch.zeros_like(profile)
        self.live: tuple[Tensor, ...] = ()
        self.cotangents: list[Tensor] = []
        self.device = next(t for t in self.inputs if t is not None).device
        before = self.random_state()
        self.make()
        self.set_random_state(before)  # what recording draws belongs to no step

    def make(self) -> None:
        """Warm up and record."""
        self.warm_up()
        self.outputs, self.replay_forward = self.record(self.run_forward)
        self.backwards: dict[Given, tuple[tuple[Tensor | None, ...], Callable[[], None]]] = {}
        self.asked: Given = (True,) * len(self.outputs)
        if self.wanted:
            self.cotangents = [torch.zeros_like(o) for o in self.outputs]
            self.catch_up()

    def behind(self) -> bool:
        """Whether the last backward had gradients of other outputs than any that is recorded."""
        return bool(self.wanted) and any(self.asked) and self.asked not in self.backwards

    def catch_up(self) -> None:
        """Record the backward that was asked for last: where an output has no gradient it does less.

        Without memory for it, or where autograd refuses it (a tensor that the forward saved was changed since, a
        buffer of the module that new values were loaded into), that of all outputs goes on serving.
        """
        before = self.random_state()
        first = not self.backwards  # it was rehearsed with its forward
        try:
            if first or self.rehearse(partial(self.run_backward, self.asked)):
                self.backwards[self.asked] = self.record(partial(self.run_backward, self.asked))
        except torch.OutOfMemoryError:
            if first:
                raise
        self.backwards.setdefault(self.asked, self.backwards[(True,) * len(self.outputs)])
        self.set_random_state(before)

    def rehearse(self, work: Callable[[], Any]) -> bool:
        """A plain pass on the stream that records, as a recording asks for; False where autograd refuses it."""
        torch.cuda.synchronize()
        with torch.cuda.stream(self.stream):
            try:
                work()
            except RuntimeError as error:
                if "inplace" not in str(error):
                    raise
                return False
        torch.cuda.synchronize()
        return True

    def run_forward(self) -> tuple[Tensor, ...]:
        """The function on the static inputs."""
        with torch.set_grad_enabled(bool(self.wanted)):
            self.live = tuple(self.body(*self.inputs, profile=self.profile))
        return self.live

    def run_backward(self, given: Given) -> tuple[Tensor | None, ...]:
        """Gradients of the static inputs. What the forward saved stays, so that a backward may come twice."""
        outputs = [o for o, here in zip(self.live, given, strict=True) if here]
        cotangents = [c for c, here in zip(self.cotangents, given, strict=True) if here]
        return torch.autograd.grad(outputs, self.wanted, cotangents, retain_graph=True, allow_unused=True)

    def warm_up(self) -> None:
        """Passes on the stream that records, as a recording asks for."""
        torch.cuda.synchronize()
        free = _streams[self.device]  # torch's own stream for recordings is of the first device ever recorded on
        self.stream = free.pop() if free else torch.cuda.Stream()
        weakref.finalize(self, free.append, self.stream)
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UP):
                self.cotangents = [torch.zeros_like(o) for o in self.run_forward()]
                if self.wanted:
                    self.run_backward((True,) * len(self.live))
        torch.cuda.synchronize()
        self.live = ()
        self.pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """The tensors that the work makes, and a function that makes them again in place."""
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                made = work()
        except BaseException as error:
            torch.cuda.set_stream(current)  # a recording that cannot be ended leaves its own stream behind
            if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
                raise Unrecorded(str(error)) from error
            raise
        return made, graph.replay

    def random_state(self) -> Tensor:
        """Of the generator that a replay draws from."""
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.get_rng_state()

    def set_random_state(self, state: Tensor) -> None:
        """Put the generator back to ``state``."""
        torch.cuda.set_rng_state(state, self.device) if self.device.type == "cuda" else torch.set_rng_state(state)

    def forward(self, tensors: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """The outputs for these arguments: static tensors, good until the next call."""
        with torch.no_grad():
            for own, given in zip(self.inputs, tensors, strict=True):
                if own is not None and given is not None:
                    put(own, given)
        self.generation += 1
        self.replay_forward()
        return self.outputs

    def backward(self, cotangents: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """Gradients of the arguments of the last ``forward``, copies, None where not wanted.

        It may come in a thread of autograd, where nothing can be recorded: until ``catch_up`` it replays the backward
        of all outputs. So that this changes no result, what these outputs do not reach has zeros, as it has then.
        """
        self.asked = tuple(c is not None for c in cotangents)
        whole = self.backwards[(True,) * len(self.outputs)]
        recorded, replay = self.backwards.get(self.asked, whole)
        for own, given in zip(self.cotangents, cotangents, strict=True):
            own.zero_() if given is None else own.copy_(given)
        replay()
        found = iter(zip(recorded, whole[0], strict=True))
        grads = [next(found) if t is not None and t.requires_grad else (None, None) for t in self.inputs]
        return tuple(g.clone() if g is not None else None if w is None else torch.zeros_like(w) for g, w in grads)


def put(tensor: Tensor, value: Tensor) -> None:
    """Give a tensor the value as a replay would: autograd does not take what a recorded forward saved for outdated."""
    tensor.data.copy_(value)


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format).requires_grad_(tensor.requires_grad)
