"""What stands beside what: task variants, sections of a leaderboard, groups of seeds.

A group is one row: runs that differ in their seed alone. A section is one table: one task with all its
options, one track, one class of budget. Only rows of one section are ranked against each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from suite.report import content, wording
from suite.report.evidence.entries import Entry
from suite.report.evidence.pairs import Paired, compare
from suite.report.evidence.statistics import Spread, describe
from suite.report.evidence.variants import Variant
from suite.runs import Run, is_set

# Recipe keys that may be set by hand without making it another recipe: compared on their own, or without effect.
_HARMLESS = ("hidden_size", "epochs", "eval_batch_size", "test_every")
OWN_BUDGET = "each recipe's own number of epochs"


def _mean(values: Collection[float]) -> float | None:
    return float(np.mean(list(values))) if values else None


@dataclass
class Group:
    """Runs that differ in their seed alone: one row of a leaderboard.

    Attributes:
        entries: in order of seed.
        failed: seeds whose last try ended in an error and that have no record.
        label: model's title, with what tells it from other groups of the model in its section.
        complete: whether it has every seed of its section.
        primary: whether it stands for its model in ranks and comparisons.
        rank: place in its section, from 1; None where it has none.
    """

    entries: list[Entry]
    failed: list[int] = field(default_factory=list)
    label: str = ""
    complete: bool = True
    primary: bool = True
    rank: float | None = None

    @property
    def run(self) -> Run:
        """The first seed's run; the others differ in the seed alone."""
        return self.entries[0].run

    @property
    def key(self) -> str:
        """``Run.group``."""
        return self.run.group

    @property
    def done(self) -> list[Entry]:
        """Entries that finished with a score."""
        return [entry for entry in self.entries if entry.score is not None]

    @property
    def diverged(self) -> list[Entry]:
        """Entries that ended in numbers that are not finite."""
        return [entry for entry in self.entries if entry.score is None]

    @property
    def seeds(self) -> set[int]:
        """Seeds with a record, diverged ones too."""
        return {entry.run.seed for entry in self.entries}

    def source_kind(self, key: str) -> str:
        """What kind of source a recipe's key has: published, adapted, tuned, default or set.

        A number that was published for other options of the task (the adding problem at another length) is adapted.
        """
        kind = str(self.entries[0].record["sources"].get(key, "default")).partition(":")[0]
        if kind == "published" and content.elsewhere(self.run.task, self.run.task_options):
            return "adapted"
        return kind

    @property
    def by_hand(self) -> list[str]:
        """Recipe keys that were set by hand, for every seed, and make it another recipe.

        A value that one seed has without being set is the recipe's own: someone wrote out a default.
        """
        every = [entry.record["sources"] for entry in self.entries]
        hand = sorted(key for key in every[0] if all(is_set(sources.get(key)) for sources in every))
        padded = self.run.task_options.get("readout") == "padded"  # there the batch makes the padding, which is read
        return [key for key in hand if key not in _HARMLESS or (padded and key == "eval_batch_size")]

    @property
    def metric(self) -> str:
        """The metric's name: accuracy, mse, or a third-party task's own."""
        return str(self.entries[0].record["metrics"]["name"])

    @property
    def higher_is_better(self) -> bool:
        """The metric's direction."""
        return bool(self.entries[0].record["metrics"]["higher_is_better"])

    @property
    def chance(self) -> float | None:
        """The metric of a constant guess, mean over seeds: where each draws its test examples it has its own."""
        return _mean(self.guesses.values())

    @property
    def guesses(self) -> dict[int, float]:
        """Seed -> metric of a constant guess, of seeds whose record has one."""
        found = {entry.run.seed: entry.record["metrics"]["chance"] for entry in self.entries}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    @cached_property
    def spread(self) -> Spread:
        """Of the finished runs' scores."""
        scores = [entry.score for entry in self.done if entry.score is not None]
        return describe(scores, self.metric, higher_is_better=self.higher_is_better)

    @property
    def scores(self) -> dict[int, float | None]:
        """Seed -> score; None for a diverged run."""
        return {entry.run.seed: entry.score for entry in self.entries}

    def mean(self, *path: str) -> float | None:
        """Mean over finished runs of one number of the record, e.g. ``mean("seconds", "train")``."""
        values = []
        for entry in self.done:
            value: Any = entry.record
            for name in path:
                value = value[name]
            if value is not None:
                values.append(float(value))
        return _mean(values)

    def seconds(self, name: str) -> float | None:
        """Mean over finished runs of one of their times (``Entry.seconds``)."""
        return _mean(self._times(name))

    @property
    def step(self) -> float | None:
        """Seconds of a training step: the median over finished runs of their medians."""
        return float(np.median(values)) if (values := self._times("step_median")) else None

    def _times(self, name: str) -> list[float]:
        return [value for entry in self.done if (value := entry.seconds(name)) is not None]


@dataclass
class Section:
    """One table of the leaderboard: groups that may be ranked against each other.

    Attributes:
        variant: the task with its options.
        track: paper, matched-params, matched-time or tuned.
        budget: the class of budget, in words.
        machine: the machine where the budget is in seconds, else None.
        groups: in order of rank, unranked ones after.
        seeds: the seeds that a complete group has.
        name: short name with the data variant.
        mark: what tells its slug from an equal one of another section, else nothing.
        against: the model that every compared pair has to hold, or None for all pairs.
    """

    variant: Variant
    track: str
    budget: str
    machine: str | None
    groups: list[Group]
    seeds: set[int] = field(default_factory=set)
    name: str = ""
    mark: str = ""
    against: str | None = None

    @property
    def slug(self) -> str:
        """For files and anchors; no two sections of a report have the same."""
        return wording.slug(f"{self.name}-{self.track}-{self.budget_slug}{self.mark}")

    @property
    def budget_slug(self) -> str:
        """The budget class for files and anchors."""
        word = "recipe" if self.budget == OWN_BUDGET else self.budget
        return word if self.machine is None else f"{word}-{self.machine}"

    @property
    def shortened(self) -> bool:
        """Whether its runs were given fewer epochs than the protocol has."""
        whole, epochs = content.task(self.variant.task)["epochs"], self.groups[0].run.budget.epochs
        return whole is not None and epochs < whole and self.budget == wording.budget(epochs, None)

    @property
    def length(self) -> str:
        """The budget in words, a shorter one than the protocol's beside it: ``12 of 120 epochs``."""
        whole = wording.budget(content.task(self.variant.task)["epochs"], None) if self.shortened else ""
        return f"{self.groups[0].run.budget.epochs} of {whole}" if whole else self.budget

    @property
    def options(self) -> Mapping[str, Any]:
        """Every option of the task."""
        return self.groups[0].run.task_options

    @property
    def metric(self) -> str:
        """The metric's name: accuracy, mse, or a third-party task's own."""
        return self.groups[0].metric

    @property
    def higher_is_better(self) -> bool:
        """The metric's direction."""
        return self.groups[0].higher_is_better

    @property
    def chance(self) -> float | None:
        """The metric of a constant guess, mean over the seeds of all groups."""
        return _mean(self.guesses.values())

    @property
    def guesses(self) -> dict[int, float]:
        """Seed -> metric of a constant guess, mean over the groups (an older record may hold its expectation)."""
        all_of = [group.guesses for group in self.groups]
        seeds = sorted({seed for one in all_of for seed in one})
        return {seed: float(np.mean([one[seed] for one in all_of if seed in one])) for seed in seeds}

    @property
    def ranked(self) -> list[Group]:
        """The groups that have a rank, best first."""
        return [group for group in self.groups if group.rank is not None]

    @cached_property
    def pairs(self) -> list[Paired]:
        """Every pair of the groups that stand for their models (with ``against``, its own), on their shared seeds."""
        labels = {one.run.model: one.label for one in self.primaries}
        if self.against is not None and self.against not in labels:
            return []
        return compare(
            {one.label: one.scores for one in self.primaries},
            higher_is_better=self.higher_is_better,
            against=None if self.against is None else labels[self.against],
        )

    @property
    def primaries(self) -> list[Group]:
        """One group a model."""
        return [group for group in self.groups if group.primary]
