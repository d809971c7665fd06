"""What ``suite.check`` asks of a model: shapes, causality, gradients, reloading, and every engine that runs it here."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from models.classifier import SequenceModel
from models.contract import CHANGED, CellRecurrence, Recurrence, check_pair
from models.scan.engines import NAMES, EngineError
from suite.errors import UsageError, words
from suite.keys import check_own_keys
from suite.names import Plugin
from suite.work.building import seeded
from suite.work.conformance.finding import Broken, Finding, Findings, Noted, asked
from suite.work.conformance.numbers import answers_of, apart, far, gradients_of, loss_of

T, B = 12, 5
TIMES = 5  # an engine's error over the worst of as many float32 runs of the reference


@dataclass(frozen=True)
class Sizes:
    """What a model is asked with.

    Attributes:
        inputs: I.
        hidden: H.
        precision: ``float32`` or ``float64``.
    """

    inputs: int = 3
    hidden: int = 8
    precision: str = "float32"

    @property
    def dtype(self) -> torch.dtype:
        """Of parameters and input."""
        return torch.float64 if self.precision == "float64" else torch.float32


class _Asked:
    """The questions about one model, small and on the CPU.

    Args:
        plugin: the model.
        options: all of them, those that its name fixes too.
        sizes: I, H and precision.
    """

    def __init__(self, plugin: Plugin, options: Mapping[str, Any], sizes: Sizes) -> None:
        self.plugin, self.options, self.sizes = plugin, dict(options), sizes
        self.model = self.built().eval()

    @property
    def x(self) -> Tensor:
        """An input (T,B,I), made anew: a model that changes it in place changes it for no other question."""
        return self.drawn(0)

    def built(self, engine: str = "auto", seed: int = 0) -> Recurrence:
        """The model with weights of this seed."""
        with seeded(seed):
            options = self.plugin.arguments(self.options)
            made: Recurrence = self.plugin.cls(self.sizes.inputs, self.sizes.hidden, engine=engine, **options)
            made.precision = self.sizes.precision
        return made.to(self.sizes.dtype)

    def drawn(self, seed: int) -> Tensor:
        """An input (T,B,I)."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(T, B, self.sizes.inputs, generator=generator).to(self.sizes.dtype)

    def h(self, x: Tensor) -> Tensor:
        """All states h, without gradients."""
        with torch.no_grad():
            found: Tensor = self.model(x)[0]
        return found

    def hyperparameters(self) -> str:
        """Told apart from the trainer's keys, beside which they stand in a recipe."""
        try:
            check_own_keys(self.plugin)
        except UsageError as error:
            raise Broken(str(error).removeprefix(f"model {self.plugin.name}: ")) from error
        return "none has the name of a trainer's key"

    def forward(self) -> str:
        """A pair comes back, and the input is left as it is, in training too."""
        for model in (self.built(), self.model):
            x = self.x
            version = x._version  # counts changes that change no number here, too
            check_pair(model, model(x))
            if x._version != version or not torch.equal(x, self.x):
                raise Broken(CHANGED)
        return "h and final state, of an input that is left as it is"

    def shapes(self) -> str:
        """By the same test that every run makes."""
        SequenceModel(self.model, 2).to(self.sizes.dtype)(self.x.transpose(0, 1))
        names = len(self.model.block_names)
        if names != self.model.states:
            raise Broken(f"block_names: wanted {self.model.states} (states), got {names}")
        return f"h (T,B,H), final state (B,{self.model.states}*H)"

    def begins_with_h(self) -> str:
        """The read-out takes block 0 of the final state."""
        with torch.no_grad():
            h, final = self.model(self.x)
        first = final[:, : self.sizes.hidden]
        if not torch.allclose(h[-1], first, rtol=1e-5, atol=1e-6):
            raise Broken(f"block 0 of the final state is not the last h: they differ by {far(h[-1], first):.2g}")
        return "block 0 of it is the last h"

    def repeats(self) -> str:
        """No randomness in evaluation, and no memory of the batch before."""
        first = self.h(self.x)
        self.h(self.drawn(1))
        if not torch.equal(first, self.h(self.x)):
            raise Broken("the same input gives another h the second time: random numbers, or a state that is kept")
        return "the same input gives the same h again"

    def causal(self) -> str:
        """What comes later changes nothing before."""
        later, t = self.x.clone(), T // 2
        later[t:] += 1
        h, other = self.h(self.x), self.h(later)
        if far(h[:t], other[:t]) > 1e-4 * max(1.0, float(h.abs().max())):  # a product over all of time rounds
            raise Broken(f"h before step {t} changes with the input from step {t} on")
        if torch.equal(h[t:], other[t:]):
            raise Noted(f"in {T} steps h shows no change of the input in the last {T - t} of them")
        return "h_t depends on no later input"

    def rows_apart(self) -> str:
        """Of the batch; a model that walks along the batch fails here."""
        alone = torch.cat([self.h(row) for row in self.x.split(1, 1)], 1)
        if not torch.allclose(alone, self.h(self.x), rtol=1e-4, atol=1e-5):
            off = far(alone, self.h(self.x))
            raise Broken(f"a row alone has another h than in its batch, by {off:.2g} (is x taken as (B,T,I)?)")
        return "each row of a batch has the h that it has alone"

    def any_length(self) -> str:
        """One step, one row."""
        for steps, rows in ((1, B), (T, 1), (1, 1)):
            h = self.h(self.x[:steps, :rows])
            wanted = (steps, rows, self.sizes.hidden)
            if h.shape != wanted:
                raise Broken(f"x {tuple(self.x[:steps, :rows].shape)}: wanted h {wanted}, got {tuple(h.shape)}")
        return "T = 1 and B = 1 work"

    def finite(self, engine: str = "auto") -> str:
        """NaN differs from itself: what is asked after this would name other faults."""
        with torch.no_grad():
            states = self.built(engine).eval()(self.x)
        for name, got in zip(("h", "final state"), states, strict=True):
            bad = ~got.isfinite()
            if bad.any():
                kind = "NaN" if got.isnan().any() else "infinity"
                first = f" from step {int(bad.flatten(1).any(1).nonzero()[0])} on" if name == "h" else ""
                raise Broken(f"{name}: wanted finite numbers, got {kind}{first} ({int(bad.sum())} of {got.numel()})")
        return "h and final state are finite"

    def gradients(self) -> str:
        """To every parameter, finite."""
        model = self.built()
        trained = sum(parameter.requires_grad for parameter in model.parameters())
        if not trained:
            raise Noted("none: the recurrence has nothing to train, the read-out alone learns")
        found = gradients_of(model, self.x)
        if not any(g is not None for g in found.values()):
            raise Broken(f"no gradient reaches any of its {trained} parameters: is h detached from them?")
        self._through()
        bad = [name for name, g in found.items() if g is not None and not bool(g.isfinite().all())]
        if bad:
            raise Broken(f"not finite: {', '.join(bad)}")
        without = [name for name, g in found.items() if g is None]
        if without:
            raise Noted(f"none reaches {', '.join(without)}")
        return f"finite, for all {len(found)} parameters"

    def _through(self) -> None:
        """From h alone to the parameters, and to x."""
        model, x = self.built(), self.x.clone().requires_grad_()
        h, _ = model(x)
        if h.requires_grad:
            h.sum().backward()
        if all(parameter.grad is None for parameter in model.parameters()):
            raise Broken("no gradient reaches its parameters through h, only through the final state")
        if x.grad is None:
            raise Broken("no gradient reaches x: an embedding, or a layer below, would stay as it was drawn")

    def profile(self) -> str:
        """Filled in full, or not at all."""
        model = self.built()
        buffer = torch.full((model.states, T), math.nan)
        loss = loss_of(*model(self.x, profile=buffer))
        if not loss.requires_grad:
            raise Noted("no gradient reaches the states: no gradient profiles in the report")
        loss.backward()
        known = buffer.isfinite()
        if not known.any():
            raise Noted("the buffer is not filled: no gradient profiles in the report")
        if not known.all():
            raise Broken(f"{int((~known).sum())} of {buffer.numel()} norms are not filled, or not finite")
        return f"norms of {model.states} x T gradients"

    def reloads(self) -> str:
        """As checkpoints and kept weights do."""
        other = self.built(seed=1).eval()
        other.load_state_dict(copy.deepcopy(self.model.state_dict()))
        with torch.no_grad():
            if not torch.equal(other(self.x)[0], self.h(self.x)):
                raise Broken("a model with the same state_dict has another h: something learned or drawn is not in it")
        return "a state_dict gives the model back"

    def side_by_side(self) -> str:
        """Whether vmap takes it."""
        models = [self.built(seed=seed) for seed in (0, 1)]
        with torch.no_grad():
            if not torch.equal(models[1](self.x)[0], models[1](self.x)[0]):
                raise Noted("random numbers in training: --seeds-per-run goes seed by seed")
        named = [{**dict(model.named_parameters()), **dict(model.named_buffers())} for model in models]
        stacked = {name: torch.stack([own[name].detach() for own in named]) for name in named[0]}
        try:
            h, _ = vmap(lambda own, x: functional_call(models[0], own, (x,)))(stacked, torch.stack([self.x, self.x]))
        except Exception as error:  # vmap raises many kinds
            raise Noted(f"vmap refuses it, so --seeds-per-run goes seed by seed: {words(error)}") from error
        with torch.no_grad():
            if not torch.allclose(h[1], models[1](self.x)[0], rtol=1e-4, atol=1e-5):
                raise Noted("under vmap it computes something else, so --seeds-per-run goes seed by seed")
        return "seeds can be trained side by side"

    def engine(self, name: str) -> str:
        """An engine against the reference in float64, beside float32 runs of the reference."""
        able = self.built(name)
        try:
            able.engine_for(torch.device("cpu"), torch.float32)
        except EngineError as error:
            raise Noted(str(error).removeprefix(f"engine {name}: ")) from error
        worst, off = 0.0, 0.0
        for seed in range(TIMES):
            x = self.drawn(seed)
            exact = answers_of(self.built("reference", seed).double(), x.double())
            worst = max(worst, apart(answers_of(self.built("reference", seed), x), exact))
            off = max(off, apart(answers_of(self.built(name, seed), x), exact))
        if not math.isfinite(worst):
            raise Broken("the plain loop itself gives numbers or gradients that are not finite")
        if not off <= TIMES * worst + 1e-7:
            raise Broken(f"states and gradients are {off:.2g} off float64, the plain loop {worst:.2g}: too far")
        return f"states and gradients {off:.2g} off float64 (the plain loop: {worst:.2g})"


def check_model(plugin: Plugin, options: Mapping[str, Any], sizes: Sizes) -> Findings:
    """Ask everything, one finding a promise.

    Args:
        plugin: the model.
        options: its hyperparameters, all of them.
        sizes: I, H and precision.
    """
    held: list[_Asked] = []

    def build() -> str:
        held.append(_Asked(plugin, options, sizes))
        size = sum(parameter.numel() for parameter in held[0].model.parameters())
        return f"I={sizes.inputs}, H={sizes.hidden}: {size} parameters"

    first = asked("it is built", build)
    yield first
    if not held:
        return
    one = held[0]
    questions: dict[str, Callable[[], str]] = {
        "hyperparameters": one.hyperparameters,
        "forward": one.forward,
        "shapes": one.shapes,
        "finite": one.finite,
        "final state": one.begins_with_h,
        "repeatable": one.repeats,
        "causal": one.causal,
        "rows apart": one.rows_apart,
        "any length": one.any_length,
        "gradients": one.gradients,
        "gradient profile": one.profile,
        "reloading": one.reloads,
        "seeds side by side": one.side_by_side,
    }
    for promise, question in questions.items():
        finding = asked(promise, question)
        yield finding
        if finding.state == "FAULT" and promise in ("forward", "shapes"):
            return  # the rest would say the same in other words
        if finding.state == "FAULT" and promise == "finite":
            yield Finding("note", "what follows", "not asked: with such numbers it would say the same in other words")
            if asked("plain loop", lambda: one.finite("reference")).state == "FAULT":
                return
            break  # the plain loop gives numbers: each engine is held against it
    if isinstance(one.model, CellRecurrence) and sizes.precision == "float32":
        for name in NAMES:
            if name != "reference":
                yield asked(f"engine {name}", lambda name=name: one.engine(name))  # type: ignore[misc]
