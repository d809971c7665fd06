"""What is measured: a training step of a model on an engine, of its plain loop, and its matrix products alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from models.classifier import SequenceModel
from models.contract import CellRecurrence, Recurrence
from models.scan import engines
from models.scan.cell import width
from models.scan.fused import ROWS
from suite.benchmark import loops, shapes
from suite.benchmark.shapes import Shape
from suite.names import resolve
from suite.work.training.peak import ran_out
from suite.work.training.tf32 import allow_in_cudnn

LOOP = "loop"
ORDER = (LOOP, "torch", "reference", "fused", "native", "triton", "graph")


@dataclass(frozen=True)
class Contender:
    """An engine, the precision of its products, and how many seeds it trains in one step."""

    engine: str
    precision: str = "float32"
    seeds: int = 1

    @property
    def name(self) -> str:
        """``triton``, ``triton-tf32``, ``triton-tf32-x16``: what tables call it."""
        words = [self.engine, "" if self.precision == "float32" else self.precision]
        return "-".join(word for word in (*words, f"x{self.seeds}" if self.seeds > 1 else "") if word)

    def step(self, model_name: str, shape: Shape, device: torch.device) -> Step:
        """Its training step.

        Raises:
            EngineError: it cannot run this model here.
        """
        if self.seeds > 1:
            return SideBySideStep(model_name, self.engine, shape, device, precision=self.precision, seeds=self.seeds)
        return Step(model_name, self.engine, shape, device, precision=self.precision)


def built(model_name: str, shape: Shape, *, engine: str = "auto") -> Recurrence:
    """A model of these sizes with its class's hyperparameters, coRNN with those of the shape."""
    plugin = resolve("model", model_name)
    options = plugin.options(shape.cornn if model_name == "cornn" else {})
    made: Recurrence = plugin.cls(shape.I, shape.H, engine=engine, **plugin.fixed, **plugin.arguments(options))
    return made


class Step:
    """One training step: forward, loss, backward, optimiser.

    Args:
        model_name: a name of the model table, or ``my.pkg:MyRNN``.
        engine: an engine's name, or ``loop``: the loop written out here, or, of a model that has none, its own.
        shape: the sizes.
        device: where.
        precision: of the products; the plain loop has float32 alone.
        seed: of weights and batch.

    Raises:
        EngineError: the engine cannot run this model here.
    """

    def __init__(
        self, model_name: str, engine: str, shape: Shape, device: torch.device,
        *, precision: str = "float32", seed: int = 0,
    ) -> None:  # fmt: skip
        self.shape, self.device, self.engine, self.precision = shape, device, engine, precision
        torch.manual_seed(seed)
        model = built(model_name, shape, engine="reference" if engine == LOOP else engine)
        model.precision = precision
        if engine != LOOP:
            model.engine_for(device, torch.float32)
        recurrence: Any = loops.Loop(model) if engine == LOOP and loops.has_loop(model) else model
        self.model = SequenceModel(recurrence, shape.O).to(device)
        self.x, self.y = shapes.batch(shape, device, seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-5, fused=True)

    def forward(self) -> Tensor:
        """The loss."""
        self._cudnn()
        return shapes.loss(self.shape, self.model(self.x), self.y)

    def _cudnn(self) -> None:
        """Let cuDNN multiply as exactly as the precision says: contenders of several are timed in turn."""
        if self.device.type == "cuda" and self.engine == "torch":
            allow_in_cudnn(self.precision != "float32")

    def forward_only(self) -> Tensor:
        """The loss without gradients, as in an evaluation."""
        with torch.no_grad():
            return self.forward()

    def backward(self, loss: Tensor) -> None:
        """Gradients of the parameters, and of the input where the shape says so."""
        self.x.grad = None
        self.optimizer.zero_grad(set_to_none=True)
        self._cudnn()
        loss.backward()

    def losses(self) -> Tensor:
        """The loss of each seed, (S,)."""
        return self.forward()[None]

    def weights(self) -> dict[str, Tensor]:
        """A copy of the first seed's weights, by the name they have without the loop around the model."""
        return {_plain(name): value.detach().clone() for name, value in self.model.named_parameters()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Give every seed these weights."""
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                value.copy_(weights[_plain(name)])

    def gradients(self) -> list[dict[str, Tensor]]:
        """Copies of each seed's gradients, after a backward."""
        named = self.model.named_parameters()
        return [{_plain(name): value.grad.clone() for name, value in named if value.grad is not None}]

    def tried(self, length: int) -> list[tuple[float, dict[str, Tensor]]]:
        """Each seed's loss and gradients over the first time steps of the first seed's batch."""
        whole = self.x, self.y
        self.x, self.y = self._first_batch(length)
        try:
            with torch.no_grad():
                losses = self.losses().tolist()
            self.backward(self.forward())
            return list(zip(losses, self.gradients(), strict=True))
        finally:
            self.x, self.y = whole

    def _first_batch(self, length: int) -> tuple[Tensor, Tensor]:
        return self.x.detach()[:, :length].clone().requires_grad_(self.x.requires_grad), self.y

    def __call__(self) -> Tensor:
        """A whole step; returns the loss, at which nothing has looked yet: on a GPU the work may be still to do."""
        loss = self.forward()
        self.backward(loss)
        self.optimizer.step()
        return loss.detach()


class SideBySideStep(Step):
    """One training step of several seeds at once, as the runner makes it with ``--seeds-per-run``.

    Raises:
        EngineError: the engine cannot run this model here, or vmap refuses it.
    """

    def __init__(
        self, model_name: str, engine: str, shape: Shape, device: torch.device,
        *, precision: str = "float32", seeds: int,
    ) -> None:  # fmt: skip
        super().__init__(model_name, engine, shape, device, precision=precision)
        others = [
            Step(model_name, engine, shape, device, precision=precision, seed=seed).model for seed in range(1, seeds)
        ]
        named = [dict(model.named_parameters()) for model in (self.model, *others)]
        self.stacked = {
            name: torch.stack([parameters[name].detach() for parameters in named]).requires_grad_() for name in named[0]
        }
        batches = [shapes.batch(shape, device, seed) for seed in range(seeds)]
        self.x = torch.stack([x.detach() for x, _ in batches]).requires_grad_(shape.input_gradient)
        self.y = torch.stack([y for _, y in batches])
        self.optimizer = torch.optim.Adam(list(self.stacked.values()), lr=1e-5, fused=True)
        try:
            self.forward_only()
        except RuntimeError as error:
            if ran_out(error):
                raise
            words = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise engines.EngineError(f"{seeds} seeds side by side: {words}") from error

    def losses(self) -> Tensor:
        """The loss of each seed, (S,)."""
        self._cudnn()

        def loss(own: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return shapes.loss(self.shape, functional_call(self.model, own, (x,)), y)

        return vmap(loss)(self.stacked, self.x, self.y)

    def forward(self) -> Tensor:
        """The sum of the losses."""
        return self.losses().sum()

    def weights(self) -> dict[str, Tensor]:
        """A copy of the first seed's."""
        return {name: whole.detach()[0].clone() for name, whole in self.stacked.items()}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Give every seed these weights."""
        with torch.no_grad():
            for name, whole in self.stacked.items():
                whole.copy_(weights[name].expand_as(whole))

    def gradients(self) -> list[dict[str, Tensor]]:
        """Copies of each seed's gradients, after a backward."""
        named = {name: whole.grad for name, whole in self.stacked.items() if whole.grad is not None}
        return [{name: grad[s].clone() for name, grad in named.items()} for s in range(len(self.y))]

    def _first_batch(self, length: int) -> tuple[Tensor, Tensor]:
        x, y = self.x.detach()[:1, :, :length], self.y[:1]
        x = x.expand(len(self.x), *x.shape[1:]).clone().requires_grad_(self.x.requires_grad)
        return x, y.expand(self.y.shape).clone()


def _plain(name: str) -> str:
    return name.replace("recurrence.model.", "recurrence.")


def gemms(model_name: str, shape: Shape) -> Callable[[], None] | None:
    """The matrix products of a training step alone, by torch on the CPU; None for a model that defines no cell.

    A product a time step forward and backward, the others over chunks of time; the input projection counts, its
    gradient too where the input needs one.
    """
    model = built(model_name, shape)
    if not isinstance(model, CellRecurrence):
        return None
    cell = model.cell()
    T, B, I, H = shape.T, shape.B, shape.I, shape.H
    n = max(1, ROWS // B)

    def make(*size: int) -> Tensor:
        return torch.randn(*size) * 0.01

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
