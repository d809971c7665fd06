"""Tables of comparisons: pairs of models, and ours beside published figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from suite.report import wording
from suite.report.evidence.groups import Section
from suite.report.evidence.published import Published
from suite.report.evidence.statistics import describe
from suite.report.tables import beside
from suite.report.tables.leaderboard import heading, interval_text
from suite.report.tables.table import Column, Table


def pairs_table(section: Section) -> Table | None:
    """Paired comparisons of a section, or None where no two models have finished two seeds in common."""
    found = section.pairs
    if all(pair.pairs < 2 for pair in found):  # or no pair at all
        return None
    metric = section.metric
    rows = [
        {
            "a": pair.a,
            "b": pair.b,
            "shared": pair.shared,
            "pairs": pair.pairs,
            "difference": pair.difference,
            "difference_text": _signed(pair.difference, metric),
            "low": pair.low,
            "high": pair.high,
            "interval_text": interval_text(pair.low, pair.high, metric),
            "wins": pair.wins,
            "wins_text": f"{pair.wins} of {pair.shared}",
            "improvement": pair.improvement,
            "improvement_text": wording.MISSING if pair.improvement is None else f"{pair.improvement:.2f}",
            "p": pair.p,
            "p_text": wording.number(pair.p, 2),
            "verdict": pair.verdict,
        }
        for pair in found
    ]
    unit = "percentage points" if metric == "accuracy" else wording.metric_unit(metric)
    return Table(
        name=f"pairs-{section.slug}",
        title=f"Pairs of models: {heading(section)}",
        columns=[
            Column("a", "A", left=True, wrap=True),
            Column("b", "B", left=True, wrap=True),
            Column("pairs", "pairs", note="Shared seeds that both finished."),
            Column("difference", f"A − B ({unit})", "difference_text", note="Mean paired difference."),
            Column(
                "low",
                "95 % interval",
                "interval_text",
                more=("high",),
                note="Of the mean paired difference, for one pair at a time: not corrected as p is.",
            ),
            Column(
                "wins",
                "A better on",
                "wins_text",
                more=("shared",),
                note="Of the shared seeds; on a seed both have the same data.",
            ),
            Column("improvement", "P(A better)", "improvement_text", note="Over all pairs of runs on shared seeds."),
            Column("p", "p (Holm)", "p_text", note="Sign-flip test, corrected over this table; only where n allows."),
            Column("verdict", "verdict", left=True, wrap=True),
        ],
        rows=rows,
        note="Intervals are of one pair at a time: one that leaves out zero is no verdict."
        " p and a verdict stand only where the number of seeds lets a sign-flip test reach 5 % after Holm's"
        f" correction over {len(found)} pair{'s' if len(found) > 1 else ''}.",
    )


def _signed(value: float | None, metric: str) -> str:
    if value is None:
        return wording.MISSING
    text = wording.metric(abs(value), metric)
    return ("−" if value < 0 else "+") + text


_PUBLISHED = (
    Column("label", "model", left=True, head=True, chip=True, link="model", wrap=True),
    Column("hidden_size", "H"),
    Column("ours", "ours", "ours_text", note="Test metric under the selection that the source used."),
    Column("low", "95 % interval", "interval_text", more=("high",), note="Of our mean, under that selection."),
    Column("finished", "seeds"),
    Column("published", "published", "published_text"),
    Column("published_hidden", "H there", "published_hidden_text"),
    Column("difference", "ours − published", "difference_text"),
    Column("verdict", "verdict", left=True, wrap=True),
    Column("reasons", "why", left=True, wide=True),
    Column("source", "source", left=True, wide=True),
)


def published_table(section: Section) -> Table | None:
    """Every group of a section beside every published figure of its model and task, or None without any."""
    found = beside.beside(section)
    note = "Where a source reports the last epoch, our last epoch stands beside it."
    if unheld := beside.unheld(section):
        word = "recipe" if len(unheld) == 1 else "recipes"
        note += f" {len(unheld)} further {word} of the same model, set by hand, left out."
    if not found:
        return None
    return Table(
        name=f"published-{section.slug}",
        title=f"Ours beside published figures: {heading(section)}",
        columns=_PUBLISHED,
        rows=[_published_row(comparison, section) for comparison in found],
        note=note,
        heading="Beside published figures",
    )


def _published_row(comparison: beside.Comparison, section: Section) -> dict[str, Any]:
    group, figure, metric = comparison.group, comparison.published, section.metric
    spread = describe(comparison.scores, metric, higher_is_better=section.higher_is_better)
    return {
        "variant": section.name,
        "model": group.run.model,
        "label": group.label,
        "hidden_size": group.run.recipe.get("hidden_size"),
        "ours": comparison.ours,
        "ours_text": wording.metric(comparison.ours, metric),
        "low": spread.low,
        "high": spread.high,
        "interval_text": interval_text(spread.low, spread.high, metric),
        "finished": len(group.done),
        "published": figure.value,
        "published_text": printed(figure),
        "published_hidden": figure.hidden_units,
        "published_hidden_text": wording.MISSING if figure.hidden_units is None else str(figure.hidden_units),
        "difference": comparison.difference,
        "difference_text": _signed(comparison.difference, metric),
        "verdict": comparison.verdict,
        "reasons": comparison.reasons,
        "source": figure.source,
    }


def printed(figure: Published) -> str:
    """The figure as its source prints it, with the source's standard deviation."""
    text = wording.metric(figure.value, figure.metric)
    return text if figure.sd is None else f"{text} ± {wording.metric(figure.sd, figure.metric)}"


def verdicts(tables: Sequence[Table]) -> str:
    """How many comparisons of published tables have which verdict, and what most often stands in the way of one."""
    rows = [row for table in tables for row in table.rows]
    counts = Counter(str(row["verdict"]) for row in rows)
    reasons = [reason for row in rows for reason in str(row["reasons"] or "").split("; ") if reason]
    why = Counter(reason.partition(" (")[0] for reason in reasons)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    often = "; ".join(f"{reason} ({count})" for reason, count in why.most_common(4))
    hindered = f" What most often stands in the way of a verdict: {often}." if often else ""
    return f"Comparisons: {len(rows)}; {told}.{hindered}"


def cited(figures: Sequence[Published], *, name: str, title: str) -> Table | None:
    """A list of published figures with their sources, or None without any."""
    if not figures:
        return None
    rows = [
        {
            "model": figure.model,
            "title": wording.model_title(figure.model),
            "task": figure.task,
            "metric": figure.metric,
            "value": figure.value,
            "value_text": printed(figure),
            "sd": figure.sd,
            "hidden": figure.hidden_units,
            "hidden_text": wording.MISSING if figure.hidden_units is None else str(figure.hidden_units),
            "parameters": figure.parameters,
            "parameters_text": wording.count(figure.parameters),
            "kind": _KINDS[figure.kind],
            "note": figure.differs,
            "source": figure.source,
        }
        for figure in figures
    ]
    columns = [
        Column("title", "model", left=True, head=True, chip=True),
        Column("task", "task", left=True),
        Column("value", "accuracy (%)", "value_text", more=("sd",)),
        Column("hidden", "H", "hidden_text"),
        Column("parameters", "parameters", "parameters_text", note="As printed; often rounded."),
        Column("kind", "what it is", left=True),
        Column("note", "differs from this suite", left=True, wide=True),
        Column("source", "source", left=True, wide=True),
    ]
    return Table(name, title, columns, rows, "Every figure was read in the source named; none is from memory.")


_KINDS = {"single": "one run", "mean": "mean over runs", "best": "best of several runs", "unknown": "not stated"}
