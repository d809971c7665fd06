"""From entries to the sections of the leaderboard: grouped, named, labelled, ranked, in a fixed order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from suite.report import wording
from suite.report.command import is_set
from suite.report.entries import Entry
from suite.report.groups import OWN_BUDGET, Group, Section, Variant
from suite.runs import TRACKS, Run, canonical

NAMED = ("data", "length", "noise", "train_examples", "vectors")  # options that always stand in a variant's name


def budget_class(entry: Entry) -> tuple[str, str | None]:
    """The class of budget (words) and, where seconds limit it, the machine.

    Epochs that come with a recipe are part of the recipe: such runs share a class whatever their number. Epochs
    given by hand make a class of their own, a preset's runs too, and seconds compare only on one machine.
    """
    budget, preset = entry.run.budget, entry.record["where"]["preset"]
    before = f"preset {preset}, " if preset else ""
    if budget.max_seconds is not None:
        return before + wording.budget(budget.epochs, budget.max_seconds), entry.machine
    by_hand = is_set(entry.record["sources"].get("epochs", "set"))
    return before + (wording.budget(budget.epochs, None) if by_hand else OWN_BUDGET), None


def sections(entries: Sequence[Entry], failures: Sequence[Entry] = ()) -> list[Section]:
    """All records as sections of groups, named, ranked and in a fixed order."""
    held: dict[str, list[Entry]] = {}
    for entry in entries:
        held.setdefault(entry.run.group, []).append(entry)
    lost: dict[str, set[int]] = {}
    for entry in failures:
        lost.setdefault(entry.run.group, set()).add(entry.run.seed)
    tables: dict[tuple[Variant, str, str, str | None], list[Group]] = {}
    for key, members in held.items():
        group = Group(sorted(members, key=lambda entry: entry.run.seed))
        group.failed = sorted(lost.get(key, set()) - group.seeds)
        words, machine = budget_class(group.entries[0])
        tables.setdefault((Variant.of(group.run), group.run.track, words, machine), []).append(group)
    found = [Section(*key, groups=groups) for key, groups in tables.items()]
    names = variant_names([section.variant for section in found])
    for section in found:
        section.name = names[section.variant]
        _complete(section)
        _choose_primaries(section)
        _label(section)
        _rank(section)
    runs: Counter[Variant] = Counter()
    for section in found:
        runs[section.variant] += sum(len(group.entries) for group in section.groups)
    return sorted(found, key=lambda section: _order(section, runs[section.variant]))


def _order(section: Section, runs: int) -> tuple[Any, ...]:
    """Tasks in their fixed order; of a task the variant with most runs first."""
    known = list(wording.TASK_TITLES)
    task = section.variant.task
    place = known.index(task) if task in known else len(known)
    own = section.budget != OWN_BUDGET
    return place, -runs, section.name, TRACKS.index(section.track), own, section.budget, section.machine or ""


def variant_names(variants: Sequence[Variant]) -> dict[Variant, str]:
    """Short names: the task, its data variant, and the options in which variants of one task differ."""
    names: dict[Variant, str] = {}
    unique = sorted(set(variants), key=lambda variant: (variant.task, variant.version, variant.options))
    for variant in unique:
        family = [json.loads(other.options) for other in unique if other.task == variant.task]
        mine = json.loads(variant.options)
        differing = [key for key in mine if any(other.get(key, ...) != mine[key] for other in family)]
        shown = {key: mine[key] for key in mine if key in differing or (key in NAMED and mine[key] is not None)}
        versions = {other.version for other in unique if other.task == variant.task}
        words = [wording.options(shown)] if shown else []
        words += [f"task version {variant.version}"] if len(versions) > 1 else []
        names[variant] = f"{variant.task} ({'; '.join(words)})" if words else variant.task
    return names


def _complete(section: Section) -> None:
    """A section's seeds are those that at least half of its models hold; a complete group has them all."""
    by_model: dict[str, set[int]] = {}
    for group in section.groups:
        by_model.setdefault(group.run.model, set()).update(group.seeds)
    counts = Counter(seed for seeds in by_model.values() for seed in seeds)
    section.seeds = {seed for seed, count in counts.items() if 2 * count >= len(by_model)}
    for group in section.groups:
        group.complete = section.seeds <= group.seeds


def _choose_primaries(section: Section) -> None:
    """One group stands for a model: the newest version, most seeds, then the best mean validation metric.

    Never the test metric: choosing by it would make the best of several recipes look like one.
    """
    sign = 1.0 if section.higher_is_better else -1.0

    def preference(group: Group) -> tuple[Any, ...]:
        valid = group.mean("metrics", "valid")
        score = -np.inf if valid is None else sign * valid
        return group.run.model_version, len(group.seeds), score, group.key

    best: dict[str, Group] = {}
    for group in section.groups:
        group.primary = False
        known = best.get(group.run.model)
        if known is None or preference(group) > preference(known):
            best[group.run.model] = group
    for group in best.values():
        group.primary = True


def _flat(run: Run) -> dict[str, str]:
    values = {"precision": run.precision, "device": run.device_kind, "version": run.model_version}
    values |= {"epochs": run.budget.epochs, "seconds": run.budget.max_seconds}
    values |= dict(run.recipe)
    return {key: canonical(value) for key, value in values.items()} | {
        f"option {key}": canonical(value) for key, value in run.model_options.items()
    }


def _label(section: Section) -> None:
    for group in section.groups:
        title = wording.model_title(group.run.model)
        family = [_flat(other.run) for other in section.groups if other.run.model == group.run.model]
        mine = _flat(group.run)
        keys = sorted({key for other in family for key in other})
        by_hand = set(group.by_hand)
        differing = [key for key in keys if key in by_hand or any(other.get(key) != mine.get(key) for other in family)]
        words = ", ".join(f"{key}={_plain(mine.get(key))}" for key in differing)
        group.label = f"{title} [{words}]" if words else title


def _plain(text: str | None) -> str:
    return wording.MISSING if text is None else wording.option(json.loads(text))


def penalised_mean(group: Group, section: Section) -> float | None:
    """The mean that ranks rest on: a diverged run counts as a constant guess.

    Where the task names no constant guess, as the worst score of the section.
    """
    scores = [entry.score for entry in group.done if entry.score is not None]
    worst = section.chance
    if worst is None:
        known = [entry.score for other in section.groups for entry in other.done if entry.score is not None]
        worst = (min(known) if section.higher_is_better else max(known)) if known else None
    if group.diverged and worst is None:
        return None
    return float(np.mean(scores + [worst] * len(group.diverged)))


def _rank(section: Section) -> None:
    """Rank complete groups of at least two seeds, one a model; ties share the mean place."""
    candidates = [group for group in section.primaries if group.complete and len(group.seeds) > 1]
    means = {group.key: penalised_mean(group, section) for group in candidates}
    candidates = [group for group in candidates if means[group.key] is not None]
    if len(candidates) > 1:
        sign = -1.0 if section.higher_is_better else 1.0
        # Rounded, so that means that are equal but for the order of their sums tie.
        places = rankdata([round(sign * float(means[group.key] or 0.0), 12) for group in candidates])
        for group, place in zip(candidates, places):
            group.rank = float(place)
    section.groups = sorted(section.groups, key=lambda group: _place(group, section))


def _place(group: Group, section: Section) -> tuple[Any, ...]:
    mean = penalised_mean(group, section)
    sign = -1.0 if section.higher_is_better else 1.0
    return (
        group.rank is None,
        np.inf if mean is None else sign * mean,
        wording.model_title(group.run.model),
        group.key,
    )
