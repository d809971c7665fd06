"""What is measured: a training step of a model on an engine, of its plain loop, and its matrix products alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from models import MODELS, build
from models.classifier import SequenceModel
from models.scan import engines
from models.scan.cell import width
from models.scan.fused import ROWS
from suite.benchmark import loops, shapes
from suite.benchmark.shapes import Shape

LOOP = "loop"
ORDER = (LOOP, "torch", "reference", "fused", "native", "triton", "graph")


class Step:
    """One training step: forward, loss, backward, optimiser.

    Args:
        model_name: a name of the model table.
        engine: an engine's name, or ``loop``.
        shape: the sizes.
        device: where.

    Raises:
        EngineError: the engine cannot run this model here.
    """

    def __init__(self, model_name: str, engine: str, shape: Shape, device: torch.device) -> None:
        self.shape, self.device, self.engine = shape, device, engine
        torch.manual_seed(0)
        options = shape.cornn if model_name == "cornn" else {}
        stated = "reference" if engine == LOOP else engine
        model = build(model_name, input_size=shape.I, hidden_size=shape.H, engine=stated, **options)
        if engine != LOOP:
            model.engine_for(device, torch.float32)
        recurrence: Any = loops.Loop(model) if engine == LOOP else model
        self.model = SequenceModel(recurrence, shape.O).to(device)
        self.x, self.y = shapes.batch(shape, device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-5, fused=True)

    def forward(self) -> Tensor:
        """The loss."""
        return shapes.loss(self.shape, self.model(self.x), self.y)

    def forward_only(self) -> Tensor:
        """The loss without gradients, as in an evaluation."""
        with torch.no_grad():
            return self.forward()

    def backward(self, loss: Tensor) -> None:
        """Gradients of the parameters, and of the input where the shape says so."""
        self.x.grad = None
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()

    def __call__(self) -> Tensor:
        """A whole step; returns the loss, at which nothing has looked yet: on a GPU the work may be still to do."""
        loss = self.forward()
        self.backward(loss)
        self.optimizer.step()
        return loss.detach()


def why_not(model_name: str, engine: str, shape: Shape, device: torch.device) -> str | None:
    """Why a contender cannot run here, or None."""
    if engine == LOOP:
        return None
    try:
        options = shape.cornn if model_name == "cornn" else {}
        model = build(model_name, input_size=shape.I, hidden_size=shape.H, engine=engine, **options)
        model.engine_for(device, torch.float32)
    except engines.EngineError as error:
        return str(error)
    return None


def gemms(model_name: str, shape: Shape, device: torch.device) -> Callable[[], None]:
    """The matrix products of a training step alone, by torch.

    A product a time step forward and backward, the others over chunks of time; the input projection counts, its
    gradient too where the input needs one.
    """
    options = shape.cornn if model_name == "cornn" else {}
    model: Any = build(model_name, input_size=shape.I, hidden_size=shape.H, **options)
    cell = model.cell()
    T, B, I, H = shape.T, shape.B, shape.I, shape.H
    n = max(1, ROWS // B)

    def make(*size: int) -> Tensor:
        return torch.randn(*size, device=device) * 0.01

    state, a = make(n * B, cell.recurrent * H), make(n * B, width(cell) * H)
    W, V, x = make(cell.products * H, cell.recurrent * H), make(cell.inputs * H, I), make(n * B, I)
    u, m = a[:, : cell.inputs * H], a[:, : cell.products * H] if cell.add else a[:, cell.inputs * H :]
    out_m, out_g, grad_W, grad_V = (
        make(B, cell.products * H),
        make(B, cell.recurrent * H),
        make(*W.shape),
        make(*V.shape),
    )
    out_u, grad_x, Wt = make(n * B, cell.inputs * H), make(n * B, I), W.mT

    def run() -> None:
        for i in range(T):
            if cell.products:
                at = slice(i % n * B, i % n * B + B)
                torch.mm(state[at], Wt, out=out_m)
                torch.mm(m[at], W, out=out_g)
            if i % n == 0:
                torch.mm(x, V.mT, out=out_u)
                torch.mm(m.mT, state, out=grad_W)
                torch.mm(u.mT, x, out=grad_V)
                if shape.input_gradient:
                    torch.mm(u, V, out=grad_x)

    return run


def check_equal(steps: dict[str, Step]) -> None:
    """Refuse to time what does not compute the same: losses and gradients of all contenders agree at equal weights.

    Losses to 1e-3 and each parameter's gradient, in the Euclidean norm, to 5e-2. Other rounding does less: 3e-5 at most
    at the shapes here, and 3e-3 in expRNN over 784 steps, where a unit on the other side of modrelu's threshold jumps.
    A wrong kernel does more; how exact an engine is, tests say.

    Raises:
        RuntimeError: naming the two that differ.
    """
    weights = None
    losses: dict[str, float] = {}
    gradients: dict[str, dict[str, Tensor]] = {}
    for name, step in steps.items():
        own = deepcopy(step.model.state_dict())
        plain = {k.replace("recurrence.model.", "recurrence."): v for k, v in own.items()}
        weights = plain if weights is None else weights
        step.model.load_state_dict({k: weights[k.replace("recurrence.model.", "recurrence.")] for k in own})
        losses[name] = float(step.forward_only())
        step.backward(step.forward())
        gradients[name] = {
            k.replace("recurrence.model.", "recurrence."): v.grad.detach().clone()
            for k, v in step.model.named_parameters()
            if v.grad is not None
        }
    first = next(iter(losses))
    for name, value in losses.items():
        if not abs(value - losses[first]) <= 1e-3 * abs(losses[first]):
            raise RuntimeError(f"{name} gives loss {value}, {first} {losses[first]}: they do not compute the same")
        apart = _apart(gradients[name], gradients[first])
        if not apart <= 5e-2:
            raise RuntimeError(f"{name}'s gradient lies {apart:.1e} from that of {first}: they do not compute the same")


def _apart(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Largest relative distance of a parameter's gradients; infinite where the parameters differ."""
    if got.keys() != wanted.keys():
        return math.inf
    sizes = {k: float(torch.linalg.vector_norm(v)) for k, v in wanted.items()}
    floor = 1e-6 * math.hypot(*sizes.values())  # a gradient that vanished is rounding alone
    apart = [float(torch.linalg.vector_norm(got[k] - wanted[k])) / max(sizes[k], floor, 1e-30) for k in wanted]
    return math.inf if any(map(math.isnan, apart)) else max(apart)


def names() -> tuple[str, ...]:
    """Models that are measured."""
    return tuple(MODELS)
