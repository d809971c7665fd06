"""The static site: every page, table and figure, written under one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from suite.errors import CannotWrite
from suite.report import content, style
from suite.report.plots.common import Plot
from suite.report.site import theme
from suite.report.style import Look
from suite.report.tables.table import FORMATS, RENDERERS, Table

MANIFEST = "manifest.json"


@dataclass
class Site:
    """A folder that is being filled; what an earlier rendering left and this one does not write is removed.

    Attributes:
        folder: the reports folder.
        looks: a look for every model.
        formats: which files each table is written in.
        menu: pages of the navigation: title and path.
        stand: the footer's sentence.
        findings: sentences about a task's records, by task.
        brought: what third-party models and tasks say of themselves in these records, by name.
    """

    folder: Path
    looks: dict[str, Look]
    formats: Sequence[str] = FORMATS
    menu: list[dict[str, str]] = field(default_factory=list)
    stand: str = ""
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
        return packaged if packaged["summary"] else packaged | self.brought.get(name, {})

    def __post_init__(self) -> None:
        self._colours = theme.colours(self.looks)
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("suite.report"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["modelvar"] = theme.variable
        self._environment.filters["inline"] = self._inline

    def _inline(self, plot: Plot) -> Markup:
        label = f"{plot.title}. {plot.caption}"
        return Markup(style.inline(plot.svg, name=plot.name, label=label, colours=self._colours))

    def write(self, name: str, text: str) -> Path:
        """Write one file below the folder.

        Raises:
            CannotWrite: with the path and the system's reason.
        """
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error
        self.written.add(name)
        return path

    def table(self, table: Table) -> Table:
        """Write a table's files; returns it for the page."""
        for kind in self.formats:
            self.write(f"tables/{table.name}.{kind}", RENDERERS[kind](table))
        return table

    def plot(self, plot: Plot) -> Plot:
        """Write a figure's file; returns it for the page."""
        self.write(f"plots/{plot.name}.svg", style.standalone(plot.svg))
        return plot

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
