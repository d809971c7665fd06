"""The `graph` engine: its bookkeeping, with a recording that runs the work again; real ones: test_graph_gpu.py."""

from __future__ import annotations

import contextlib
from collections import defaultdict

import pytest
import torch
from torch import nn

from models.antisymmetric import GatedAntisymmetricCell
from models.classifier import SequenceModel
from models.contract import Recurrence
from models.cornn import CoRNNCell
from models.fastrnn import FastRNNCell
from models.lstm import LSTMCell
from models.scan import engines, graph, recording, reference
from models.scan.engines import EngineError
from models.tanh import TanhCell

CPU = torch.device("cpu")
CELLS = [TanhCell(), CoRNNCell(0.2, 0.7, 1.3), LSTMCell(), FastRNNCell(), GatedAntisymmetricCell(0.3)]


class Again(recording.Recording):
    """What a CUDA graph does, by doing the work again: into the tensors that it made first.

    A replay makes no autograd graph: a backward recorded later goes over the one of the recorded pass (``live``).
    """

    made = rehearsed = 0
    replayed = ()

    def warm_up(self):
        type(self).made += 1

    def rehearse(self, work):
        type(self).rehearsed += 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.cuda, "synchronize", lambda: None)
            patch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
            self.stream = None
            return super().rehearse(work)

    def record(self, work):
        first = work()
        static = tuple(None if t is None else t.detach().clone() for t in first)

        def replay():
            recorded, self.live = self.live, self.replayed
            with torch.enable_grad():
                again = work()
            self.live, self.replayed = recorded, self.live
            for own, new in zip(static, again, strict=True):
                if own is not None:
                    own.copy_(new.detach())

        return static, replay


@pytest.fixture(autouse=True)
def fresh():
    graph.clear()
    Again.made = Again.rehearsed = 0
    yield
    graph.clear()


def arguments(cell, seed=0, T=4, B=3, H=5, I=2, device=CPU):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    G, M, R, N = cell.inputs, cell.products, cell.recurrent, cell.states
    tensors = [draw(T, B, I), draw(G * H, I), draw(G * H), draw(M * H, R * H) * 0.3,
               torch.rand(cell.params, H, generator=generator) if cell.params else None, draw(B, N * H)]  # fmt: skip
    return [None if t is None else t.to(device).requires_grad_() for t in tensors]


def replayed(cell, tensors, profile=None, recording=Again):
    def loop(*given, profile):
        return reference.run(cell, *given, profile=profile)

    return graph.call(("scan", cell), loop, tensors, profile=profile, recording=recording)


def gradients(outputs, tensors, seed=1):
    generator = torch.Generator().manual_seed(seed)
    loss = sum((o * torch.randn(o.shape, generator=generator).to(o.device)).sum() for o in outputs)
    loss.backward(retain_graph=True)
    found = [None if t is None else t.grad for t in tensors]
    for t in tensors:
        if t is not None:
            t.grad = None
    return found


def equal(left, right, approximately=False):
    for a, b in zip(left, right, strict=True):
        if a is None:
            assert b is None
        elif approximately:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(a, b)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: type(c).__name__)
def test_replays_are_the_plain_loop(cell):
    for seed in range(3):
        tensors = arguments(cell, seed)
        profile, wanted_profile = torch.full((cell.states, 4), 9.0), torch.zeros(cell.states, 4)
        outputs = replayed(cell, tensors, profile)
        wanted = reference.run(cell, *tensors, profile=wanted_profile)
        equal(outputs, wanted)
        equal(gradients(outputs, tensors), gradients(wanted, tensors))
        assert torch.equal(profile, wanted_profile)
    assert Again.made == 1, "one recording serves all calls with these shapes"


def test_two_forwards_before_one_backward_and_backward_twice():
    cell = LSTMCell()
    first, second = arguments(cell, 0), arguments(cell, 1)
    outputs = [replayed(cell, t) for t in (first, second)]
    kept = [o.clone() for o in outputs[0]]
    wanted = [gradients(reference.run(cell, *t), t) for t in (first, second)]
    for k in (0, 1, 0, 0, 1):
        equal(gradients(outputs[k], (first, second)[k]), wanted[k])
    equal(outputs[0], kept)
    assert Again.made == 1


def test_without_gradients_nothing_is_tracked():
    cell = TanhCell()
    tensors = arguments(cell)
    with torch.no_grad():
        one, two = replayed(cell, tensors), replayed(cell, arguments(cell, 1))
    assert not one[0].requires_grad
    equal(one, [t.detach() for t in reference.run(cell, *tensors)])
    assert not torch.equal(one[0], two[0]), "an output is not overwritten by the next call"
    assert Again.made == 1


def test_recordings_belong_to_shapes_and_the_oldest_goes():
    cell = TanhCell()
    for B in range(1, graph.KEPT + 2):
        replayed(cell, arguments(cell, B=B))
    assert Again.made == graph.KEPT + 1 and len(graph._recordings) == graph.KEPT
    replayed(cell, arguments(cell, B=graph.KEPT + 1))
    assert Again.made == graph.KEPT + 1
    replayed(cell, arguments(cell, B=1))
    assert Again.made == graph.KEPT + 2


class OfStreams(Again):
    """With the stream of its own that a recording on a GPU has; nothing holds on to it, and nothing is replayed."""

    warm_up = recording.Recording.warm_up

    def record(self, work):
        return work(), lambda: None


def test_live_recordings_have_streams_of_their_own_and_few_are_made(monkeypatch):
    made = []

    class Stream:
        def __init__(self):
            made.append(self)

    for name, value in (("Stream", Stream), ("synchronize", lambda: None), ("graph_pool_handle", lambda: None),
                        ("stream", lambda _: contextlib.nullcontext())):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(recording, "_streams", defaultdict(list))
    first = arguments(TanhCell(), B=1)
    for B in range(2, 3 * graph.KEPT):
        replayed(TanhCell(), first, recording=OfStreams)  # used again and again, so that it stays
        replayed(TanhCell(), arguments(TanhCell(), B=B), recording=OfStreams)
        assert len({recording.stream for recording in graph._recordings.values()}) == len(graph._recordings)
    assert len(made) == graph.KEPT + 1, "one for each that is kept, one for the one being made"


def test_a_changed_argument_is_noticed_before_a_late_backward():
    cell = TanhCell()
    tensors = arguments(cell)
    outputs = replayed(cell, tensors)
    replayed(cell, arguments(cell, 1))
    with torch.no_grad():
        tensors[3].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients(outputs, tensors)


class Plain(nn.Module):
    """A recurrence that defines no cell."""

    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(torch.eye(3) * 0.5)

    def forward(self, x, *, profile=None):
        state = x.new_zeros(x.shape[1], 3)
        out = []
        for step in x.unbind(0):
            state = torch.sin(state @ self.W + step)
            out.append(state)
        return torch.stack(out), state


def test_a_module_without_a_cell(monkeypatch):
    monkeypatch.setattr(graph.call, "__kwdefaults__", {**graph.call.__kwdefaults__, "recording": Again})
    module, x = Plain(), torch.randn(4, 2, 3)
    for _ in range(2):
        outputs, wanted = graph.run_module(module, x), module(x)
        equal(outputs, wanted)
        equal(gradients(outputs, [module.W]), gradients(wanted, [module.W]))
        with torch.no_grad():
            module.W.mul_(0.9)  # an optimiser's step
    assert Again.made == 1


class PlainRecurrence(Recurrence):
    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.inner = Plain()

    def forward(self, x, *, profile=None):
        return self.inner(x, profile=profile)


def test_a_model_of_a_plain_recurrence_takes_the_engine(monkeypatch):
    x = torch.randn(2, 4, 3)
    model = SequenceModel(PlainRecurrence(3, 3, engine="graph"), 2)
    with pytest.raises(EngineError, match=r"^engine graph: CUDA graphs need a GPU"):
        model(x)
    wanted = SequenceModel(PlainRecurrence(3, 3), 2)
    wanted.load_state_dict(model.state_dict())
    monkeypatch.setattr(engines, "unavailable", lambda name, device_type: None)
    monkeypatch.setattr(graph.call, "__kwdefaults__", {**graph.call.__kwdefaults__, "recording": Again})
    assert torch.equal(model(x), wanted(x)) and Again.made == 1


class Dropping(Plain):
    """Draws random numbers in its forward."""

    def forward(self, x, *, profile=None):
        return super().forward(torch.nn.functional.dropout(x, 0.5))


def test_a_late_backward_has_the_random_numbers_of_its_own_forward(monkeypatch):
    monkeypatch.setattr(graph.call, "__kwdefaults__", {**graph.call.__kwdefaults__, "recording": Again})
    module, x = Dropping(), torch.randn(3, 2, 3)
    graph.run_module(module, x)  # the recording's own passes draw too
    torch.manual_seed(3)
    first, second = (graph.run_module(module, x) for _ in range(2))
    found = [torch.autograd.grad(out[1].sum(), list(module.parameters())) for out in (first, second)]
    after = torch.rand(1)
    graph.clear()
    torch.manual_seed(3)
    wanted = [torch.autograd.grad(module(x)[1].sum(), list(module.parameters())) for _ in range(2)]
    for got, right in zip(found, wanted, strict=True):
        equal(got, right, approximately=True)
    assert torch.equal(after, torch.rand(1))  # nothing more was drawn
    assert not torch.equal(wanted[0][0], wanted[1][0])


class ByIdentity:
    states = recurrent = inputs = products = 1
    params = saved = 0
    add = True

    def step(self, a, state, p):
        return torch.tanh(a)


def test_refusals():
    facts = {"device": CPU, "dtype": torch.float32, "hidden_size": 8}
    with pytest.raises(EngineError, match=r"^engine graph: CUDA graphs need a GPU, and this is cpu$"):
        engines.choose("graph", TanhCell(), **facts)
    reason = graph.why_not(ByIdentity(), **facts, precision="float32")
    assert "ByIdentity is told apart by identity" in reason
    assert graph.why_not(TanhCell(), **facts, precision="float32") is None
    if not torch.cuda.is_available():
        assert "no GPU" in graph.unavailable("cuda")
    cell = TanhCell()
    with torch.autocast("cpu"), pytest.raises(EngineError, match="under autocast"):
        replayed(cell, arguments(cell))
    tensors = [t for t in arguments(cell) if t is not None]
    with pytest.raises(EngineError, match="under vmap"):
        torch.vmap(lambda x: graph.run(cell, x, *tensors[1:4], None, tensors[4])[1])(tensors[0][None])


def test_what_cannot_be_recorded_is_one_line():
    class Refused(Again):
        def record(self, work):
            raise recording.Unrecorded("CUDA error: operation not permitted when stream is capturing\nmany\nmore lines")

    class Full(Again):
        def record(self, work):
            raise torch.OutOfMemoryError("CUDA out of memory")

    cell = TanhCell()
    with pytest.raises(EngineError, match=r"^engine graph: this model cannot be recorded[^\n]*capturing$"):
        replayed(cell, arguments(cell), recording=Refused)
    with pytest.raises(torch.OutOfMemoryError):
        replayed(cell, arguments(cell), recording=Full)
    assert not graph._recordings


def test_an_error_of_the_model_is_its_own():
    """It comes in the plain passes before a recording: nothing was under way, and later recordings are sound."""

    def body(x, *, profile):
        return (x @ x,)

    class WarmingUp(Again):
        def warm_up(self):
            self.run_forward()

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        graph.call("body", body, [torch.ones(2, 3)], recording=WarmingUp)
    assert not graph.broken and not graph._recordings


class Scaling(Plain):
    """A fixed factor that autograd saves, and a running value that the forward changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(0.5))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x, *, profile=None):
        self.seen.add_(1)
        h, final = super().forward(x * self.scale @ self.W)
        return h, final * self.scale


def test_buffers_are_put_back_so_that_a_later_backward_can_be_recorded(monkeypatch):
    monkeypatch.setattr(graph.call, "__kwdefaults__", {**graph.call.__kwdefaults__, "recording": Again})
    module, x = Scaling(), torch.randn(4, 2, 3)
    for _ in range(3):
        seen = module.seen.clone()
        found = torch.autograd.grad(graph.run_module(module, x)[1].sum(), module.W)
        assert module.seen == seen + 1, "making the recording is no step"
        equal(found, torch.autograd.grad(module(x)[1].sum(), module.W))
    (recorded,) = graph._recordings.values()
    assert Again.rehearsed == 1 and recorded.backwards[(False, True)] is not recorded.backwards[(True, True)]


def test_after_new_values_for_a_buffer_the_whole_backward_serves(monkeypatch):
    """Autograd refuses to go over the recorded forward again: what was recorded goes on, and is right."""
    monkeypatch.setattr(graph.call, "__kwdefaults__", {**graph.call.__kwdefaults__, "recording": Again})
    module, x = Scaling(), torch.randn(4, 2, 3)
    torch.autograd.grad(graph.run_module(module, x)[1].sum(), module.W)
    module.load_state_dict({**module.state_dict(), "scale": torch.tensor(0.25)})
    for _ in range(2):
        found = torch.autograd.grad(graph.run_module(module, x)[1].sum(), module.W)
        equal(found, torch.autograd.grad(module(x)[1].sum(), module.W))
    (recorded,) = graph._recordings.values()
    assert recorded.backwards[(False, True)] is recorded.backwards[(True, True)]
