"""The first page: every task at a glance, the overview, all tables, and what holds across tasks; also as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from suite.report import content
from suite.report.plots import decay, glance
from suite.report.site.site import Site
from suite.report.site.views import View, filters
from suite.report.tables import across, overview
from suite.report.tables.table import Table, markdown


def write(site: Site, views: Sequence[View]) -> None:
    """Write the page and its Markdown; sections that the overview leaves out stand last, folded."""
    sections = [view.section for view in views]
    kept = overview.kept(sections)
    glances = [site.table(table) for table in overview.tables(kept, rest="in the tables of the leaderboard")]
    chosen = overview.headline(kept)
    figures = [glance.glance(chosen, site.looks, whole=sections), decay.decay(chosen)]
    lengths = overview.lengths(sections)
    combined = [site.table(table) for table in across.tables(sections)]
    shown = {section.slug for section in kept or sections}
    main = [view for view in views if view.section.slug in shown]
    more = [view for view in views if view.section.slug not in shown]
    site.page(
        "index.html",
        "index.html",
        title="Leaderboard",
        overviews=glances,
        figures=[site.plot(plot) for plot in figures if plot is not None],
        lengths=lengths,
        main=main,
        more=more,
        filters=filters(views),
        across=combined,
        conflicts=site.conflicts,
    )
    tables = [*glances, *(view.short for view in [*main, *more]), *combined]
    names = dict.fromkeys(view.section.variant.task for view in views)
    findings = {content.task(name)["title"] or name: site.findings[name] for name in names if name in site.findings}
    hint = "What was found about these runs stands [at the end](#findings)." if findings else ""
    site.write("leaderboard.md", _markdown(tables, [site.stand, site.conflicts, lengths, hint], findings))


def _markdown(tables: Sequence[Table], sentences: Sequence[str], findings: Mapping[str, Sequence[str]]) -> str:
    """The leaderboard for a README; then what people wrote about the records, by task."""
    lines = ["# Leaderboard", ""]
    lines += [line for sentence in sentences if sentence for line in (sentence, "")]
    lines += [markdown(table) for table in tables]
    lines += ["## Findings", ""] if findings else []
    for title, texts in findings.items():
        lines += [f"### {title}", "", *(f"- {text}" for text in texts), ""]
    return "\n".join(lines).rstrip() + "\n"
