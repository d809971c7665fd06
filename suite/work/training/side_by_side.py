"""Several seeds of one run in one process: parameters stacked, the loss under ``vmap``, all else each seed's own.

Each seed keeps its data order, optimiser state, clipping, selection, divergence, checkpoint and record: a ``Trainer``
of its own whose weights are views into the stacked ones. Checkpoints have the format of a single run, so a seed may go
on alone. Curves equal those of single runs up to rounding.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from suite.work.training.lap import Lap
from suite.work.training.measure import to_device
from suite.work.training.obeyed import loss_of
from suite.work.training.train import StopRequested, Trainer
from tasks.contract import Batch


class CannotStack(Exception):
    """These runs cannot be trained side by side; the message says why. They are then trained one by one."""


class SideBySide:
    """Trains several seeds together.

    Args:
        trainers: one a seed, same recipe, at the same epoch and step, models on one device.
        ended: called with a trainer and its stop reason as soon as its run is over; others may go on.

    Raises:
        CannotStack: different positions, or a model that vmap refuses.
    """

    def __init__(self, trainers: Sequence[Trainer], ended: Callable[[Trainer, str], None] = lambda *_: None) -> None:
        if len({(t.epoch, t.step) for t in trainers}) > 1:
            raise CannotStack("their checkpoints stand at different steps")
        self.trainers = list(trainers)
        self.active = list(trainers)
        for trainer in trainers:
            trainer.led = True
        self.ended = ended
        first = trainers[0]
        self.recipe, self.device, self.budget = first.recipe, first.device, first.run.budget
        self.base = copy.deepcopy(first.model)
        self.padding = {  # vmap's rule for an embedding spares the first seed's padding row alone
            f"{name}.weight": module.padding_idx
            for name, module in self.base.named_modules()
            if isinstance(module, nn.Embedding) and module.padding_idx is not None
        }
        self.stacked, self.buffers = self._stack()
        self.optimizer = self._optimizer()
        self._pending: list[tuple[Tensor, Tensor, int]] = []
        self._try()

    def _stack(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Parameters, those that are not trained among them, and the buffers in which seeds differ: of all seeds."""
        named = [dict(t.model.named_parameters()) for t in self.trainers]
        stacked = {}
        for name, own in named[0].items():
            whole = torch.stack([parameters[name].detach() for parameters in named])
            for s, parameters in enumerate(named):
                parameters[name].data = whole[s]  # a view: the seed's own model follows the training
            stacked[name] = whole.requires_grad_(own.requires_grad)
        held = [dict(t.model.named_buffers()) for t in self.trainers]
        alike = {name for name, own in held[0].items() if all(torch.equal(own, buffers[name]) for buffers in held)}
        return stacked, {name: torch.stack([b[name] for b in held]) for name in held[0] if name not in alike}

    def _optimizer(self) -> torch.optim.Optimizer:
        """One optimiser over the stacked parameters; its rules are elementwise, so each seed's state is its own."""
        names = {id(p): name for name, p in self.trainers[0].model.named_parameters()}
        groups = [
            {**group, "params": [self.stacked[names[id(p)]] for p in group["params"]]}
            for group in self.trainers[0].optimizer.param_groups
        ]
        made: torch.optim.Optimizer = type(self.trainers[0].optimizer)(groups)  # type: ignore[call-arg]
        for name, whole in self.stacked.items():
            states = [t.optimizer.state.get(dict(t.model.named_parameters())[name], {}) for t in self.trainers]
            if all(states):
                made.state[whole] = {
                    key: value.clone() if key == "step" else torch.stack([state[key] for state in states])
                    for key, value in states[0].items()
                }
        return made

    def _write_back(self) -> None:
        """Give each trainer's optimiser its slice of the stacked state, for its checkpoint."""
        for s, trainer in enumerate(self.trainers):
            for name, parameter in trainer.model.named_parameters():
                state = self.optimizer.state.get(self.stacked[name], {})
                trainer.optimizer.state[parameter] = {
                    key: value.clone() if key == "step" else value[s] for key, value in state.items()
                }

    def _losses(self, batch: Batch) -> Tensor:
        """Loss of each seed, (S,), for stacked batches."""
        task, base = self.trainers[0].task, self.base

        def loss(tensors: dict[str, Tensor], x: Tensor, y: Tensor, lengths: Tensor | None) -> Tensor:
            return loss_of(task, functional_call(base, tensors, (x, lengths)), Batch(x, y, lengths))

        dims = (0, 0, 0, None if batch.lengths is None else 0)
        tensors = {**self.stacked, **self.buffers}
        return vmap(loss, in_dims=dims, randomness="different")(tensors, batch.x, batch.y, batch.lengths)

    def _gradients(self, batch: Batch) -> Tensor:
        """Loss of each seed, (S,); each seed's gradients are in ``grad`` of the stacked parameters."""
        losses = self._losses(batch)
        losses.sum().backward()
        for name, row in self.padding.items():
            if (gradient := self.stacked[name].grad) is not None:
                gradient[:, row] = 0
        return losses

    def _try(self) -> None:
        """One loss and backward whose gradients are thrown away: what cannot go side by side is known before training.

        That is what vmap refuses, and what would silently be another training than each seed's own: buffers that
        training changes, random numbers drawn in the model, state outside of parameters and buffers. Losses are
        compared in every precision, gradients where products are not rounded.
        """
        try:
            batches = [next(iter(t.task.batches("train", self.recipe["batch_size"], t.epoch))) for t in self.trainers]
            losses = self._gradients(self._together(batches))
            own = torch.stack([self._own_loss(t, batch) for t, batch in zip(self.trainers, batches, strict=True)])
            other = self._other_gradients()
        except CannotStack:
            raise
        except Exception as error:  # vmap and plug-ins raise many kinds
            raise CannotStack(str(error).split("\n")[0][:200]) from error
        finally:
            for whole in self.stacked.values():
                whole.grad = None
            for trainer in self.trainers:
                trainer.optimizer.zero_grad(set_to_none=True)
        close = 0.01 if self.trainers[0].run.precision in ("float32", "float64") else 0.05
        if not torch.allclose(losses.detach(), own, rtol=close, atol=1e-4, equal_nan=True):
            pairs = ", ".join(f"{a:.4g} and {b:.4g}" for a, b in zip(losses.tolist(), own.tolist(), strict=True))
            raise CannotStack(f"together their first losses are not those of each alone ({pairs})")
        if other:
            raise CannotStack(f"together their first gradients are not those of each alone ({other})")

    def _other_gradients(self) -> str:
        """The first parameter whose gradient together is another than alone in some seed, or nothing."""
        if self.trainers[0].run.precision not in ("float32", "float64"):
            return ""
        for s, trainer in enumerate(self.trainers):
            for name, parameter in trainer.model.named_parameters():
                whole, own = self.stacked[name].grad, parameter.grad
                mine = None if whole is None else whole[s]
                if (own is None) != (mine is None):
                    return name
                if own is None or mine is None or not (own.isfinite().all() and mine.isfinite().all()):
                    continue
                if (mine - own).norm() > 0.05 * own.norm() + 1e-6:
                    return name
        return ""

    def _own_loss(self, trainer: Trainer, batch: Batch) -> Tensor:
        """The loss of one seed's own model, which must leave its buffers as they were, and its gradients."""
        trainer.model.train()
        before = {name: buffer.clone() for name, buffer in trainer.model.named_buffers()}
        batch = to_device(batch, self.device, trainer.dtype)
        loss = trainer.task.loss(trainer.model(batch.x, batch.lengths), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        changed = [name for name, buffer in trainer.model.named_buffers() if not torch.equal(buffer, before[name])]
        if changed:
            for name, buffer in trainer.model.named_buffers():  # those too that no state_dict has
                buffer.copy_(before[name])
            raise CannotStack(f"training changes the buffer {changed[0]}")
        return loss.detach()

    def _together(self, batches: Sequence[Batch]) -> Batch:
        batches = [to_device(batch, self.device, self.trainers[0].dtype) for batch in batches]
        if len({(b.x.shape, b.y.shape, None if b.lengths is None else b.lengths.shape) for b in batches}) > 1:
            raise CannotStack("their batches have different shapes")
        lengths = None if batches[0].lengths is None else torch.stack([b.lengths for b in batches])  # type: ignore[misc]
        return Batch(torch.stack([b.x for b in batches]), torch.stack([b.y for b in batches]), lengths)

    # ---- the loop ------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train until the budget is used, or no seed is left.

        Raises:
            StopRequested: after every seed's checkpoint was written.
        """
        for trainer in self.trainers:
            trainer.begin()
        while self.active and self.active[0].epoch <= self.budget.epochs:
            reason = self._train_epoch()
            for trainer in list(self.active):
                trainer.end_epoch(reason)
                if reason:
                    self._leave(trainer, reason)
            if self.active and self.active[0].epoch <= self.budget.epochs:
                self._breathe()
        for trainer in list(self.active):
            self._leave(trainer, "budget")

    def _leave(self, trainer: Trainer, reason: str) -> None:
        self.active.remove(trainer)
        self.ended(trainer, reason)

    def _train_epoch(self) -> str:
        first = self.active[0]
        sources = [t.epoch_batches() if t in self.active else None for t in self.trainers]
        lap = Lap()
        steps_left = first.steps_per_epoch - first.step
        for _ in range(steps_left):
            parts = [None if source is None else next(source) for source in sources]
            spare = next(part for part in parts if part is not None)
            self._step(self._stacked([part if part is not None else spare for part in parts], lap))
            if len(self._pending) >= first.flush:
                self._flush(lap)
                if not self.active:
                    return "non_finite"
                if self.active[0].out_of_time():
                    return "max_seconds"
                self._breathe()
                lap.restart()
        self._flush(lap)
        rest = lap.rest()
        for trainer in self.active:
            trainer.seconds["train_waited"] += rest
        return "max_seconds" if self.active and self.active[0].out_of_time() else ""

    def _stacked(self, parts: Sequence[Batch], lap: Lap) -> Batch:
        """The batches as one.

        Raises:
            CannotStack: later batches may differ where the first ones did not; checkpoints are written for each seed.
        """
        try:
            return self._together(parts)
        except CannotStack:
            self._flush(lap)
            self._save()
            raise

    def _save(self) -> None:
        self._write_back()
        for trainer in self.active:
            trainer.save()

    def _step(self, batch: Batch) -> None:
        first = self.active[0]
        first.rates.set(self.optimizer, first.epoch, first.total_steps)
        self.optimizer.zero_grad(set_to_none=True)
        losses = self._gradients(batch)
        gradients = [whole.grad for whole in self.stacked.values() if whole.grad is not None]
        norms = torch.stack([torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients])
        norms = torch.linalg.vector_norm(norms, dim=0)
        limit = self.recipe["clip_norm"]
        if limit:
            scale = (limit / (norms + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grads_with_norm_
            for g in gradients:
                g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
        self.optimizer.step()
        self._pending.append((losses.detach(), norms, batch.y.shape[1]))
        for trainer in self.active:
            trainer.step += 1
            trainer.total_steps += 1

    def _flush(self, lap: Lap) -> None:
        """Read losses and norms, hand each seed its own, let diverged seeds go."""
        if not self._pending:
            return
        losses = torch.stack([loss for loss, _, _ in self._pending]).double().cpu()
        norms = torch.stack([norm for _, norm, _ in self._pending]).double().cpu()
        counts = [count for _, _, count in self._pending]
        times = lap.take()
        self._pending.clear()
        for s, trainer in enumerate(self.trainers):
            if trainer not in self.active:
                continue
            trainer.add_time(times, steps=len(counts))
            if not trainer.note(losses[:, s].tolist(), norms[:, s].tolist(), counts):
                trainer.end_epoch("non_finite")
                self._leave(trainer, "non_finite")

    def _breathe(self) -> None:
        now = time.perf_counter()
        first = self.active[0]
        if first.due_to_tell(now):
            for trainer in self.active:
                trainer.tell("step")
        stop = first.should_stop()
        if stop or first.due_to_save(now):
            self._save()
        if stop:
            raise StopRequested
