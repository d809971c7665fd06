"""The first page's figure: every seed's test score, a panel a task, a line a model."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from suite.report import content, style, wording
from suite.report.evidence.groups import Group, Section
from suite.report.evidence.sections import better_by_hand
from suite.report.plots import common
from suite.report.plots.common import Plot
from suite.report.style import Look
from suite.report.tables import overview

_COLUMNS = 4
_LETTERS = 30  # of a title's line, as wide as a panel


def glance(sections: Sequence[Section], looks: Mapping[str, Look], *, whole: Sequence[Section] = ()) -> Plot | None:
    """Test scores of one section a task (``overview.headline``): a marker a seed, a bar at the median.

    Args:
        sections: each with one group a model.
        looks: a look for every model.
        whole: the same sections with all their groups, for recipes set by hand that do better on validation data.

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
    hand = []
    for number, (axes, section, title) in enumerate(zip(panels, sections, titles)):
        for group in section.groups:
            _points(axes, group, models, looks[group.run.model])
        every = next((one.groups for one in whole if one.slug == section.slug), [])
        for group in better_by_hand(every, higher_is_better=section.higher_is_better):
            if group.run.model in models:
                _points(axes, group, models, looks[group.run.model], hollow=True)
                hand.append(f"{section.name}: {group.label}")
        names = [wording.model_title(model) for model in models] if number % columns == 0 else []
        axes.set_yticks(range(len(models)), names or [""] * len(models))
        axes.set_ylim(len(models) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)
        axes.set_title(title, fontsize=10, loc="left")
        _metric_axis(axes, section)
    for axes in panels[len(sections) :]:
        axes.remove()
    _share_error_limits(panels, sections)
    for axes, section in zip(panels, sections):
        _tell_missing(axes, section, models)
    by_hand = f" Hollow: set by hand, and better on validation data ({'; '.join(hand)})." if hand else ""
    tracks = [f", track {section.track}" if section.track != "paper" else "" for section in sections]
    named = "; ".join(section.name + track for section, track in zip(sections, tracks))
    return common.finish(
        figure,
        name="glance",
        title="Every task at a glance",
        caption="Test score at the epoch with the best validation score: a marker a seed, a bar at their median;"
        " dotted: chance, for errors a constant guess. Right is better for accuracies, left for errors. Of a task the"
        f" setting that most models and seeds have been trained in: {named}.{by_hand}",
    )


def task_title(section: Section) -> str:
    """The task's title; of the adding problem with its length."""
    if section.variant.task in content.ADDING:
        return f"{wording.task_title('adding')}, T={section.options['length']}"
    return wording.task_title(section.variant.task)


def _title(section: Section) -> str:
    """The task, then units, length of training and seeds."""
    sizes = sorted({int(group.run.recipe["hidden_size"]) for group in section.groups})
    counts = sorted({len(group.done) for group in section.groups if group.done})
    seeds = f"{counts[0]} seed{'' if counts == [1] else 's'}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]} seeds"
    words = f"H={', '.join(map(str, sizes))}, {overview.trained(section)}, {seeds}".replace(" seed", "\u00a0seed")
    return "\n".join(line for text in (task_title(section), words) for line in textwrap.wrap(text, _LETTERS))


def _points(axes: Axes, group: Group, models: Sequence[str], look: Look, *, hollow: bool = False) -> None:
    scores = [entry.score for entry in group.done if entry.score is not None]
    if not scores:
        return
    y = models.index(group.run.model)
    kind = {"markerfacecolor": "none", "markeredgewidth": 1.2} if hollow else {"alpha": 0.6, "markeredgewidth": 0.0}
    axes.plot(scores, [y] * len(scores), color=look.colour, marker=look.marker, markersize=6, linestyle="none", **kind)
    if len(scores) > 1 and not hollow:
        axes.plot(
            np.median(scores), y, color=look.colour, marker="|", markersize=17, markeredgewidth=2.2, linestyle="none"
        )


def _metric_axis(axes: Axes, section: Section) -> None:
    if section.metric == "accuracy":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    elif common.logarithmic(section):
        axes.set_xscale("log")
    axes.set_xlabel(f"test {wording.metric_unit(section.metric)}")
    if section.chance is None:
        return
    low, high = axes.get_xlim()
    if section.metric == "accuracy" and low - section.chance > 2 * (high - low):  # its line would press them together
        axes.set_xlabel(f"{axes.get_xlabel()}, chance {100 * section.chance:.0f}")
    else:
        axes.axvline(section.chance, color=style.FAINT, linestyle=(0, (1, 2)), linewidth=1.4, zorder=1)


def _share_error_limits(panels: Sequence[Axes], sections: Sequence[Section]) -> None:
    """Panels of one error metric share an axis: where all stay at a constant guess, no small difference is blown up."""
    for metric in {section.metric for section in sections if not section.higher_is_better}:
        same = [axes for axes, section in zip(panels, sections) if section.metric == metric]
        limits = [axes.get_xlim() for axes in same]
        for axes in same:
            axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def _tell_missing(axes: Axes, section: Section, models: Sequence[str]) -> None:
    """Words for models that lost runs, beside the others' markers, or have none in this setting."""
    for y, model in enumerate(models):
        group = next((one for one in section.groups if one.run.model == model), None)
        lost = len(group.diverged) + len(group.failed) if group is not None else 0
        if group is not None and not lost:
            continue
        scores = [entry.score for entry in group.done if entry.score is not None] if group is not None else []
        if lost and scores:
            middle = axes.transAxes.inverted().transform(axes.transData.transform((np.median(scores), y)))[0]
            right = middle < 0.5
            at, coordinates = max(scores) if right else min(scores), "data"
        else:
            right, at, coordinates = section.higher_is_better, 0.0 if section.higher_is_better else 1.0, "axes fraction"
        axes.annotate(
            f"{lost} lost" if lost else "not in this setting", (at, y), xycoords=(coordinates, "data"),
            xytext=(9 if right else -9, 0), textcoords="offset points", ha="left" if right else "right", va="center",
            fontsize=9, color=style.FAINT,
        )  # fmt: skip
