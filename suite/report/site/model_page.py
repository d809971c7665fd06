"""A model's page: equations, recipes with the source of each number, every record with its command, diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.report import command, content, wording
from suite.report.evidence.entries import Entry
from suite.report.evidence.groups import Group, Section
from suite.report.site.site import Site
from suite.report.site.views import View
from suite.report.tables.leaderboard import heading
from suite.report.tables.table import Column, Table


def standing(model: str, views: Sequence[View], *, stem: str, by_hand: bool) -> Table | None:
    """Where the model stands: its rows of every section, those of recipes changed by hand or the others.

    ``stem`` is its page's.
    """
    rows = [
        dict(row) | {"page": f"{view.page}#{view.section.slug}"}
        for view in views
        for row in view.short.rows
        if row["model"] == model and row["by_hand"] is by_hand
    ]
    if not rows:
        return None
    columns = [
        Column("variant", "task", left=True, head=True, link="page", wrap=True),
        Column("track", "track", left=True),
        Column("label", "recipe", left=True, wrap=True),
        Column("rank", "rank", "rank_text"),
        Column("mean", "score", "score_text", more=("metric",), note="Accuracy in percent, or MSE."),
        Column("low", "95 % interval", "interval_text", more=("high",)),
        Column("finished", "seeds", "seeds_text", more=("diverged", "failed")),
        Column("epochs", "epochs", "length_text", left=True, more=("protocol_epochs",)),
        Column("hidden_size", "H"),
        Column("parameters", "parameters", "parameters_text"),
        Column("train_seconds", "training", "train_text"),
    ]
    for row in rows:
        unit = "%" if row["metric"] == "accuracy" else wording.metric_unit(row["metric"])
        row["score_text"] = row["mean_text"] + (f" {unit}" if row["mean"] is not None else "")
    title = f"{wording.model_title(model)}: results"
    if by_hand:
        return Table(f"by-hand-{stem}", f"{title} of recipes set by hand", columns, rows)
    return Table(f"model-{stem}", title, columns, rows)


def recipe_table(group: Group, section: Section) -> Table:
    """One recipe: every key, its value and where the value comes from."""
    sources = group.entries[0].record["sources"]
    values: dict[str, Any] = dict(group.run.recipe) | {"epochs": group.run.budget.epochs}
    rows = [
        {
            "key": key,
            "value": values[key] if isinstance(values[key], (int, float, str)) else wording.option(values[key]),
            "value_text": wording.option(values[key]),
            "source": str(sources.get(key, "not recorded")),
        }
        for key in sorted(values, key=lambda key: (key not in ("hidden_size", "lr", "batch_size", "epochs"), key))
    ]
    return Table(
        name=f"recipe-{wording.slug(group.run.model)}-{section.slug}-{group.key}",
        title=f"{group.label}: {heading(section)}",
        columns=[
            Column("key", "key", left=True, head=True),
            Column("value", "value", "value_text", left=True),
            Column("source", "source", left=True, wide=True),
        ],
        rows=rows,
    )


def records_table(group: Group, section: Section) -> Table:
    """Every record of a group, with the command that repeats it."""
    fixed = content.task(section.variant.task)["fixed"]
    return Table(
        name=f"records-{wording.slug(group.run.model)}-{section.slug}-{group.key}",
        title=f"Records of {group.label}: {heading(section)}",
        columns=[
            Column("seed", "seed"),
            Column("id", "record", left=True, head=True, code=True),
            Column("status", "status", left=True),
            Column("test", f"test {wording.metric_unit(section.metric)}", "test_text"),
            Column("test_last", "last epoch", "test_last_text", note="Test metric after the last epoch."),
            Column("best_epoch", "best epoch"),
            Column("train_seconds", "training", "train_text"),
            Column("engine", "engine", left=True),
            Column("finished", "finished", left=True),
            Column("commit", "commit", left=True, code=True),
            Column("command", "command to repeat it", left=True, code=True, wide=True),
        ],
        rows=[_record_row(entry, section, fixed) for entry in group.entries],
        note="The commands take what was not set by hand from the recipes packaged today; where others were in force"
        " (--recipes), python -m suite.run --replay RECORD does what the record says.",
    )


def _record_row(entry: Entry, section: Section, fixed: Sequence[str]) -> Mapping[str, Any]:
    record = entry.record
    metrics, where = record["metrics"], record["where"]
    return {
        "seed": entry.run.seed,
        "id": entry.run.id,
        "status": entry.status,
        "test": entry.score,
        "test_text": wording.metric(entry.score, section.metric),
        "test_last": metrics["test_last"],
        "test_last_text": wording.metric(metrics["test_last"], section.metric),
        "best_epoch": metrics["best_epoch"],
        "train_seconds": entry.seconds("train"),
        "train_text": wording.seconds(entry.seconds("train")),
        "engine": entry.engine,
        "finished": str(where["finished"]),
        "commit": (str(where["commit"])[:12] + (" *" if where["dirty"] else "")) if where["commit"] else None,
        "command": command.repeat(record, fixed=fixed),
    }


def write(model: str, views: Sequence[View], site: Site) -> None:
    """Write a model's page."""
    recipes, plots = [], []
    for view in views:
        for group in view.section.groups:
            if group.run.model != model:
                continue
            recipes.append(
                {
                    "heading": f"{heading(view.section)}: {group.label}",
                    "recipe": site.table(recipe_table(group, view.section)),
                    "records": site.table(records_table(group, view.section)),
                }
            )
            plot = view.diagnostics[group.key]
            if plot is not None:
                plots.append(site.plot(plot))
    path = site.model_page(model)
    results, by_hand = (standing(model, views, stem=Path(path).stem, by_hand=changed) for changed in (False, True))
    about = site.model(model)
    site.page(
        path,
        "model.html",
        title=about["title"],
        name=model,
        model=about,
        equations=[content.equation(line) for line in about["equations"]],
        results=site.table(results) if results else None,
        by_hand=site.table(by_hand) if by_hand else None,
        recipes=recipes,
        plots=plots,
    )
