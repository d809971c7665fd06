"""The summary that a README carries: every section in one row, written between two marks of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from suite.errors import UsageError
from suite.report import wording
from suite.report.evidence.groups import Section
from suite.report.evidence.sections import better_by_hand
from suite.report.evidence.variants import Variant
from suite.report.tables import beside, comparisons, overview
from suite.report.tables.beside import Comparison
from suite.report.tables.table import Column, Table, markdown
from suite.store import write_atomic

START = "<!-- results: from here on made by python -m suite.report --readme -->"
END = "<!-- end of results -->"


def digest(sections: Sequence[Section]) -> str:
    """Two Markdown tables: mean test score of each model in each section, and ours beside published recipes.

    Only track ``paper`` is told, recipes that nobody changed by hand, and of a model the longest training: the rest is
    on the pages.
    """
    shown = [section for section in sections if section.track == "paper"]
    kept = overview.kept(shown)
    cited = _cited(kept)
    rows = {section.slug for section in kept}
    better = [line for section in shown if section.slug in rows for line in _better_by_hand(section)]
    scores = [_titled(table) for table in overview.tables(kept, rest="on the pages")]
    return "\n".join([overview.lengths(shown), "", *scores, *better, *([_body(cited)] if cited.rows else [])])


def _better_by_hand(section: Section) -> list[str]:
    """What recipes set by hand reach that do better on validation data than the one of their model in the table."""
    better = better_by_hand(section.groups, higher_is_better=section.higher_is_better)
    names = [f"{overview.name(replace(section, groups=[group]))}, {group.label}" for group in better]
    return [
        f"Set by hand, and better on validation data: {name}: {overview.written(group)}.\n"
        for name, group in zip(names, better)
    ]


def _titled(table: Table) -> str:
    """The table with its title as a line of bold letters: headings are the README's own."""
    return f"**{table.title}**\n\n{_body(table)}"


def _body(table: Table) -> str:
    """The table without its heading."""
    return markdown(table).split("\n", 2)[2]


def _nearness(comparison: Comparison) -> tuple[bool, bool, bool, int]:
    """How near a group of ours comes to its published figure: comparable, of its size, not cut by a clock, longest."""
    run = comparison.group.run
    size = comparison.published.hidden_units == run.recipe.get("hidden_size")
    return comparison.verdict != "not comparable", size, run.budget.max_seconds is None, run.budget.epochs


def _cited(sections: Sequence[Section]) -> Table:
    """The published figures whose source gives a recipe, each beside the group of ours that comes nearest."""
    best: dict[tuple[Variant, str], tuple[Section, Comparison]] = {}
    for section in sections:
        for comparison in beside.headlines(section).values():
            if not comparison.published.recipe or comparison.ours is None:
                continue
            key = (section.variant, comparison.group.run.model)
            if key not in best or _nearness(comparison) > _nearness(best[key][1]):
                best[key] = (section, comparison)
    rows = [
        {
            "task": overview.name(section),
            "model": comparison.group.label,
            "ours": f"{wording.metric(comparison.ours, section.metric)} ({len(comparison.scores)})",
            "published": comparisons.printed(comparison.published),
            "verdict": comparison.verdict,
            "why": comparison.reasons,
        }
        for section, comparison in best.values()
    ]
    columns = [
        Column("task", "task", left=True),
        Column("model", "model", left=True),
        Column("ours", "ours (seeds)"),
        Column("published", "published"),
        Column("verdict", "verdict", left=True),
        Column("why", "why", left=True),
    ]
    note = (
        "Ours is of the epoch that the source takes: beside logs the last one, else the best on validation data."
        " Other sizes and shorter runs of the same model and data, and figures without a published recipe, are on the"
        " pages."
    )
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
