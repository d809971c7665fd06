"""The overview: a row a section, a column a model; a README shows that of track paper, the first page that of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from suite.report import content, wording
from suite.report.evidence.groups import OWN_BUDGET, Group, Section
from suite.report.evidence.sections import representatives
from suite.report.tables.leaderboard import fallen
from suite.report.tables.table import Column, Table

UNTUNED = "‡"
COUNTS = ("solved", "fell", "lost")  # seeds


def kept(sections: Sequence[Section]) -> list[Section]:
    """The sections that an overview tells, each with one group a model.

    Left out are recipes that were changed by hand, and sections all of whose models have longer runs in another one.
    """
    told = [replace(section, groups=_told(section)) for section in sections]
    told = [section for section in told if section.groups]
    return [section for section in told if not _outdone(section, told)]


def _told(section: Section) -> list[Group]:
    plain = [group for group in section.groups if not group.by_hand]
    chosen = representatives(plain, higher_is_better=section.higher_is_better)
    return [group if group.primary else replace(group, primary=True) for group in chosen]


def _outdone(section: Section, others: Sequence[Section]) -> bool:
    """Whether all models of the section have longer runs on the same variant, with as many units and seeds."""

    def longer(group: Group) -> bool:
        return any(
            (other.variant, other.track) == (section.variant, section.track)
            and one.run.model == group.run.model
            and one.run.recipe.get("hidden_size") == group.run.recipe.get("hidden_size")
            and len(one.done) >= len(group.done)
            and one.run.budget.max_seconds is None
            and one.run.budget.epochs > group.run.budget.epochs
            for other in others
            for one in other.groups
        )

    return all(longer(group) for group in section.groups)


def headline(sections: Sequence[Section]) -> list[Section]:
    """One of the sections a task: of track paper, with most models, then most seeds, then the longest training."""
    best: dict[str, Section] = {}
    for section in sections:
        known = best.setdefault(section.variant.task, section)
        if _weight(section) > _weight(known):
            best[section.variant.task] = section
    return list(best.values())


def _weight(section: Section) -> tuple[bool, int, int, int]:
    finished = [len(group.done) for group in section.groups]
    epochs = max(group.run.budget.epochs for group in section.groups)
    return section.track == "paper", sum(map(bool, finished)), sum(finished), epochs


def lengths(sections: Sequence[Section]) -> str:
    """How much of their protocols the records are, and what they can tell apart."""
    groups = [(group, _whole(section)) for section in sections for group in section.groups]
    whole = [group for group, full in groups if full]
    tasks = ", ".join(sorted({group.run.task for group in whole})) or "none"
    alone = sum(len(group.seeds) == 1 for group, _ in groups)
    pairs = [pair for section in sections for pair in section.pairs if pair.p is not None]
    runs, full = (sum(len(group.entries) for group in some) for some in ([group for group, _ in groups], whole))
    seconds = sum(entry.seconds("train") or 0.0 for group, _ in groups for entry in group.entries)
    return (
        f"Runs: {runs}, {wording.seconds(seconds)} of training; with all epochs of their protocol: {full} ({tasks})."
        " The others have fewer, or another budget: they show how models begin to learn, not where they end."
        f" Settings (model, recipe, task, budget; those set by hand too): {len(groups)}; with one seed, which says"
        f" nothing of the next one: {alone}. Pairs of models with seeds enough for a corrected test: {len(pairs)};"
        f" told apart by it: {sum(pair.verdict.endswith(' better') for pair in pairs)}."
    )


def _whole(section: Section) -> bool:
    """Whether the section's runs had all epochs of the task's protocol; of a plug-in's recipe, where none is known."""
    protocol = content.task(section.variant.task)["epochs"]
    if protocol is None or section.machine is not None:
        return section.budget == OWN_BUDGET
    return all(group.run.budget.epochs >= protocol for group in section.groups)


def tables(sections: Sequence[Section], *, rest: str) -> list[Table]:
    """The ``kept`` sections: the table of one a task (``headline``), and below it that of the others, if there are any.

    Args:
        sections: as ``kept`` gives them.
        rest: where all that is not kept is.
    """
    first = headline(sections)
    others = [section for section in sections if all(section is not one for one in first)]
    models = _models(sections)
    made = [table(first, rest=rest, models=models, noted=sections)] if first else []
    if others:
        more, note = "Longer and shorter runs, other sizes, data and splits", "Read as the table above."
        made.append(replace(table(others, rest=rest, models=models), name="overview-more", title=more, note=note))
    return made


def _models(sections: Sequence[Section]) -> list[str]:
    return wording.model_order(group.run.model for section in sections for group in section.groups)


def table(
    sections: Sequence[Section], *, rest: str, models: Sequence[str] = (), noted: Sequence[Section] = ()
) -> Table:
    """The table of ``kept`` sections.

    Args:
        sections: a row each.
        rest: where all others are.
        models: the columns, else those of the sections.
        noted: whose marks and sizes the note explains, else the sections alone.
    """
    models = models or _models(sections)
    groups = [group for section in noted or sections for group in section.groups]
    rows = []
    for section in sections:
        row: dict[str, Any] = {"task": name(section), "page": f"#{section.slug}", "metric": section.metric}
        for model in models:
            group = next((group for group in section.groups if group.run.model == model), None)
            row |= _cell(model, group)
        rows.append(row | {"guess": section.chance, "guess_written": _guess(section)})
    columns = [
        Column("task", "task", left=True, head=True, link="page", wrap=True, more=("metric",)),
        Column("guess", "constant guess", "guess_written"),
    ]
    for model in models:
        further = tuple(f"{model}_{key}" for key in ("sd", "finished", *COUNTS))
        columns.append(Column(f"{model}_mean", wording.model_title(model), f"{model}_text", more=further, wrap=True))
    units = ", ".join(dict.fromkeys(wording.metric_unit(section.metric) for section in sections))
    goal = " Solved: test error below 0.05." if any("solved" in written(group) for group in groups) else ""
    untuned = (
        f" {UNTUNED}: its learning rate is the suite's default, neither published for a task like this nor tuned."
        if any(UNTUNED in written(group) for group in groups)
        else ""
    )
    note = (
        f"Test score ({units}): mean ± standard deviation over seeds, in brackets"
        " the number of finished seeds, at the epoch with the best validation score. Lost: diverged or failed, not"
        " in that mean (where models are ranked, a diverged run counts as a constant guess or the worst score)."
        " Fell: by the last epoch a seed lost over half of what its best epoch was better than chance (validation; only"
        " where that was a fifth of the way to a perfect score or more)."
        " Constant guess: its score (mean over seeds where each has its own test examples), ↑ where more is better, ↓"
        f" where less is.{untuned}"
        f" –: no run with the model's own recipe.{goal}{_sizes(noted or sections)} Recipes of which more than size and"
        f" epochs was set by hand, and rows of which every model has longer runs here, are {rest}."
    )
    return Table("overview", "All tasks and models", columns, rows, note)


def _sizes(sections: Sequence[Section]) -> str:
    """How far the models of a row are apart in size, where they are not matched."""
    unequal = []
    for section in sections:
        sizes = [int(group.entries[0].record["size"]["parameters"]) for group in section.groups]
        if section.track != "matched-params" and sizes and min(sizes) > 0:
            unequal.append(max(sizes) / min(sizes))
    if max(unequal, default=1.0) <= 1.5:
        return ""
    times = f"{max(unequal):.0f}" if max(unequal) >= 2 else f"{max(unequal):.1f}"
    return f" Sizes are not matched: of a row the largest model has up to {times} times the parameters of the smallest."


def _guess(section: Section) -> str:
    """The score of a constant guess, and which way is better."""
    arrow = "↑" if section.higher_is_better else "↓"
    return arrow if section.chance is None else f"{arrow} {wording.metric(section.chance, section.metric)}"


def name(section: Section) -> str:
    """A section in a few words: variant, units, epochs, and the track if it is not the paper's."""
    sizes = sorted({int(group.run.recipe["hidden_size"]) for group in section.groups})
    words = [section.name, f"H={', '.join(map(str, sizes))}", trained(section)]
    words += [f"track {section.track}"] if section.track != "paper" else []
    words += [section.machine] if section.machine is not None else []
    return ", ".join(words)


def trained(section: Section) -> str:
    """The length of training in words, in epochs where each recipe has its own number."""
    epochs = sorted({group.run.budget.epochs for group in section.groups})
    return f"{wording.seeds(epochs)} epochs" if section.budget == OWN_BUDGET else section.length


def _cell(model: str, group: Group | None) -> dict[str, Any]:
    """A model's part of a row."""
    values: dict[str, Any] = dict.fromkeys(("mean", "sd", "finished", *COUNTS)) | {"text": wording.MISSING}
    if group is not None:
        values |= {"mean": group.spread.mean, "sd": group.spread.sd, "finished": len(group.done)}
        lost = len(group.diverged) + len(group.failed)
        values |= {"solved": _solved(group), "fell": fallen(group), "lost": lost, "text": written(group)}
    return {f"{model}_{key}": value for key, value in values.items()}


def _solved(group: Group) -> int | None:
    """Finished seeds with an error at the task's goal; None where an accuracy is the metric, or there is no goal."""
    goal = content.task(group.run.task)["target"]
    if group.higher_is_better or goal is None:
        return None
    return sum((entry.score or 0.0) <= goal for entry in group.done)


def written(group: Group) -> str:
    """Mean and standard deviation, with the number of seeds, of solved ones, of those that fell, and of lost ones.

    Marked where the learning rate is the suite's default.
    """
    spread, lost, solved = group.spread, len(group.diverged) + len(group.failed), _solved(group)
    count = str(len(group.done))
    if solved is not None and len(group.done) > 1:  # here a mean hides that seeds differ
        count += f"; {solved} solved"
    fell = fallen(group)
    count += f"; {fell} fell" if fell else ""
    count += f"; {lost} lost" if lost else ""
    mark = UNTUNED if group.done and group.source_kind("lr") == "default" else ""
    return f"{wording.spread(spread.mean, spread.sd, group.metric)}{mark} ({count})"
