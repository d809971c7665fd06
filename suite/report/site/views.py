"""A section made ready for pages: its tables and figures, drawn once and used wherever they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from suite.report import wording
from suite.report.evidence import published
from suite.report.evidence.groups import Group, Section
from suite.report.plots import diagnostics, gradients, learning, steps
from suite.report.plots.common import Plot
from suite.report.sharing import shared
from suite.report.site.site import Site
from suite.report.style import Look
from suite.report.tables import comparisons, leaderboard, targets
from suite.report.tables.table import Table


@dataclass
class View:
    """What pages show of a section.

    Attributes:
        section: the section.
        full: its whole table.
        short: the columns that fit the first page.
        published: ours beside published figures, or None.
        targets: time to a target score and area under the curve, or None.
        pairs: paired comparisons, or None.
        plots: its figures, in order.
        diagnostics: what each model measured of itself, by the key of its group, for the models' pages.
        task: the task's description.
        page: path of the task's page.
    """

    section: Section
    full: Table
    short: Table
    published: Table | None
    targets: Table | None
    pairs: Table | None
    plots: list[Plot]
    diagnostics: Mapping[str, Plot | None]
    task: Mapping[str, Any]
    page: str

    @property
    def heading(self) -> str:
        """Variant, track and budget in one line."""
        return leaderboard.heading(self.section)

    @property
    def options(self) -> str:
        """Every option of the task."""
        return wording.options(self.section.options)

    @property
    def data(self) -> str:
        """What the runs themselves say of their data: variant, provenance of the files, normalisation."""
        said = [entry.record["where"]["data"] for group in self.section.groups for entry in group.entries]
        return "; or ".join(dict.fromkeys(wording.options(values) for values in said))


def views(found: Sequence[Section], site: Site, *, processes: int = 1) -> list[View]:
    """Make each section's tables and figures and write their files; figures are drawn in so many processes."""
    groups = [(section, group) for section in found for group in section.groups if group.primary]
    pieces: list[Callable[[], Sequence[Plot | None]]] = [partial(figures, section, site.looks) for section in found]
    pieces += [partial(_measured, section, group, site.looks) for section, group in groups]
    made = shared(pieces, processes)
    measured = {(id(section), group.key): plot for (section, group), (plot,) in zip(groups, made[len(found) :])}
    return [
        _view(section, site, plots, {group.key: measured.get((id(section), group.key)) for group in section.groups})
        for section, plots in zip(found, made)
    ]


def _measured(section: Section, group: Group, looks: Mapping[str, Look]) -> list[Plot | None]:
    return [diagnostics.diagnostics(section, group, looks)]


def _view(section: Section, site: Site, plots: Sequence[Plot | None], measured: Mapping[str, Plot | None]) -> View:
    full = leaderboard.table(section)
    short = site.table(leaderboard.short(section, full))
    full = site.table(replace(full, name=f"{full.name}-full"))
    return View(
        section=section,
        full=leaderboard.spoken(full),
        short=short,
        published=_kept(comparisons.published_table(section), site),
        targets=_kept(targets.table(section), site),
        pairs=_kept(comparisons.pairs_table(section), site),
        plots=[site.plot(plot) for plot in plots if plot is not None],
        diagnostics=measured,
        task=site.task(section.variant.task),
        page=site.task_page(section.variant.task),
    )


def _kept(table: Table | None, site: Site) -> Table | None:
    """The table with its files written, if there is one."""
    return site.table(table) if table is not None else None


def machines(section: Section) -> list[str]:
    """Every machine that the section's runs used."""
    return sorted({entry.machine for group in section.groups for entry in group.entries})


def figures(section: Section, looks: Mapping[str, Look]) -> list[Plot | None]:
    """A section's figures, in the order of the page; None for what its records do not hold."""
    found: list[Plot | None] = [learning.learning(section, looks, published=published.curves_for(section))]
    found += [learning.against_seconds(section, looks, machine) for machine in machines(section)]
    found += [learning.costs(section, looks), gradients.profiles(section, looks), gradients.norms(section, looks)]
    rows = steps.step_rows([section])
    found += [steps.step_times(section.slug, section.name, rows, looks, machine) for machine in machines(section)]
    return found


def filters(views: Sequence[View]) -> list[tuple[str, str, list[str]]]:
    """The first page's filters: name, label and values."""
    sections = [item.section for item in views]
    return [
        ("task", "Task", list(dict.fromkeys(section.variant.task for section in sections))),
        ("variant", "Data variant", list(dict.fromkeys(section.name for section in sections))),
        ("track", "Track", list(dict.fromkeys(section.track for section in sections))),
        ("machine", "Machine", sorted({name for section in sections for name in machines(section)})),
    ]
