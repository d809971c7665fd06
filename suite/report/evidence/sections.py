"""From entries to the sections of the leaderboard: grouped, named, labelled, ranked, in a fixed order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import rankdata

from suite.report import wording
from suite.report.evidence.entries import Entry
from suite.report.evidence.groups import OWN_BUDGET, Group, Section
from suite.report.evidence.statistics import grain, tied
from suite.report.evidence.variants import Variant
from suite.runs import LATER, TRACKS, Run, canonical, is_set

NAMED = ("data", "length", "noise", "train_examples", "vectors")  # options that always stand in a variant's name


def budget_class(entries: Sequence[Entry]) -> str:
    """The class of budget of one group's runs, in words.

    Epochs that come with a recipe are part of the recipe: such runs share a class whatever their number. Epochs
    given by hand (for every seed) make a class of their own, a preset's runs too, and so does every limit in seconds.
    """
    budget, presets = entries[0].run.budget, {entry.record["where"]["preset"] for entry in entries}
    before = f"preset {presets.pop()}, " if len(presets) == 1 and None not in presets else ""
    if budget.max_seconds is not None:
        return before + wording.budget(budget.epochs, budget.max_seconds)
    by_hand = all(is_set(entry.record["sources"].get("epochs", "set")) for entry in entries)
    return before + (wording.budget(budget.epochs, None) if by_hand else OWN_BUDGET)


def _group_of(entry: Entry) -> tuple[str, str | None]:
    """What runs of one group share: all but the seed, and the machine where seconds limit the training."""
    return entry.run.group, None if entry.run.budget.max_seconds is None else entry.machine


def sections(entries: Sequence[Entry], failures: Sequence[Entry] = (), *, against: str | None = None) -> list[Section]:
    """All records as sections of groups, named, ranked and in a fixed order; pairs only with ``against``, if given."""
    held: dict[tuple[str, str | None], list[Entry]] = {}
    for entry in entries:
        held.setdefault(_group_of(entry), []).append(entry)
    lost: dict[tuple[str, str | None], set[int]] = {}
    for entry in failures:
        lost.setdefault(_group_of(entry), set()).add(entry.run.seed)
    tables: dict[tuple[Variant, str, str, str | None], list[Group]] = {}
    for key, members in held.items():
        group = Group(sorted(members, key=lambda entry: entry.run.seed))
        group.failed = sorted(lost.get(key, set()) - group.seeds)
        place = (Variant.of(group.run), group.run.track, budget_class(group.entries), key[1])
        tables.setdefault(place, []).append(group)
    found = [Section(*key, groups=groups, against=against) for key, groups in tables.items()]
    names = variant_names([section.variant for section in found])
    slugs: set[str] = set()
    for section in sorted(found, key=lambda section: section.variant.options):
        section.name = names[section.variant]
        section.mark = wording.free(section.slug, slugs).removeprefix(section.slug)
        slugs.add(section.slug)
    for section in found:
        _complete(section)
        _choose_primaries(section)
        _label(section)
        _rank(section)
    runs: Counter[Variant] = Counter()
    for section in found:
        runs[section.variant] += sum(len(group.entries) for group in section.groups)
    return sorted(found, key=lambda section: _order(section, runs[section.variant]))


def _order(section: Section, runs: int) -> tuple[Any, ...]:
    """Tasks in their fixed order; of a task the variant with most runs first, of a variant the longest training."""
    known = list(wording.TASK_TITLES)
    task = section.variant.task
    place = known.index(task) if task in known else len(known)
    own = section.budget != OWN_BUDGET
    epochs = max(group.run.budget.epochs for group in section.groups)
    track = TRACKS.index(section.track)
    return place, -runs, section.name, track, own, -epochs, section.budget, section.machine or ""


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
    """A section's seeds are those that most of its models hold; a complete group has them all.

    Seeds that half of them or fewer hold come from a grid that stopped on the way, or from more runs of a few models:
    they take no rank from the others.
    """
    by_model: dict[str, set[int]] = {}
    for group in section.groups:
        by_model.setdefault(group.run.model, set()).update(group.seeds)
    counts = Counter(seed for seeds in by_model.values() for seed in seeds)
    section.seeds = {seed for seed, count in counts.items() if 2 * count > len(by_model)}
    for group in section.groups:
        group.complete = bool(section.seeds) and section.seeds <= group.seeds


def representatives(groups: Sequence[Group], *, higher_is_better: bool) -> list[Group]:
    """One group a model: newest version, most seeds, not set by hand, fewest diverged, best validation mean.

    Never the test metric: choosing by it would make the best of several recipes look like one. A recipe that was tried
    on the command line takes the place of the model's own only where it has more seeds.
    """

    def preference(group: Group) -> tuple[Any, ...]:
        score = _valid(group, higher_is_better=higher_is_better)
        return group.run.model_version, len(group.seeds), not group.by_hand, -len(group.diverged), score, group.key

    best: dict[str, Group] = {}
    for group in groups:
        known = best.get(group.run.model)
        if known is None or preference(group) > preference(known):
            best[group.run.model] = group
    return list(best.values())


def _valid(group: Group, *, higher_is_better: bool) -> float:
    """The mean validation metric of the finished runs, larger being better."""
    mean = group.mean("metrics", "valid")
    return -np.inf if mean is None else mean if higher_is_better else -mean


def better_by_hand(groups: Sequence[Group], *, higher_is_better: bool) -> list[Group]:
    """Of each model the best recipe set by hand that, on as many seeds, beats the model's own on validation data."""
    valid = partial(_valid, higher_is_better=higher_is_better)
    found = []
    own = [group for group in groups if not group.by_hand]
    for group in representatives(own, higher_is_better=higher_is_better):
        others = [other for other in groups if other.by_hand and other.run.model == group.run.model]
        best = max((other for other in others if len(other.done) >= len(group.done)), key=valid, default=group)
        if valid(best) > valid(group):
            found.append(best)
    return found


def _choose_primaries(section: Section) -> None:
    """Mark the groups that stand for their models."""
    chosen = representatives(section.groups, higher_is_better=section.higher_is_better)
    for group in section.groups:
        group.primary = any(group is one for one in chosen)


def _flat(run: Run) -> dict[str, str]:
    values = {"precision": run.precision, "device": run.device_kind, "version": run.model_version}
    values |= {"epochs": run.budget.epochs, "seconds": run.budget.max_seconds}
    values |= {key: value for key, value in LATER.items() if _counts(key, run)} | dict(run.recipe)
    return {key: canonical(value) for key, value in values.items()} | {
        f"option {key}": canonical(value) for key, value in run.model_options.items()
    }


def _counts(key: str, run: Run) -> bool:
    """Whether a key that a recipe leaves out has a meaning there."""
    return not key.startswith("sgd_") or run.recipe.get("optimizer") == "sgd"


def _label(section: Section) -> None:
    for group in section.groups:
        title = wording.model_title(group.run.model)
        family = [_flat(other.run) for other in section.groups if other.run.model == group.run.model]
        mine = _flat(group.run)
        keys = sorted({key for other in family for key in other})
        by_hand = set(group.by_hand)
        rivals = {key: [other.get(key) for other in family if key in other or key not in LATER] for key in keys}
        differing = [key for key in keys if key in by_hand or any(other != mine.get(key) for other in rivals[key])]
        words = ", ".join(f"{key}={_plain(mine.get(key))}" for key in differing if key in mine or key not in LATER)
        group.label = f"{title} [{words}]" if words else title
    models: dict[str, set[str]] = {}
    for group in section.groups:
        models.setdefault(group.label, set()).add(group.run.model)
    for group in section.groups:  # a plug-in may have the title of another model for its name
        if len(models[group.label]) > 1:
            group.label += f" ({group.run.model})"


def _plain(text: str | None) -> str:
    return wording.MISSING if text is None else wording.option(json.loads(text))


def penalised_mean(group: Group, section: Section) -> float | None:
    """The mean that ranks rest on: a diverged run counts as a constant guess, or as a worse score that a run came to.

    A run that finished below a constant guess must not lie behind one that was lost.
    """
    scores = [entry.score for entry in group.done if entry.score is not None]
    rivals = [group, *_candidates(section)]
    known = [entry.score for other in rivals for entry in other.done if entry.score is not None]
    known += [] if section.chance is None else [section.chance]
    worst = (min(known) if section.higher_is_better else max(known)) if known else None
    if group.diverged and worst is None:
        return None
    return float(np.mean(scores + [worst] * len(group.diverged)))


def _candidates(section: Section) -> list[Group]:
    """What can be ranked: complete groups of at least two seeds, one a model."""
    return [group for group in section.primaries if group.complete and len(group.seeds) > 1]


def _rank(section: Section) -> None:
    """Rank the candidates; ties share the mean place."""
    candidates = _candidates(section)
    means = {group.key: penalised_mean(group, section) for group in candidates}
    candidates = [group for group in candidates if means[group.key] is not None]
    if len(candidates) > 1:
        sign = -1.0 if section.higher_is_better else 1.0
        found = [float(means[group.key] or 0.0) for group in candidates]
        places = rankdata(tied([sign * mean for mean in found], grain(found)))  # equal but for rounding: a tie
        for group, place in zip(candidates, places):
            group.rank = float(place)
    section.groups = sorted(section.groups, key=lambda group: _place(group, section))


def _place(group: Group, section: Section) -> tuple[Any, ...]:
    mean = penalised_mean(group, section)
    sign = -1.0 if section.higher_is_better else 1.0
    return (
        group.rank is None,
        not group.done,
        np.inf if mean is None else sign * mean,
        wording.model_title(group.run.model),
        group.key,
    )
