"""A table once, in every format: Markdown, CSV, LaTeX, JSON; the pages render the same object."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.report import wording

FORMATS = ("md", "csv", "tex", "json")


@dataclass(frozen=True)
class Column:
    """A column: its key in the rows, heading, and how values are written.

    Attributes:
        key: key of the raw value in a row.
        title: heading, with its unit.
        show: key of the written value in a row; None writes the raw value as text.
        left: whether text is set to the left (names), else to the right (numbers).
        note: a sentence for a tooltip.
        head: whether the column names the row (pages only).
        chip: whether the model's colour stands before the text (pages only).
        link: key of a page's path in a row, relative to the site; ``model``: the page of that model (pages only).
        code: whether the text is a command (pages only).
        wide: whether the text is long and breaks over lines (pages only).
        wrap: whether the text may break over lines where room is short (pages only).
        more: keys of further raw values that the text shows: columns of their own in CSV and JSON.
    """

    key: str
    title: str
    show: str | None = None
    left: bool = False
    note: str = ""
    head: bool = False
    chip: bool = False
    link: str | None = None
    code: bool = False
    wide: bool = False
    wrap: bool = False
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows of raw values with their written forms.

    Attributes:
        name: stem of its files.
        title: heading; names the data variant where the table has one.
        columns: in order.
        rows: each a mapping with at least the columns' keys.
        note: sentences below the table.
        heading: short heading above the table (pages only).
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    note: str = ""
    heading: str = ""

    @property
    def dense(self) -> bool:
        """Whether a page has room for it in smaller letters alone."""
        return len(self.columns) > 14 or sum(column.wrap for column in self.columns) > 6

    def cell(self, row: Mapping[str, Any], column: Column) -> str:
        """What stands in a cell."""
        value = row[column.show or column.key]
        return wording.MISSING if value is None else str(value)

    @property
    def keys(self) -> list[str]:
        """Keys of the raw values, in order: each column's, then what it shows beside it."""
        return [key for column in self.columns for key in (column.key, *column.more)]


def markdown(table: Table) -> str:
    """GitHub's Markdown, headed by the title."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    rule = ["---" if column.left else "---:" for column in table.columns]
    lines = [f"### {table.title}", "", line([column.title for column in table.columns]), line(rule)]
    lines += [line([table.cell(row, column) for column in table.columns]) for row in table.rows]
    lines += ["", table.note] if table.note else []
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """CSV of the raw values: full precision, fractions as fractions."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.keys)
    for row in table.rows:
        writer.writerow(["" if row[key] is None else row[key] for key in table.keys])
    return buffer.getvalue()


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "†": r"\dag{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "‡": r"\ddag{}",
}


def tex_escape(text: str) -> str:
    """Text for LaTeX; characters outside Latin-1 that tables use become commands."""
    return "".join(_TEX.get(character, character) for character in text)


def latex(table: Table) -> str:
    """A booktabs table environment that can be pasted into a paper, made smaller where the page is narrower."""
    layout = "".join("l" if column.left else "r" for column in table.columns)
    lines = [
        f"% {table.title}".replace("\n", " "),
        r"% needs \usepackage{booktabs,adjustbox}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex_escape(table.title)}{'. ' + tex_escape(table.note) if table.note else ''}}}",
        rf"\label{{tab:{table.name}}}",
        r"\smallskip",
        r"\begin{adjustbox}{max width=\linewidth}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        " & ".join(tex_escape(column.title) for column in table.columns) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        lines.append(" & ".join(tex_escape(table.cell(row, column)) for column in table.columns) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{adjustbox}", r"\end{table}"]) + "\n"


def as_json(table: Table) -> str:
    """The raw values with title, note and units."""
    values = {
        "name": table.name,
        "title": table.title,
        "note": table.note,
        "columns": [{"key": column.key, "title": column.title} for column in table.columns],
        "rows": [{key: row[key] for key in table.keys} for row in table.rows],
    }
    return json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


RENDERERS = {"md": markdown, "csv": comma_separated, "tex": latex, "json": as_json}
