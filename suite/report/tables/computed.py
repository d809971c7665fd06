"""The leaderboard's tables as pandas tables: scores, pairs and times to a target, of every section at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from suite.errors import unknown
from suite.report import wording
from suite.report.evidence.described import descriptions, titles
from suite.report.evidence.entries import read, read_failures
from suite.report.evidence.groups import Section
from suite.report.evidence.pairs import Paired, compare
from suite.report.evidence.sections import sections
from suite.report.tables import leaderboard, targets

Row = Mapping[str, Any]
_TARGETS = (
    *("group", "model", "label", "epochs", "target", "runs", "reached", "seconds", "shared_device", "steps"),
    *("area", "area_low", "area_high"),
)
_SECTION = ("section", "task", "options", "variant", "track", "budget", "metric")


def _scores(section: Section) -> Iterator[Row]:
    for group in section.groups:
        yield {"primary": group.primary} | leaderboard.row(group, section)


def _pairs(section: Section, recipes: str | None = None) -> Iterator[Row]:
    models = {group.label: group.run.model for group in section.groups}
    found = section.pairs
    if recipes is not None:
        own = [group for group in section.groups if group.run.model == recipes]
        found = compare({group.label: group.scores for group in own}, higher_is_better=section.higher_is_better)
    for pair in found:
        yield {"model_a": models[pair.a], "model_b": models[pair.b]} | vars(pair)


def _targets(section: Section) -> Iterator[Row]:
    goal = targets.target(section)
    if goal is not None:
        for group in section.groups:
            yield {"group": group.key} | targets.row(group, section, goal)


def _tables(
    results_dir: Path | str, rows: Callable[[Section], Iterator[Row]], columns: Sequence[str],
    *, against: str | None = None, **named: str | None,
) -> pd.DataFrame:  # fmt: skip
    """Rows of every section, or none under these columns.

    A model that is named (by the argument that names it) has to be among the records.
    """
    folder = Path(results_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"wanted a results folder, got {results_dir}")
    entries = read(folder)
    models = {entry.run.model for entry in entries}
    for argument, name in {"against": against, **named}.items():
        if name is not None and name not in models:
            raise ValueError(f"{argument}: {unknown('model among the records', name, models)}")
    with wording.titled(titles(entries, descriptions(entries))):
        found = [
            _place(section) | {key: value for key, value in row.items() if not key.endswith("_text")}
            for section in sections(entries, read_failures(folder), against=against)
            for row in rows(section)
        ]
    return pd.DataFrame(found) if found else pd.DataFrame(columns=[*_SECTION, *columns])


def _place(section: Section) -> dict[str, Any]:
    """What every table begins with: only rows of one section may be compared."""
    values = section.slug, section.variant.task, section.variant.options, section.name, section.track, section.budget
    return dict(zip(_SECTION, (*values, section.metric), strict=True))


def load_scores(results_dir: Path | str = "results") -> pd.DataFrame:
    """The leaderboard: a row for all seeds of one model, task and recipe; in a ``section`` the ranked first, by rank.

    ``mean``, ``sd``, ``low`` and ``high`` (95 % interval) are of the finished seeds' test scores; ``rank`` is the place
    in the section; ``primary`` marks the one recipe that stands for its model. ``group`` joins ``load_runs``; where
    seconds end the training it has a row a machine, and ``machine`` joins too.

    Raises:
        suite.record.RecordError: naming the first record that is not valid.
        FileNotFoundError: there is no such folder.
    """
    return _tables(results_dir, _scores, [key for one in leaderboard.columns("") for key in (one.key, *one.more)])


def load_pairs(
    results_dir: Path | str = "results", *, against: str | None = None, recipes: str | None = None
) -> pd.DataFrame:
    """Pairs of models on their shared seeds: a row a pair of a ``section``; see ``suite.report.evidence.pairs.Paired``.

    Args:
        results_dir: the results folder.
        against: a model that stands in every pair, so that there are fewer of them to correct for; None: all pairs.
        recipes: a model whose recipes are compared with each other, in place of models; p is corrected over these.

    Raises:
        suite.record.RecordError: naming the first record that is not valid.
        FileNotFoundError: there is no such folder.
        ValueError: no record is of the model ``against`` or ``recipes``, or both are given.
    """
    if against is not None and recipes is not None:
        raise ValueError("wanted against or recipes, got both")
    columns = ["model_a", "model_b", *(field.name for field in fields(Paired))]
    return _tables(results_dir, partial(_pairs, recipes=recipes), columns, against=against, recipes=recipes)


def load_targets(results_dir: Path | str = "results") -> pd.DataFrame:
    """How fast models learn: a row for all seeds of one model, task and recipe, where the task has a target score.

    ``seconds`` and ``steps`` are medians over runs, missing where half of them or more never reached ``target``;
    ``area`` is the mean validation score over training, with its 95 % interval. ``group`` as in ``load_scores``.

    Raises:
        suite.record.RecordError: naming the first record that is not valid.
        FileNotFoundError: there is no such folder.
    """
    return _tables(results_dir, _targets, _TARGETS)
