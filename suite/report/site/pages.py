"""The pages beside leaderboard, tasks and models: speed, theory checks, published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from suite.report import wording
from suite.report.evidence.published import figures
from suite.report.plots import measured, steps
from suite.report.plots.common import Plot
from suite.report.site.site import Site
from suite.report.site.views import View
from suite.report.tables import comparisons
from suite.report.tables.table import Column, Table


@dataclass
class Part:
    """A stretch of a plain page: heading, sentences, a command, a link (address, text), figures, tables."""

    heading: str = ""
    text: Sequence[str] = ()
    command: str = ""
    link: tuple[str, str] | None = None
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    wide: bool = False


@dataclass
class Measurements:
    """What lies beside the records: (stem, values) of each file, and where asv's pages are."""

    speed: Sequence[tuple[str, Mapping[str, Any]]] = ()
    theory: Sequence[tuple[str, Mapping[str, Any]]] = ()
    asv: str | None = None
    notes: list[str] = field(default_factory=list)


def plain(site: Site, path: str, title: str, lead: str, parts: Sequence[Part]) -> None:
    """Write a page made of parts; figures and tables get their files."""
    for part in parts:
        part.plots = [site.plot(plot) for plot in part.plots]
        part.tables = [site.table(table) for table in part.tables]
    site.page(path, "plain.html", title=title, lead=lead, parts=parts)


def speed(site: Site, views: Sequence[View], measured_: Measurements) -> None:
    """The speed page: tables of ``suite.speed``, asv's pages, and what the runs recorded of themselves."""
    parts = []
    for stem, values in sorted(measured_.speed, key=_whole_tables_first, reverse=True):
        text = [f"{measured.machine(values)}, {values['date']}."]
        threads = sorted({int(row["threads"]) for row in values["rows"]})
        if threads[-1:] > [1]:
            text.append("With several threads figures move from one run of the command to the next: see the quartiles.")
        text[-1] += " Made by:"
        table = speed_table(stem, values)
        title, plots = _measured_title(values, threads), measured.ratios(stem, values)
        parts.append(Part(title, text, values["command"], plots=plots, tables=[table]))
    if not parts:
        sentence = "There is no speed table yet. This makes one, and stores it under results/speed:"
        parts.append(Part("Engines side by side", [sentence], "python -m suite.speed"))
    if measured_.asv:
        parts.append(
            Part(
                "Over commits", ["asv tracks the same shapes from commit to commit."], link=(measured_.asv, "asv pages")
            )
        )
    else:
        sentence = "asv tracks the same shapes from commit to commit. There are no asv pages here yet; this makes them:"
        parts.append(Part("Over commits", [sentence], "make asv"))
    table = steps_table(views)
    if table.rows:
        sentence = "Median training step of the runs themselves, whatever ran beside them: a record, not a benchmark."
        parts.append(Part("As the runs recorded it", [sentence], tables=[table]))
    lead = "How long a training step takes: engines measured side by side, commits over time, and the runs' own clocks."
    plain(site, "speed.html", "Speed", lead, parts)


def _whole_tables_first(one: tuple[str, Mapping[str, Any]]) -> tuple[int, str]:
    return len(one[1]["rows"]), str(one[1]["date"])


def _measured_title(values: Mapping[str, Any], threads: Sequence[int]) -> str:
    """Machine, day and time, threads: what tells one file of measurements from another."""
    day, _, clock = str(values["date"]).partition("T")
    words = [measured.machine(values), f"{day} {clock[:5]}".strip()]
    many = f"{wording.seeds(threads)} thread{'s' if threads[-1] > 1 else ''}" if threads else "no rows"
    return ", ".join([*words, many])


_RATIO = "Speed over the plain loop, ratio of medians; -xN: a step of N seeds, over N steps of the loop."


def speed_table(stem: str, values: Mapping[str, Any]) -> Table:
    """A speed file as a table."""
    rows = []
    for row in values["rows"]:
        step, forward = row["step_ms"], row.get("forward_ms") or {}
        rows.append(
            {
                "model": row["model"],
                "title": wording.model_title(row["model"]),
                "shape": row["shape"],
                "engine": row["engine"],
                "threads": row["threads"],
                "step": step["median"],
                "step_text": wording.number(step["median"]),
                "quartiles": f"{wording.number(step['q25'])} to {wording.number(step['q75'])}",
                "forward": forward.get("median"),
                "forward_text": wording.number(forward.get("median")),
                "ratio": row.get("ratio_to_loop"),
                "ratio_text": wording.number(row.get("ratio_to_loop")),
                "gemm": row.get("gemm_ms"),
                "gemm_text": wording.number(row.get("gemm_ms")),
                "note": row.get("note") or None,
            }
        )
    columns = [
        Column("title", "model", left=True, head=True, chip=True),
        Column("shape", "shape", left=True),
        Column("engine", "engine", left=True),
        Column("threads", "threads"),
        Column("step", "training step (ms)", "step_text", note="Median."),
        Column("quartiles", "quartiles (ms)"),
        Column("forward", "forward (ms)", "forward_text"),
        Column("ratio", "times the loop", "ratio_text", note=_RATIO),
        Column(
            "gemm", "GEMMs alone (ms)", "gemm_text", note="torch's: no lower bound, an engine may have faster ones."
        ),
        Column("note", "note", left=True, wide=True),
    ]
    return Table(f"speed-{wording.slug(stem)}", f"Speed, {stem}", columns, rows)


def steps_table(views: Sequence[View]) -> Table:
    """Median steps that the runs recorded, by task variant, model, engine and machine."""
    rows = []
    for name in dict.fromkeys(view.section.name for view in views):
        for row in steps.step_rows([view.section for view in views if view.section.name == name]):
            texts = {key: wording.number(row[key]) for key in ("median", "q25", "q75")}
            rows.append(
                dict(row)
                | {
                    "variant": name,
                    "title": row["label"],
                    "median_text": texts["median"],
                    "quartiles": f"{texts['q25']} to {texts['q75']}",
                    "shared_text": "yes, or unknown" if row["shared"] else "no",
                }
            )
    columns = [
        Column("title", "model", left=True, head=True, chip=True),
        Column("variant", "task", left=True, wrap=True),
        Column("engine", "engine", left=True),
        Column("hidden_size", "H"),
        Column("batch_size", "batch"),
        Column("median", "step (ms)", "median_text"),
        Column("quartiles", "quartiles (ms)"),
        Column("runs", "runs"),
        Column("shared_text", "machine shared", left=True),
        Column("machine", "machine", left=True, wrap=True),
    ]
    return Table("steps", "Training step of the runs", columns, rows)


def theory(site: Site, measured_: Measurements) -> None:
    """Checks of the coRNN paper's propositions, one part a file."""
    parts = [
        Part(
            values["title"],
            [values["finding"]],
            values["command"],
            plots=[measured.check(stem, values, site.looks)],
            wide=True,
        )
        for stem, values in measured_.theory
    ]
    if not parts:
        parts = [
            Part(
                "",
                ["No check has been run yet. This runs them, and stores them under results/theory:"],
                "python -m suite.theory",
            )
        ]
    lead = (
        "Statements tied to the propositions of the coRNN paper, measured; most formulas are recalled or derived, not"
        " read in its text (docs/theory.md says which): the energy bound along trajectories, norms of"
        " products of Jacobians, the decay of the gradient dL/dh over time against tanh RNN and LSTM, and the weight"
        " assumption."
    )
    plain(site, "theory.html", "Theory checks", lead, parts)


def published(site: Site, views: Sequence[View]) -> None:
    """Every comparison with a published figure, and every published figure."""
    parts = []
    for view in views:
        if view.published is not None:
            link = (view.page, f"What was found about {view.task['title']}") if view.task["findings"] else None
            parts.append(Part(f"{view.task['title']}: {view.heading}", link=link, tables=[view.published]))
    told = "No record stands for a model and task with a published figure yet."
    if parts:
        told = comparisons.verdicts([view.published for view in views if view.published is not None])
    parts = [Part("", [told]), *parts]
    cited = comparisons.cited(figures(), name="published", title="Published figures of these models on these tasks")
    parts.append(Part("All published figures", tables=[cited] if cited else []))
    lead = (
        "Each figure of a publication beside ours, with the difference. A verdict is given only where both numbers"
        " mean the same thing: within, below or above what chance explains; else the column “why” says what differs."
    )
    plain(site, "published.html", "Published figures", lead, parts)
