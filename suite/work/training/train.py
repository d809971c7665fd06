"""The training loop: one protocol for every model and task.

Selection is the same everywhere: the test metric at the best validation metric, and the last epoch's beside it. A
non-finite loss or gradient norm ends the run as diverged. The state of a run is all in ``Trainer.state()``, so a killed
run goes on with the same curve.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.classifier import SequenceModel
from suite.errors import CannotWrite
from suite.runs import Run
from suite.work.building import trainer_recipe
from suite.work.job import Progress
from suite.work.telling import tell
from suite.work.training import checkpoint as checkpoints
from suite.work.training.lap import Lap, Times
from suite.work.training.measure import digits, dtype_of, evaluate, evaluation_batch, quantiles, to_device
from suite.work.training.obeyed import loss_of
from suite.work.training.profiles import first_examples, gradient_profile
from suite.work.training.rates import Rates, optimizer_for
from suite.work.weights import held
from tasks.contract import Batch, Task

_KEPT_STEP_TIMES = 2000
FLUSH = {"cpu": 1, "cuda": 25}  # steps between two reads of loss and norm: a read makes the host wait for the GPU


class StopRequested(Exception):
    """Training was stopped on request; the checkpoint is written."""


class Trainer:
    """One run in training.

    Args:
        model: on its device.
        task: built with the run's data seed.
        run: recipe and budget.
        device: where the model is.
        report: called with each ``Progress``.
        should_stop: asked after every step.
        checkpoint: where mid-run state goes, or None.
        checkpoint_seconds: a checkpoint is due after so many, and written between two steps.
        keep_weights: hold the weights of the best epoch, for ``suite.work.weights``.
    """

    def __init__(
        self, model: SequenceModel, task: Task, run: Run, *, device: torch.device,
        report: Callable[[Progress], None], should_stop: Callable[[], bool] = lambda: False,
        checkpoint: Path | None = None, checkpoint_seconds: float = 60.0, keep_weights: bool = False,
    ) -> None:  # fmt: skip
        self.model, self.task, self.run, self.device = model, task, run, device
        self.report, self.should_stop = report, should_stop
        self.checkpoint, self.checkpoint_seconds, self.keep_weights = checkpoint, checkpoint_seconds, keep_weights
        self.recipe, self.dtype = trainer_recipe(run), dtype_of(model)
        self.optimizer = optimizer_for(model, self.recipe)
        self.parameters = list(model.parameters())
        self.steps_per_epoch = task.steps(self.recipe["batch_size"])
        self.rates = Rates(self.optimizer, self.recipe, run.budget.epochs * self.steps_per_epoch)
        self.eval_batch = evaluation_batch(task, self.recipe, device)
        self.epoch, self.step, self.total_steps, self.resumed = 1, 0, 0, 0
        self.loss_sum, self.loss_count = 0.0, 0
        self.norms: list[float] = []
        self.curve: list[dict[str, Any]] = []
        self.profiles: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self.best_weights: dict[str, Any] | None = None
        self.seconds = {"train": 0.0, "train_processor": 0.0, "train_waited": 0.0, "evaluate": 0.0}
        self.step_times: list[float] = []
        self._pending: list[tuple[Tensor, Tensor, int]] = []
        self._saved_at = self._told_at = time.perf_counter()
        self.lap, self.flush = Lap(), FLUSH.get(device.type, 25)
        self.legs: list[dict[str, Any]] = []  # what trained its parts (``provenance.leg``), the present one last
        self.led = False  # by SideBySide: when to stop is its affair

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "counters": [self.epoch, self.step, self.total_steps, self.resumed, self.loss_count],
            "loss_sum": self.loss_sum,
            "norms": self.norms,
            "curve": self.curve,
            "profiles": self.profiles,
            "best": self.best,
            "best_weights": self.best_weights,
            "seconds": dict(self.seconds),
            "step_times": self.step_times,
            "legs": self.legs,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step, self.total_steps, self.resumed, self.loss_count = state["counters"]
        self.loss_sum, self.norms = state["loss_sum"], state["norms"]
        self.curve, self.profiles, self.best = state["curve"], state["profiles"], state["best"]
        self.seconds, self.step_times = {**self.seconds, **state["seconds"]}, state["step_times"]
        now = self.keep_weights and self.step == 0 and self.best.get("epoch") == self.epoch - 1
        self.best_weights = held(self.model) if now else state.get("best_weights")
        self.legs = state.get("legs", [])
        self.resumed += 1

    def save(self) -> None:
        """Write the checkpoint now; one that cannot be written is told and training goes on."""
        if self.checkpoint is not None:
            try:
                checkpoints.save(self.checkpoint, self.run.id, self.state())
            except CannotWrite as error:
                tell(f"warning: no checkpoint: {error}")
        self._saved_at = time.perf_counter()

    # ---- the loop ------------------------------------------------------------------------------------------------

    def fit(self) -> str:
        """Train until the budget is used.

        Returns:
            The stop reason: ``budget``, ``max_seconds`` or ``non_finite``.

        Raises:
            StopRequested: after the checkpoint was written.
        """
        self.begin()
        reason = ""
        while not reason and self.epoch <= self.run.budget.epochs:
            reason = self._train_epoch()
            self.seconds["train_waited"] += self.lap.rest()
            self.end_epoch(reason)
            done = bool(reason) or self.epoch > self.run.budget.epochs
            if not done and self.due_to_save(time.perf_counter()):
                self.save()
            if not done:
                self._stop_if_asked()
        return reason or "budget"

    def begin(self) -> None:
        """Before the first step of all: the untrained model's profile."""
        self.model.train()
        if self.epoch == 1 and self.step == 0 and not self.profiles:
            self._profile(0)

    def end_epoch(self, reason: str) -> None:
        """After the last step of an epoch: evaluate, write the curve's row, go on to the next epoch."""
        if reason != "non_finite":
            last = bool(reason) or self.epoch == self.run.budget.epochs
            self._close_epoch(last=last)
            if self.epoch == 1 or last:
                self._profile(self.epoch)
        else:
            self._row({})
        self.epoch, self.step, self.loss_sum, self.loss_count, self.norms = self.epoch + 1, 0, 0.0, 0, []

    def epoch_batches(self) -> Iterator[Batch]:
        """The epoch's batches that were not trained on yet."""
        batches = iter(self.task.batches("train", self.recipe["batch_size"], self.epoch))
        for _ in range(self.step):  # a resumed epoch: these were trained on before
            next(batches)
        return batches

    def _train_epoch(self) -> str:
        batches = self.epoch_batches()
        self.lap.restart(look=True)
        if self.step and self.out_of_time():
            return "max_seconds"  # it was stopped in the evaluation that ends it
        for batch in batches:
            self._step(to_device(batch, self.device, self.dtype))
            if len(self._pending) >= self.flush and not self._flush():
                return "non_finite"
            if not self._pending and self.out_of_time():
                return "max_seconds"
            self._breathe()
        if not self._flush():
            return "non_finite"
        return "max_seconds" if self.out_of_time() else ""

    def out_of_time(self) -> bool:
        """Whether the training seconds of the budget are used, as far as they have been read."""
        limit = self.run.budget.max_seconds
        return limit is not None and self.seconds["train"] >= limit

    def _step(self, batch: Batch) -> None:
        self.rates.set(self.optimizer, self.epoch, self.total_steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(self.task, self.model(batch.x, batch.lengths), batch)
        loss.backward()
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.recipe["clip_norm"]:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.recipe["clip_norm"], norm)
        self.optimizer.step()
        self._pending.append((loss.detach(), norm, len(batch.y)))
        self.step += 1
        self.total_steps += 1

    def _flush(self) -> bool:
        """Read the losses and norms of the last steps; False where one of them is not finite."""
        if not self._pending:
            return True
        losses = torch.stack([loss for loss, _, _ in self._pending]).double().tolist()
        norms = torch.stack([norm for _, norm, _ in self._pending]).double().tolist()
        counts = [count for _, _, count in self._pending]
        self.add_time(self.lap.take(), steps=len(counts))
        self._pending.clear()
        return self.note(losses, norms, counts)

    def add_time(self, times: Times, *, steps: int) -> None:
        """Add what ``steps`` training steps took; the last step times are kept, for their quartiles."""
        for name, value in zip(("train", "train_processor", "train_waited"), times, strict=True):
            self.seconds[name] += value
        self.step_times.append(times.wall / steps)
        del self.step_times[:-_KEPT_STEP_TIMES]

    def due_to_tell(self, now: float) -> bool:
        """Whether half a second passed since the last sign of life; counts this one as given."""
        if now - self._told_at > 0.5:
            self._told_at = now
            return True
        return False

    def due_to_save(self, now: float) -> bool:
        """Whether a checkpoint is due."""
        return now - self._saved_at > self.checkpoint_seconds

    def note(self, losses: Sequence[float], norms: Sequence[float], counts: Sequence[int]) -> bool:
        """Add steps to the epoch's sums; False where a loss or norm is not finite."""
        for loss, norm, count in zip(losses, norms, counts, strict=True):
            self.loss_sum += loss * count
            self.loss_count += count
            self.norms.append(norm)
        return all(map(math.isfinite, (*losses, *norms)))

    def _breathe(self) -> None:
        """Progress, checkpoint and stop, between two steps; their time is not training time."""
        now = time.perf_counter()
        if self.due_to_tell(now):  # by the clock alone: 25 long steps between two reads are no stall
            self.tell("step")
        if self._pending:
            return
        self._stop_if_asked()
        if self.due_to_save(now):
            self.save()
        self.lap.restart()

    def _stop_if_asked(self) -> None:
        if self.should_stop():
            self.save()
            raise StopRequested

    def _close_epoch(self, *, last: bool) -> None:
        start = time.perf_counter()
        options = {"batch_size": self.eval_batch, "device": self.device, "tick": self._tick}
        valid, valid_loss = evaluate(self.model, self.task, "valid", **options)  # type: ignore[arg-type]
        sign = 1 if self.task.spec.higher_is_better else -1
        better = math.isfinite(valid) and (not self.best or sign * (valid - self.best["valid"]) > 0)
        row: dict[str, Any] = {"valid": digits(valid), "valid_loss": digits(valid_loss)}
        if better or last or self.epoch % self.recipe["test_every"] == 0:
            test, test_loss = evaluate(self.model, self.task, "test", **options)  # type: ignore[arg-type]
            row |= {"test": digits(test), "test_loss": digits(test_loss)}
        if better:
            self.best = {"valid": valid, "epoch": self.epoch, "test": row["test"], "test_loss": row["test_loss"]}
            self.best_weights = held(self.model) if self.keep_weights else None
        row["diagnostics"] = {k: digits(v) for k, v in self.model.recurrence.diagnostics().items()}
        self.seconds["evaluate"] += time.perf_counter() - start
        self._row(row)

    def _tick(self) -> None:
        """Between two steps of an evaluation: a sign of life, and a stop, after which the evaluation is done anew."""
        if self.due_to_tell(time.perf_counter()):
            self.tell("step")
        if not self.led:
            self._stop_if_asked()

    def _row(self, row: dict[str, Any]) -> None:
        loss = self.loss_sum / self.loss_count if self.loss_count else math.nan
        self.curve.append(
            {
                "epoch": self.epoch,
                "steps": self.total_steps,
                "train_loss": digits(loss),
                "seconds": digits(self.seconds["train"]),
                "grad_norm": quantiles(self.norms),
                "lr": digits(self.rates.first(self.epoch, self.total_steps - 1)),
                "diagnostics": {},
                **dict.fromkeys(("valid", "valid_loss", "test", "test_loss")),
                **row,
            }
        )
        self.tell("epoch")

    def _profile(self, epoch: int) -> None:
        start = time.perf_counter()
        batch = first_examples(self.task, self.device, self.dtype)
        profile = gradient_profile(self.model, self.task, batch, epoch=epoch)
        if profile is not None:
            self.profiles.append(profile)
        self.seconds["evaluate"] += time.perf_counter() - start

    def tell(self, kind: str) -> None:
        """Report where the run stands."""
        self.report(
            Progress(
                self.run.id, kind, self.epoch, self.run.budget.epochs, self.step, self.steps_per_epoch,
                self.seconds["train"], self.curve[-1] if kind == "epoch" else {}, self.best.get("valid"),
            )
        )  # fmt: skip
