"""The static site: every page, table and figure, written under one folder."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup

from suite.errors import CannotWrite
from suite.report import content, style, wording
from suite.report.plots.common import Plot
from suite.report.site import theme
from suite.report.style import Look
from suite.report.tables.table import FORMATS, RENDERERS, Table

MANIFEST = "manifest.json"
Made = TypeVar("Made", Table, Plot)


@dataclass
class Site:
    """A folder that is being filled; what an earlier rendering left and this one does not write is removed.

    Attributes:
        folder: the reports folder.
        looks: a look for every model.
        formats: which files each table is written in.
        tasks: the records' tasks.
        menu: pages of the navigation: title and path.
        stand: the footer's sentence.
        conflicts: a sentence on second records of runs, or nothing.
        findings: sentences about a task's records, by task.
        brought: what third-party models and tasks say of themselves in these records, by name.
    """

    folder: Path
    looks: dict[str, Look]
    formats: Sequence[str] = FORMATS
    tasks: Collection[str] = ()
    menu: list[dict[str, str]] = field(default_factory=list)
    stand: str = ""
    conflicts: str = ""
    findings: dict[str, list[str]] = field(default_factory=dict)
    brought: Mapping[str, dict[str, str]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    def model(self, name: str) -> dict[str, Any]:
        """What is known of a model, by the package or else by these records."""
        return self._known(name, content.model(name))

    def task(self, name: str) -> dict[str, Any]:
        """What is known of a task, with what was found in these records."""
        return self._known(name, content.task(name)) | {"findings": self.findings.get(name, [])}

    def _known(self, name: str, packaged: dict[str, Any]) -> dict[str, Any]:
        if packaged["summary"]:
            return packaged
        return packaged | self.brought.get(name, {}) | {"title": packaged["title"]}  # distinct from all others

    def model_page(self, name: str) -> str:
        """Path of a model's page."""
        return f"models/{self._models.get(name) or wording.slug(name)}.html"

    def task_page(self, name: str) -> str:
        """Path of a task's page."""
        return f"tasks/{self._tasks.get(name) or wording.slug(name)}.html"

    def __post_init__(self) -> None:
        self._models = wording.stems(wording.model_order(self.looks))
        self._tasks = wording.stems(wording.task_order([*wording.TASK_TITLES, *self.tasks]))
        self._made: dict[str, Table | Plot] = {}
        variables = theme.variables(self.looks)
        self._colours = theme.colours(self.looks)
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("suite.report"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["modelvar"] = lambda name: variables.get(name, "--faint")
        self._environment.filters["modelpage"] = self.model_page
        self._environment.filters["inline"] = self._inline

    def _inline(self, plot: Plot) -> Markup:
        label = f"{plot.title}. {plot.caption}"
        return Markup(style.inline(plot.svg, name=plot.name, label=label, colours=self._colours))

    def write(self, name: str, text: str | bytes) -> Path:
        """Write one file below the folder.

        Raises:
            CannotWrite: with the path and the system's reason.
        """
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        except OSError as error:
            raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error
        self.written.add(name)
        return path

    def table(self, table: Table) -> Table:
        """Write a table's files; returns it for the page, under a name of its own where another has its name."""
        table = self._named(table, "tables")
        for kind in self.formats:
            self.write(f"tables/{table.name}.{kind}", RENDERERS[kind](table))
        return table

    def plot(self, plot: Plot) -> Plot:
        """Write a figure's files; returns it for the page, under a name of its own where another has its name."""
        plot = self._named(plot, "plots")
        self.write(f"plots/{plot.name}.svg", style.standalone(plot.svg))
        for kind, made in plot.files.items():
            self.write(f"plots/{plot.name}.{kind}", made)
        return plot

    def _named(self, made: Made, folder: str) -> Made:
        """What is shown on two pages keeps its name."""
        others = {path for path, other in self._made.items() if other is not made}
        path = wording.free(f"{folder}/{made.name}", others)
        made = made if path == f"{folder}/{made.name}" else replace(made, name=path.removeprefix(f"{folder}/"))
        self._made[path] = made
        return made

    def page(self, path: str, template: str, *, title: str, **context: Any) -> Path:
        """Render a page; ``path`` is relative to the folder."""
        root = "../" * path.count("/")
        text = self._environment.get_template(template).render(
            title=title, path=path, root=root, menu=self.menu, stand=self.stand, formats=self.formats, **context
        )
        return self.write(path, text)

    def assets(self) -> None:
        """Write the stylesheet and the scripts."""
        self.write("assets/site.css", theme.stylesheet(self.looks))
        for name in ("site.js", "theme.js"):
            text = files("suite.report").joinpath("assets", name).read_text(encoding="utf-8")
            self.write(f"assets/{name}", text)

    def finish(self) -> None:
        """Remove files of an earlier rendering that this one did not write, and note what was written."""
        path = self.folder / MANIFEST
        for name in sorted(set(_manifest(path)) - self.written):
            stale = self.folder / name
            if stale.resolve().is_relative_to(self.folder.resolve()):
                stale.unlink(missing_ok=True)
        self.write(MANIFEST, json.dumps(sorted(self.written), indent=0) + "\n")


def _manifest(path: Path) -> list[str]:
    """Names that an earlier rendering wrote; none where its list is missing or is not one."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
