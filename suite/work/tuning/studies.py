"""Hyperparameter search on validation data: an equal number of trials a model, every trial a run with a record.

Trials are proposed by Optuna's TPE sampler in rounds of four, and a round is told before the next is proposed. So what
is tried depends on the seed and on the validation figures alone, not on which trial ends first: after a kill the same
command proposes the same trials, finds the records of the finished ones, and goes on. Test figures are never read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from suite.errors import DONE, UsageError
from suite.keys import with_effect
from suite.names import resolve
from suite.plan import Planned, Request, expand
from suite.record import RecordError, load
from suite.runs import LATER, seed_for
from suite.store import Store
from suite.work.driver import Outcome
from suite.work.telling import tell
from suite.work.tuning.search import Axis, space

ROUND = 4  # trials proposed at once, whatever the number of cores: part of what makes a study repeatable
RUN_SEED = 1000  # trials train with this seed plus the study's, so that no seed of a comparison is tuned on

SELDOM = 1_000_000  # test_every of a trial: nobody reads its test figures

RunGrid = Callable[[Sequence[Planned], Store], Outcome]


def optuna() -> Any:
    """The package, quiet.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import optuna as package
    except ImportError as error:
        raise UsageError(
            f"suite.tune: wanted the package optuna, which is not installed ({error}): pip install 'rnnbench[tune]'"
        ) from error
    package.logging.set_verbosity(package.logging.ERROR)
    return package


@dataclass
class Trial:
    """One point of the search space that was tried.

    Attributes:
        number: from 0; 0 is the recipe as it stands, as far as it lies in the space.
        values: searched keys and the values tried.
        planned: its run.
        valid: best validation metric, or None where the run diverged or failed.
        cost: what is minimised; infinite for such a run.
    """

    number: int
    values: Mapping[str, Any]
    planned: Planned
    valid: float | None = None
    cost: float = math.inf


@dataclass
class Study:
    """The search for one model on one task.

    Attributes:
        request: the call's request, narrowed to the model and the task.
        axes: the search space.
        trials: those told so far.
        metric: the task's metric, once a trial has told it.
    """

    request: Request
    axes: Mapping[str, Axis]
    sampler: Any
    trials: list[Trial] = field(default_factory=list)
    metric: str = ""
    _asked: list[tuple[Any, Trial]] = field(default_factory=list)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.request.models[0]

    @property
    def task(self) -> str:
        """The task's name."""
        return self.request.tasks[0]

    def ask(self, count: int) -> list[Planned]:
        """Propose ``count`` trials and return their runs."""
        recipe = expand(self.request)[0].run.recipe
        for _ in range(count):
            proposal = self.sampler.ask()
            values = {key: axis.suggest(proposal) for key, axis in self.axes.items()}
            values = with_effect(resolve("model", self.model), values, recipe)
            tried = {"test_every": SELDOM, **values}
            sets = (*((self.model, key, value) for key, value in tried.items()), *self.request.sets)
            (one,) = expand(replace(self.request, sets=sets))
            sources = {**one.sources, **{key: f"set: trial {proposal.number} of suite.tune" for key in values}}
            self._asked.append((proposal, Trial(proposal.number, values, replace(one, sources=sources))))
        return [trial.planned for _, trial in self._asked]

    def tell(self, store: Store) -> None:
        """Read the records of the asked trials and tell the sampler."""
        for proposal, trial in self._asked:
            if store.has(trial.planned.run):
                try:
                    self._read(trial, load(store.path(trial.planned.run)))
                except RecordError as error:  # the search goes on; the trial counts as one that did not finish
                    tell(f"trial {trial.number} left out: {error}")
            self.sampler.tell(proposal, trial.cost)
            self.trials.append(trial)
        self._asked.clear()

    def _read(self, trial: Trial, record: Mapping[str, Any]) -> None:
        metrics = record["metrics"]
        self.metric = metrics["name"]
        if record["status"] == "done" and metrics["valid"] is not None:
            trial.valid = metrics["valid"]
            trial.cost = -metrics["valid"] if metrics["higher_is_better"] else metrics["valid"]

    @property
    def best(self) -> Trial | None:
        """The trial with the best validation metric, the earlier one of equals; None where none was finished."""
        finished = [trial for trial in self.trials if trial.valid is not None]
        return min(finished, key=lambda trial: (trial.cost, trial.number), default=None)


def studies(request: Request, *, seed: int) -> list[Study]:
    """A study for each model and task of a request, none begun.

    Raises:
        UsageError: Optuna is missing, an unknown name or key, a search space that makes no sense.
    """
    package = optuna()
    expand(request)
    found = []
    for task in dict.fromkeys(request.tasks):
        for model in dict.fromkeys(request.models):
            own = tuple(one for one in request.sets if one[0] in (None, model, task))
            narrow = replace(request, models=(model,), tasks=(task,), sets=own, seeds=(RUN_SEED + seed,))
            fixed = {key for name, key, _ in own if name in (None, model)}
            axes = space(resolve("model", model), task, preset=request.preset, extra=request.recipes_dir, fixed=fixed)
            sampler = package.samplers.TPESampler(seed=seed_for("tune", model, task, seed) % 2**32)
            study = package.create_study(sampler=sampler, direction="minimize")
            recipe = expand(narrow)[0].run.recipe
            before = {key: recipe.get(key, LATER.get(key)) for key in axes}
            study.enqueue_trial({key: axes[key].told(value) for key, value in before.items() if axes[key].holds(value)})
            found.append(Study(narrow, axes, study))
    return found


def search(found: Sequence[Study], store: Store, *, trials: int, run_grid: RunGrid) -> int:
    """Run every study to its number of trials, in rounds of four a study, all studies of a round side by side.

    Args:
        found: the studies.
        store: where the trials' records go, apart from all others.
        trials: trials a study.
        run_grid: trains runs and keeps their records.

    Returns:
        0, or the exit code of a stop signal; then the same call goes on later.
    """
    while len(found[0].trials) < trials:
        count = min(ROUND, trials - len(found[0].trials))
        asked = {one.run.id: one for study in found for one in study.ask(count)}
        outcome = run_grid(list(asked.values()), store)
        if outcome.counts["stopped"] or outcome.exit_code > 100:
            return outcome.exit_code
        for study in found:
            study.tell(store)
    return DONE
