"""Track matched-params: the hidden size at which a model has as many parameters as the reference model's recipe.

Counted as in a record's ``size.parameters``: with the read-out, without the embedding.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from suite.errors import DataMissing, UsageError
from suite.names import resolve
from suite.runs import Run
from suite.work.estimates import sizes
from tasks.contract import DataError, Task

TOLERANCE = 0.02  # relative difference of the counts that still counts as equal
LARGEST = 1 << 16


class Matched:
    """Solves hidden sizes; passed to ``suite.plan.expand``.

    Args:
        data_dir: the data root: the task's sizes come from the task itself.
        fetch: fetch raw data that is missing.
    """

    def __init__(self, data_dir: Path | None = None, *, fetch: bool = False) -> None:
        self.tasks, self.fetch = sizes.Tasks(data_dir), fetch

    def __call__(self, run: Run, reference: Run, *, given: bool) -> tuple[int, str]:
        """The hidden size of ``run`` and its source.

        Args:
            run: the model, with any hidden size.
            reference: the reference model with its recipe on the same task.
            given: the hidden size was set by hand: it is checked and kept.

        Raises:
            UsageError: no hidden size (or not the given one) is within 2 % of the reference's parameters.
            DataMissing: the task's raw data is missing, so its sizes are not known.
        """
        task = self._task(run)
        wanted = _count(reference, task, reference.recipe["hidden_size"])
        size = run.recipe["hidden_size"] if given else solve(run, task, wanted)
        count = _count(run, task, size)
        if abs(count - wanted) > TOLERANCE * wanted:
            raise UsageError(_refusal(run, task, reference, wanted, size, given=given))
        if given:
            return (
                size,
                f"set: on the command line, within {100 * TOLERANCE:g} % of {wanted} parameters of {reference.model}",
            )
        return size, f"set: matched to {wanted} parameters of {reference.model}"

    def _task(self, run: Run) -> Task:
        try:
            if self.fetch:
                from tasks import sources

                plugin = resolve("task", run.task)
                for name in plugin.cls.requires(**plugin.arguments(run.task_options)):
                    sources.ensure(name, self.tasks.data_dir, log=lambda text: print(text, file=sys.stderr))
            return self.tasks.get(run.task, run.task_options)
        except DataError as error:
            raise DataMissing(f"track matched-params wants the sizes of {run.task}: {error}") from error


def solve(run: Run, task: Task, wanted: int) -> int:
    """The hidden size whose parameter count is nearest to ``wanted`` (counts grow with the hidden size).

    Raises:
        UsageError: the count is still too small at 65,536 units.
    """
    low, high = 0, 1
    while _count(run, task, high) < wanted:
        low, high = high, 2 * high
        if high > LARGEST:
            raise UsageError(f"{run.model}: {wanted} parameters need more than {LARGEST} units")
    while high - low > 1:
        middle = (low + high) // 2
        if _count(run, task, middle) < wanted:
            low = middle
        else:
            high = middle
    return min((size for size in (low, high) if size), key=lambda size: abs(_count(run, task, size) - wanted))


def _count(run: Run, task: Task, size: int) -> int:
    return sizes.bare_model(replace(run, recipe={**run.recipe, "hidden_size": size}), task).sizes()["parameters"]


def _refusal(run: Run, task: Task, reference: Run, wanted: int, size: int, *, given: bool) -> str:
    around = [size] if given else [near for near in (size - 1, size, size + 1) if near]
    found = (f"{near} units have {_count(run, task, near)}" for near in around)
    return (
        f"track matched-params: {run.model} on {run.task}: wanted {wanted} parameters, those of {reference.model}, "
        f"within {100 * TOLERANCE:g} %; {', '.join(found)}"
    )
