"""The leaderboard's tables: one a section, and the comparisons of models inside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from suite.report import content, wording
from suite.report.evidence import facts
from suite.report.evidence.groups import Group, Section
from suite.report.evidence.sections import penalised_mean
from suite.report.tables import beside
from suite.report.tables.notes import INCOMPLETE, notes
from suite.report.tables.table import Column, Table

_KINDS = {
    "published": "published",
    "adapted": "adapted",
    "tuned": "tuned here",
    "default": "untuned",
    "set": "set by hand",
}


def recipe_kind(group: Group) -> str:
    """Where the learning rate comes from (published, adapted, tuned here, untuned, set by hand); changed or not."""
    kind = _KINDS.get(group.source_kind("lr"), group.source_kind("lr"))
    if kind == "published" and group.source_kind("hidden_size") == "set":
        kind = "adapted"  # published for another number of units
    return f"{kind}, changed by hand" if group.by_hand and kind != "set by hand" else kind


def interval_text(low: float | None, high: float | None, metric: str) -> str:
    """``[96.90, 97.52]`` in the metric's unit, or the sign for a missing value."""
    if low is None or high is None:
        return wording.MISSING
    return f"[{wording.metric(low, metric)}, {wording.metric(high, metric)}]"


def fallen(group: Group) -> int:
    """Finished seeds that fell again after their best epoch."""
    return sum(entry.fell for entry in group.done)


def _seeds_text(group: Group) -> str:
    parts = [str(len(group.done))]
    parts += [f"{fallen(group)} fell"] if fallen(group) else []
    parts += [f"{len(group.diverged)} diverged"] if group.diverged else []
    parts += [f"{len(group.failed)} failed"] if group.failed else []
    return ", ".join(parts) + ("" if group.complete else f" {INCOMPLETE}")


def _last_norm(group: Group) -> float | None:
    norms = [entry.grad_norm[-1, 2] for entry in group.done if entry.grad_norm.size]
    known = [norm for norm in norms if np.isfinite(norm)]
    return float(np.median(known)) if known else None


def _joined(values: Sequence[str]) -> str:
    return "; ".join(sorted(set(values)))


def row(group: Group, section: Section) -> dict[str, Any]:
    """One group as raw values (plain keys) and written values (keys that end in ``_text``)."""
    spread, run, metric = group.spread, group.run, section.metric
    engines = _joined([entry.engine for entry in group.entries])
    values: dict[str, Any] = {
        "task": section.variant.task,
        "variant": section.name,
        "track": section.track,
        "budget": section.budget,
        "length_text": section.length.removesuffix(" epochs") if section.shortened else str(facts.epochs(group)),
        "rank": group.rank,
        "model": run.model,
        "label": group.label,
        "metric": metric,
        "recipe": recipe_kind(group),
        "hidden_size": run.recipe.get("hidden_size"),
        "parameters": group.entries[0].record["size"]["parameters"],
        "epochs": facts.epochs(group),
        "protocol_epochs": content.task(run.task)["epochs"],
        "seeds": wording.seeds(sorted(group.seeds)),
        "finished": len(group.done),
        "fell": fallen(group),
        "diverged": len(group.diverged),
        "failed": len(group.failed),
        "complete": group.complete,
        "by_hand": bool(group.by_hand),
        "mean": spread.mean,
        "sd": spread.sd,
        "low": spread.low,
        "high": spread.high,
        "interval_method": spread.method,
        "best": spread.best,
        "penalised_mean": penalised_mean(group, section),
        "last": group.mean("metrics", "test_last"),
        "chance": group.chance,
        "loss": group.mean("metrics", "test_loss"),
        "train_seconds": group.seconds("train"),
        "step_ms": None if group.step is None else 1000 * group.step,
        "gradient_norm": _last_norm(group),
        "engine": engines,
        "machine": _joined([entry.machine for entry in group.entries]),
        "shared_device": any(entry.shared for entry in group.entries),
        "group": group.key,
    }
    return values | _texts(values, metric, group)


def _texts(values: dict[str, Any], metric: str, group: Group) -> dict[str, Any]:
    rank = values["rank"]
    mark = "*" if values["shared_device"] else ""
    return {
        "rank_text": wording.MISSING if rank is None else f"{rank:g}",
        "parameters_text": wording.count(values["parameters"]),
        "seeds_text": _seeds_text(group),
        "mean_text": wording.metric(values["mean"], metric),
        "sd_text": wording.metric(values["sd"], metric),
        "interval_text": interval_text(values["low"], values["high"], metric),
        "best_text": wording.metric(values["best"], metric),
        "last_text": wording.metric(values["last"], metric),
        "loss_text": wording.number(values["loss"]),
        "train_text": wording.seconds(values["train_seconds"]) + (mark if values["train_seconds"] else ""),
        "step_text": wording.number(values["step_ms"]) + (mark if values["step_ms"] else ""),
        "gradient_text": wording.number(values["gradient_norm"], 2),
    }


def columns(metric: str) -> list[Column]:
    """The leaderboard's columns for a metric."""
    unit = wording.metric_unit(metric)
    return [
        Column(
            "rank",
            "rank",
            "rank_text",
            note="Place by mean; a diverged run counts as a constant guess or the worst score here.",
        ),
        Column("label", "model", left=True, head=True, chip=True, link="model", wrap=True),
        Column("mean", unit, "mean_text", note="Test metric at the best validation epoch, mean over finished runs."),
        Column("sd", "sd", "sd_text", note="Standard deviation over finished runs (n - 1)."),
        Column(
            "low",
            "95 % interval",
            "interval_text",
            more=("high",),
            note="Of the mean: Student's t below ten seeds, from ten BCa, widened to the width of t.",
        ),
        Column(
            "finished",
            "seeds",
            "seeds_text",
            more=("fell", "diverged", "failed"),
            wrap=True,
            note="Finished runs, those that fell (see the overview); beside them diverged, failed ones.",
        ),
        Column("best", "best run", "best_text", note="The best single run: never the headline."),
        Column("last", "last epoch", "last_text", note="Test metric after the last epoch, mean over finished runs."),
        Column("recipe", "recipe", left=True, wrap=True, note="Where the learning rate comes from: see Methods."),
        Column("hidden_size", "H", note="Hidden units."),
        Column("parameters", "parameters", "parameters_text", note="Trained, read-out counted, embedding not."),
        Column("epochs", "epochs", note="Epochs that a run was given; where time ended it, those it did (median)."),
        Column("loss", "test loss", "loss_text"),
        Column("train_seconds", "training", "train_text", note="Training time of a run, mean over seeds."),
        Column("step_ms", "ms/step", "step_text", note="Median training step, median over seeds."),
        Column("gradient_norm", "gradient norm", "gradient_text", note="Median over the last epoch, over seeds."),
        Column("engine", "engine", left=True, wrap=True),
        Column("machine", "machine", left=True, wrap=True),
    ]


def spoken(full: Table) -> Table:
    """The table for a page: columns that say one thing in every row become a sentence of the note.

    A loss that is the score itself (squared errors) is left out.
    """
    if all(row["loss_text"] == wording.number(row["mean"]) for row in full.rows):
        full = replace(full, columns=[column for column in full.columns if column.key != "loss"])
    values = {key: {str(row[key]) for row in full.rows} for key in ("engine", "machine")}
    said = {key: min(found) for key, found in values.items() if len(found) == 1}
    if not said:
        return full
    sentence = f"All rows: {', '.join(f'{key} {value}' for key, value in said.items())}."
    kept = [column for column in full.columns if column.key not in said]
    return replace(full, columns=kept, note=f"{full.note} {sentence}".strip())


SHORT = (
    *("rank", "label", "mean", "low", "finished", "best", "published", "recipe"),
    *("hidden_size", "parameters", "epochs", "train_seconds"),
)


def heading(section: Section) -> str:
    """Variant, track and budget in one line."""
    words = f"{section.name}, track {section.track}, {section.length}"
    return words if section.machine is None else f"{words}, {section.machine}"


def table(section: Section) -> Table:
    """A section as a table, with everything that was measured."""
    return Table(
        name=f"leaderboard-{section.slug}",
        title=heading(section),
        columns=columns(section.metric),
        rows=[row(group, section) for group in section.groups],
        note=notes(section),
    )


def short(section: Section, full: Table) -> Table:
    """The columns that fit a page's width, with the published figure and the verdict beside ours."""
    headlines = beside.headlines(section)
    rows = [dict(values) | _published(headlines.get(str(values["group"])), section.metric) for values in full.rows]
    held = {column.key: column for column in full.columns} | {
        "published": Column(
            "published",
            "published",
            "published_text",
            more=("against",),
            link="published_page",
            wrap=True,
            note="As its source prints it, and whether ours differs; not comparable: the page says why.",
        ),
    }
    return Table(full.name, full.title, [held[key] for key in SHORT], rows, full.note)


def _published(comparison: beside.Comparison | None, metric: str) -> dict[str, Any]:
    if comparison is None:
        return {"published": None, "published_text": wording.MISSING, "against": None, "published_page": None}
    return {
        "published": comparison.published.value,
        "published_text": f"{wording.metric(comparison.published.value, metric)}, {comparison.verdict}",
        "against": comparison.verdict,
        "published_page": "published.html",
    }
