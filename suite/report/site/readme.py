"""The summary that a README carries: every section in one row, written between two marks of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from suite.errors import UsageError
from suite.report import content, wording
from suite.report.evidence.groups import OWN_BUDGET, Group, Section
from suite.report.evidence.sections import better_by_hand, representatives
from suite.report.tables import beside, comparisons
from suite.report.tables.table import Column, Table, markdown
from suite.store import write_atomic

START = "<!-- results: from here on made by python -m suite.report --readme -->"
END = "<!-- end of results -->"


def digest(sections: Sequence[Section]) -> str:
    """Two Markdown tables: mean test score of each model in each section, and ours beside published recipes.

    Only track ``paper`` is told, recipes that nobody changed by hand, and of a model the longest training: the rest is
    on the pages.
    """
    told = [replace(section, groups=_told(section)) for section in sections if section.track == "paper"]
    told = [section for section in told if section.groups]
    kept = [section for section in told if not _outdone(section, told)]
    cited = _cited(kept)
    shown = [section for section in sections if section.track == "paper"]
    rows = {section.slug for section in kept}
    better = [line for section in shown if section.slug in rows for line in _better_by_hand(section)]
    return "\n".join([_lengths(shown), "", _body(_scores(kept)), *better, *([_body(cited)] if cited.rows else [])])


def _lengths(sections: Sequence[Section]) -> str:
    """How much of their protocols the records are, and what they can tell apart."""
    groups = [(group, _whole(section)) for section in sections for group in section.groups]
    whole = [group for group, full in groups if full]
    tasks = ", ".join(sorted({group.run.task for group in whole})) or "none"
    alone = sum(len(group.seeds) == 1 for group, _ in groups)
    pairs = [pair for section in sections for pair in section.pairs if pair.p is not None]
    return (
        f"Runs: {sum(len(group.entries) for group, _ in groups)}; with all epochs of their protocol:"
        f" {sum(len(group.entries) for group in whole)} ({tasks}); the others have fewer."
        f" Settings (model, recipe, task, budget): {len(groups)}; with one seed: {alone}."
        f" Pairs of models with seeds enough for a corrected test: {len(pairs)};"
        f" told apart by it: {sum(pair.verdict.endswith(' better') for pair in pairs)}."
    )


def _whole(section: Section) -> bool:
    """Whether the section's runs had all epochs of the task's protocol; of a plug-in's recipe, where none is known."""
    protocol = content.task(section.variant.task)["epochs"]
    if protocol is None or section.machine is not None:
        return section.budget == OWN_BUDGET
    return all(group.run.budget.epochs >= protocol for group in section.groups)


def _better_by_hand(section: Section) -> list[str]:
    """What recipes set by hand reach that do better on validation data than the one of their model in the table."""
    better = better_by_hand(section)
    names = [f"{_name(replace(section, groups=[group]))}, {group.label}" for group in better]
    return [
        f"Set by hand, and better on validation data: {name}: {_cell(group)}.\n" for name, group in zip(names, better)
    ]


def _body(table: Table) -> str:
    """The table without its heading."""
    return markdown(table).split("\n", 2)[2]


def _told(section: Section) -> list[Group]:
    plain = [group for group in section.groups if not group.by_hand]
    chosen = representatives(plain, higher_is_better=section.higher_is_better)
    return [replace(group, primary=True) for group in chosen]


def _outdone(section: Section, others: Sequence[Section]) -> bool:
    """Whether all models of the section have longer runs on the same variant, with as many units and seeds."""

    def longer(group: Group) -> bool:
        return any(
            other.variant == section.variant
            and one.run.model == group.run.model
            and one.run.recipe.get("hidden_size") == group.run.recipe.get("hidden_size")
            and len(one.done) >= len(group.done)
            and one.run.budget.max_seconds is None
            and one.run.budget.epochs > group.run.budget.epochs
            for other in others
            for one in other.groups
        )

    return all(longer(group) for group in section.groups)


def _scores(sections: Sequence[Section]) -> Table:
    models = wording.model_order(group.run.model for section in sections for group in section.groups)
    rows = []
    for section in sections:
        cells = {group.run.model: _cell(group) for group in section.groups}
        rows.append({"task": _name(section)} | {model: cells.get(model, wording.MISSING) for model in models})
    columns = [Column("task", "task", left=True)] + [Column(model, wording.model_title(model)) for model in models]
    note = (
        "Test accuracy in % (adding problem: mean squared error): mean ± standard deviation over seeds, in brackets"
        " the number of finished seeds, at the epoch with the best validation score. Lost: diverged or failed, not"
        " in that mean (in the pages' ranks a diverged run counts as a constant guess or the worst score)."
        " –: not run. Solved: test error below 0.05. Recipes of which more than size and epochs was set by hand, and"
        " rows of which every model has longer runs here, are on the pages."
    )
    return Table("readme", "", columns, rows, note)


def _name(section: Section) -> str:
    epochs = sorted({group.run.budget.epochs for group in section.groups})
    budget = f"{wording.seeds(epochs)} epochs" if section.budget == OWN_BUDGET else section.length
    sizes = sorted({int(group.run.recipe["hidden_size"]) for group in section.groups})
    return f"{section.name}, H={', '.join(map(str, sizes))}, {budget}"


def _cell(group: Group) -> str:
    spread, lost = group.spread, len(group.diverged) + len(group.failed)
    goal = content.task(group.run.task)["target"]
    solved = ""
    if not group.higher_is_better and goal is not None and len(group.done) > 1:  # here a mean hides that seeds differ
        solved = f"; {sum((entry.score or 0.0) <= goal for entry in group.done)} solved"
    count = f"{len(group.done)}{solved}" + (f"; {lost} lost" if lost else "")
    if spread.mean is None:
        return f"{wording.MISSING} ({count})"
    text = wording.metric(spread.mean, group.metric)
    spread_text = "" if spread.sd is None else f" ± {wording.metric(spread.sd, group.metric)}"
    return f"{text}{spread_text} ({count})"


def _cited(sections: Sequence[Section]) -> Table:
    """The published figures whose source gives a recipe, each beside the group of ours that comes nearest."""
    rows = []
    for section in sections:
        for comparison in beside.headlines(section).values():
            if not comparison.published.recipe or comparison.ours is None:
                continue
            group = comparison.group
            rows.append(
                {
                    "task": _name(section),
                    "model": group.label,
                    "ours": f"{wording.metric(comparison.ours, group.metric)} ({len(comparison.scores)})",
                    "published": comparisons.printed(comparison.published),
                    "verdict": comparison.verdict,
                    "why": comparison.reasons,
                }
            )
    columns = [
        Column("task", "task", left=True),
        Column("model", "model", left=True),
        Column("ours", "ours (seeds)"),
        Column("published", "published"),
        Column("verdict", "verdict", left=True),
        Column("why", "why", left=True),
    ]
    note = "Ours is of the epoch that the source takes: beside logs the last one, else the best on validation data."
    return Table("readme-published", "", columns, rows, note)


def insert(path: Path, text: str) -> None:
    """Put the summary between the marks of a Markdown file.

    Raises:
        UsageError: the file cannot be read, or lacks a mark.
        suite.errors.CannotWrite: the file cannot be written.
    """
    try:
        old = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--readme: cannot read {path}: {error}") from error
    before, start, rest = old.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise UsageError(f"--readme: wanted a line {START!r} and after it {END!r}, got neither or one in {path}")
    new = f"{before}{START}\n\n{text.strip()}\n\n{END}{after}"
    if new != old:
        write_atomic(path, new)
