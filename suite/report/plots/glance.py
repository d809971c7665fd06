"""The first page's figure: every seed's test score, a panel a task, a line a model."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from suite.report import content, style, wording
from suite.report.evidence.groups import Section
from suite.report.plots import common
from suite.report.plots.common import Plot
from suite.report.style import Look
from suite.report.tables import overview

_COLUMNS = 4
_LETTERS = 27  # of a title's line, as wide as a panel


def glance(sections: Sequence[Section], looks: Mapping[str, Look]) -> Plot | None:
    """Test scores of one section a task (``overview.headline``): a marker a seed, a bar at the mean.

    Returns:
        The plot, or None where fewer than two tasks or two models have a finished run.
    """
    sections = [section for section in sections if any(group.done for group in section.groups)]
    models = wording.model_order(group.run.model for section in sections for group in section.groups if group.done)
    if len(sections) < 2 or len(models) < 2:
        return None
    columns = min(_COLUMNS, len(sections))
    rows = -(-len(sections) // columns)
    titles = [_title(section) for section in sections]
    lines = max(title.count("\n") + 1 for title in titles)
    left = 0.35 + 0.085 * max(len(wording.model_title(model)) for model in models)
    figure, panels = style.canvas(
        rows, columns,
        width=left + 2.35 * columns + 0.3, height=rows * (1.45 + 0.24 * len(models) + 0.2 * lines),
        left=left, between=0.28, titles=lines,
    )  # fmt: skip
    for number, (axes, section, title) in enumerate(zip(panels, sections, titles)):
        _points(axes, section, models, looks)
        names = [wording.model_title(model) for model in models] if number % columns == 0 else []
        axes.set_yticks(range(len(models)), names or [""] * len(models))
        axes.set_ylim(len(models) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)
        axes.set_title(title, fontsize=10.5, loc="left")
        _metric_axis(axes, section)
    for axes in panels[len(sections) :]:
        axes.remove()
    _share_error_limits(panels, sections)
    for axes, section in zip(panels, sections):
        _tell_missing(axes, section, models)
    tracks = [f", track {section.track}" if section.track != "paper" else "" for section in sections]
    named = "; ".join(section.name + track for section, track in zip(sections, tracks))
    return common.finish(
        figure,
        name="glance",
        title="Every task at a glance",
        caption="Test score at the epoch with the best validation score: a marker a seed, a bar at their mean; dotted:"
        " a constant guess. Right is better for accuracies, left for errors. Of a task the setting that most models and"
        f" seeds have been trained in: {named}.",
    )


def _title(section: Section) -> str:
    """The task, then units and length of training."""
    task = wording.task_title(section.variant.task)
    if section.variant.task in content.ADDING:
        task = f"{wording.task_title('adding')}, T={section.options['length']}"
    sizes = sorted({int(group.run.recipe["hidden_size"]) for group in section.groups})
    words = f"H={', '.join(map(str, sizes))}, {overview.trained(section)}"
    return "\n".join(line for text in (task, words) for line in textwrap.wrap(text, _LETTERS))


def _points(axes: Axes, section: Section, models: Sequence[str], looks: Mapping[str, Look]) -> None:
    for group in section.groups:
        look, y = looks[group.run.model], models.index(group.run.model) if group.done else 0
        scores = [entry.score for entry in group.done if entry.score is not None]
        axes.plot(
            scores, [y] * len(scores), color=look.colour, marker=look.marker, markersize=6, alpha=0.6,
            linestyle="none", markeredgewidth=0,
        )  # fmt: skip
        if len(scores) > 1:
            axes.plot(
                np.mean(scores), y, color=look.colour, marker="|", markersize=17, markeredgewidth=2.2,
                linestyle="none",
            )  # fmt: skip


def _metric_axis(axes: Axes, section: Section) -> None:
    if section.metric == "accuracy":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    elif common.logarithmic(section):
        axes.set_xscale("log")
    axes.set_xlabel(f"test {wording.metric_unit(section.metric)}")
    if section.chance is not None:
        axes.axvline(section.chance, color=style.FAINT, linestyle=(0, (1, 2)), linewidth=1.4, zorder=1)


def _share_error_limits(panels: Sequence[Axes], sections: Sequence[Section]) -> None:
    """Panels of one error metric share an axis: where all stay at a constant guess, no small difference is blown up."""
    for metric in {section.metric for section in sections if not section.higher_is_better}:
        same = [axes for axes, section in zip(panels, sections) if section.metric == metric]
        limits = [axes.get_xlim() for axes in same]
        for axes in same:
            axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def _tell_missing(axes: Axes, section: Section, models: Sequence[str]) -> None:
    """Words for models that lost runs or have none, at the end of the line that is free."""
    for y, model in enumerate(models):
        group = next((one for one in section.groups if one.run.model == model), None)
        lost = len(group.diverged) + len(group.failed) if group is not None else 0
        if group is not None and not lost:
            continue
        scores = [entry.score for entry in group.done if entry.score is not None] if group is not None else []
        drawn = [axes.transAxes.inverted().transform(axes.transData.transform((score, y)))[0] for score in scores]
        right = max(drawn, default=0.0) < 0.7
        axes.annotate(
            f"{lost} lost" if lost else "not run", (float(right), y), xycoords=("axes fraction", "data"),
            xytext=(-3 if right else 3, 0), textcoords="offset points", ha="right" if right else "left", va="center",
            fontsize=9, color=style.FAINT,
        )  # fmt: skip
