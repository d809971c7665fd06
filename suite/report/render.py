"""The whole rendering: records in, site out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from suite.errors import UsageError, unknown
from suite.report import style, wording
from suite.report.evidence import inputs, published
from suite.report.evidence.described import descriptions, titles
from suite.report.evidence.entries import Entry, read, read_failures
from suite.report.evidence.sections import sections
from suite.report.site import first_page, model_page, pages, paper_page, readme
from suite.report.site.pages import Measurements
from suite.report.site.site import Site
from suite.report.site.views import View, views
from suite.report.tables import comparisons
from suite.report.tables.table import FORMATS
from suite.runs import Run

MENU = (
    ("Leaderboard", "index.html"),
    ("Tasks", "tasks.html"),
    ("Models", "models.html"),
    ("Published", "published.html"),
    ("Paper figures", "figures.html"),
    ("Theory", "theory.html"),
    ("Speed", "speed.html"),
    ("Methods", "methods.html"),
)


@dataclass(frozen=True)
class Rendered:
    """What a rendering made.

    Attributes:
        records: valid records.
        left_out: files that were named and left out.
        leaderboard: Markdown leaderboard.
        index: the first page.
        plots: every figure, sorted.
        tables: every table file, sorted.
        pages: every page, sorted.
        digest: the summary for a README, Markdown.
    """

    records: int
    left_out: int
    leaderboard: Path
    index: Path
    plots: list[Path]
    tables: list[Path]
    pages: list[Path]
    digest: str


@dataclass(frozen=True)
class Choice:
    """Which records a rendering is of.

    Attributes:
        models: names; empty: all.
        tasks: names; empty: all.
        against: the model that all others are compared with; None: every model with every other.
    """

    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    against: str | None = None

    def of(self, entries: Sequence[Entry]) -> list[Entry]:
        """The chosen ones."""
        return [entry for entry in entries if self.holds(entry.run)]

    def holds(self, run: Run) -> bool:
        """Whether a record of this run is chosen."""
        return (not self.models or run.model in self.models) and (not self.tasks or run.task in self.tasks)

    def check(self, entries: Sequence[Entry]) -> None:
        """Refuse a name that no record has.

        Raises:
            UsageError: with the names that there are.
        """
        models, tasks = {entry.run.model for entry in entries}, {entry.run.task for entry in entries}
        for option, names, known in (("models", self.models, models), ("tasks", self.tasks, tasks)):
            for name in names:
                if name not in known:
                    raise UsageError(f"--{option}: {unknown(f'{option[:-1]} among the records', name, known)}")
        chosen = {entry.run.model for entry in self.of(entries)}
        if self.against is not None and self.against not in chosen:
            raise UsageError(f"--against: {unknown('model among the chosen records', self.against, chosen)}")

    @property
    def words(self) -> str:
        """For the footer."""
        parts = [f"only {', '.join(names)}" for names in (self.models, self.tasks) if names]
        parts += [f"every model compared with {self.against} alone"] if self.against else []
        return f" Of the records {'; '.join(parts)}." if parts else ""


def render(
    results_dir: Path,
    reports_dir: Path,
    *,
    formats: Sequence[str] = FORMATS,
    warn: Callable[[str], object],
    choice: Choice = Choice(),
    processes: int = 1,
    kinds: Sequence[str] = (),
) -> Rendered | None:
    """Render the whole site.

    Args:
        results_dir: the results folder.
        reports_dir: where the site goes.
        formats: files that each table is written in.
        warn: called with one line for each file that is left out.
        choice: of which records.
        processes: how many draw figures.
        kinds: files of each figure beside the SVG.

    Returns:
        What was written, or None where there is no valid record.

    Raises:
        suite.errors.CannotWrite: a file cannot be written.
        UsageError: a chosen name that no record has.
    """
    lost: list[str] = []

    def tell(line: str) -> None:
        lost.append(line)
        warn(line)

    entries = read(results_dir, warn=tell)
    failures = read_failures(results_dir, warn=tell)
    if not entries:
        return None
    choice.check(entries)
    entries, failures = choice.of(entries), choice.of(failures)
    if not entries:
        return None
    looks, tasks = style.looks(entry.run.model for entry in entries), {entry.run.task for entry in entries}
    site = Site(reports_dir, looks, formats, tasks)
    measurements = Measurements(
        speed=inputs.read(results_dir / "speed", inputs.speed, tell),
        theory=inputs.read(results_dir / "theory", inputs.theory, tell),
        asv="asv/index.html" if (reports_dir / "asv" / "index.html").is_file() else None,
    )
    site.menu = [{"title": title, "path": path} for title, path in MENU]
    site.stand = stand(entries) + choice.words
    site.conflicts = inputs.conflicts(results_dir, choice.holds)
    site.brought = descriptions(entries)
    site.findings = inputs.findings(results_dir / "findings", tell)
    with style.drawing(kinds), wording.titled(titles(entries, site.brought)):
        made = views(sections(entries, failures, against=choice.against), site, processes=processes)
        _pages(site, made, measurements)
    site.assets()
    site.finish()
    return _rendered(site, len(entries), len(lost), readme.digest([item.section for item in made]))


def stand(entries: Sequence[Entry]) -> str:
    """The footer: how much there is and how fresh it is; the date comes from the records."""
    models = len({entry.run.model for entry in entries})
    tasks = len({entry.run.task for entry in entries})
    latest = max(str(entry.record["where"]["finished"]) for entry in entries)
    words = [(len(entries), "record"), (models, "model"), (tasks, "task")]
    counts = ", ".join(f"{wording.count(number)} {word}{'' if number == 1 else 's'}" for number, word in words)
    return f"{counts}; the latest run finished {latest}. Made by python -m suite.report."


def _pages(site: Site, made: Sequence[View], measurements: Measurements) -> None:
    first_page.write(site, made)
    _task_pages(site, made)
    models = wording.model_order(site.looks)
    for model in models:
        model_page.write(model, made, site)
    site.page("models.html", "list.html", title="Models", items=[_model_item(model, site) for model in models])
    pages.published(site, made)
    paper_page.write(site, made)
    pages.theory(site, measurements)
    pages.speed(site, made, measurements)
    site.page("methods.html", "methods.html", title="Methods")


def _model_item(model: str, site: Site) -> dict[str, str]:
    about = site.model(model)
    return {"title": about["title"], "text": about["summary"], "path": site.model_page(model)}


def _task_pages(site: Site, made: Sequence[View]) -> None:
    tasks = list(dict.fromkeys([*wording.TASK_TITLES, *(item.section.variant.task for item in made)]))
    items = []
    for task in tasks:
        about, path = site.task(task), site.task_page(task)
        cited = [figure for figure in published.figures() if figure.task == task]
        title = f"{about['title']}: published figures"
        table = comparisons.cited(cited, name=f"cited-{Path(path).stem}", title=title)
        site.page(
            path,
            "task.html",
            title=about["title"],
            name=task,
            task=about,
            views=[item for item in made if item.section.variant.task == task],
            published_list=site.table(table) if table else None,
        )
        items.append({"title": about["title"], "text": about["summary"], "path": path})
    site.page("tasks.html", "list.html", title="Tasks", items=items)


def _rendered(site: Site, records: int, left_out: int, digest: str) -> Rendered:
    names = sorted(site.written)

    def chosen(start: str, end: str = "") -> list[Path]:
        return [site.folder / name for name in names if name.startswith(start) and name.endswith(end)]

    return Rendered(
        records=records,
        left_out=left_out,
        leaderboard=site.folder / "leaderboard.md",
        index=site.folder / "index.html",
        plots=chosen("plots/"),
        tables=chosen("tables/"),
        pages=chosen("", ".html"),
        digest=digest,
    )
