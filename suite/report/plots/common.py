"""What figures share: the Plot type, lines over seeds, axes in the task's metric."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from suite.report import style, wording
from suite.report.evidence.entries import Array, Entry
from suite.report.evidence.groups import Group, Section
from suite.report.plots import ticks
from suite.report.style import Look

MOST_LINES = 9  # more recipes than this stand in the tables alone
_DASHES = ("-", "--", ":", "-.")
_FILLS = {"-": "full", "--": "none", ":": "left", "-.": "bottom"}  # of the markers, which a point or one epoch shows


@dataclass(frozen=True)
class Plot:
    """A finished figure.

    Attributes:
        name: stem of its file, unique in the site.
        title: short heading.
        caption: what is drawn, on what data, over how many seeds.
        svg: the SVG text (``style.svg``).
        files: the figure in further kinds, ``pdf`` say (``style.files``).
    """

    name: str
    title: str
    caption: str
    svg: str
    files: Mapping[str, bytes] = field(default_factory=dict)


def finish(figure: Figure, *, name: str, title: str, caption: str) -> Plot:
    """Render a figure to a ``Plot``."""
    for axes in figure.axes:
        ticks.tick_logs(axes)
    return Plot(wording.slug(name), title, caption, style.svg(figure), style.files(figure))


def drawn(section: Section) -> list[tuple[Group, str]]:
    """The groups that a figure shows, with a dash pattern that tells recipes of one model apart (see ``marker``)."""
    groups = section.groups if len(section.groups) <= MOST_LINES else section.primaries
    order = wording.model_order(group.run.model for group in groups)
    groups = sorted(groups, key=lambda group: (order.index(group.run.model), not group.primary, group.key))
    seen: dict[str, int] = {}
    shown = []
    for group in groups:
        number = seen.get(group.run.model, 0)
        seen[group.run.model] = number + 1
        shown.append((group, _DASHES[number % len(_DASHES)]))
    return shown


def left_out(section: Section) -> str:
    """A sentence on groups that figures leave out, or nothing."""
    missing = len(section.groups) - len(drawn(section))
    return f" {missing} further recipes are in the table only." if missing else ""


def seeds_note(section: Section) -> str:
    """How many seeds and epochs the lines rest on, and what the band is."""
    counts = sorted({len(group.done) for group, _ in drawn(section)})
    word = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    length = epochs([group for group, _ in drawn(section)])
    if counts[-1] == 0:
        return f"No seed finished; {length}."
    if counts[-1] == 1:
        return f"One seed a model; {length}."
    return f"Lines: median of {word} finished seeds; bands: from the lowest to the highest seed; {length}."


def basis(section: Section) -> str:
    """How many seeds a model, and how many epochs, a figure of the section rests on."""
    groups = [group for group, _ in drawn(section)]
    counts = sorted({len(group.done) for group in groups})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f" {seeds} finished seed{'' if counts == [1] else 's'} a model; {epochs(groups)}."


def epochs(groups: Sequence[Group]) -> str:
    """The budgets of groups in words, ``120 epochs`` say."""
    budgets = {(group.run.budget.epochs, group.run.budget.max_seconds) for group in groups}
    return " or ".join(wording.budget(*one) for one in sorted(budgets, key=lambda one: (one[0], one[1] or 0.0)))


def line_style(look: Look, dashes: str) -> dict[str, Any]:
    """Keyword arguments of ``Axes.plot`` for a model's line."""
    style_ = look.dashes if dashes == "-" else dashes
    return {"color": look.colour, "linestyle": style_, **marker(look, dashes)}


def marker(look: Look, dashes: str) -> dict[str, Any]:
    """Keyword arguments for a model's marker: filled, or for further recipes of the model hollow or half filled."""
    fill = _FILLS[dashes]
    edge = 0.0 if fill == "full" else 1.2
    return {"marker": look.marker, "fillstyle": fill, "markerfacecoloralt": "none", "markeredgewidth": edge}


def mark_every(points: int, shift: int = 0) -> tuple[int, int] | int:
    """Markers at about seven places of a line, shifted so that neighbours' markers do not hide each other."""
    step = max(1, points // 7)
    return (shift % step, step) if step > 1 else 1


def common_length(entries: Sequence[Entry], column: Callable[[Entry], Array]) -> int:
    """Epochs that every entry holds finite values for, from the first on."""
    lengths = []
    for entry in entries:
        values = column(entry)
        bad = np.flatnonzero(~np.isfinite(values))
        lengths.append(int(bad[0]) if bad.size else values.size)
    return min(lengths, default=0)


def stack(entries: Sequence[Entry], column: Callable[[Entry], Array]) -> Array:
    """The entries' columns, one a row, cut to the epochs that all of them hold: (runs, epochs)."""
    length = common_length(entries, column)
    return np.array([column(entry)[:length] for entry in entries]).reshape(len(entries), length)


def norm_rows(group: Group) -> tuple[Array, Array] | None:
    """(epochs, norms): the gradient norm's quantiles (seeds, epochs, 5) as far as every seed has them.

    Of finished runs; of diverged ones only where no run finished.
    """
    entries = [entry for entry in group.done or group.entries if entry.grad_norm.size]
    length = min((len(entry.grad_norm) for entry in entries), default=0)
    if not length:
        return None
    return entries[0].curve["epoch"][:length], np.array([entry.grad_norm[:length] for entry in entries])


def band(axes: Axes, x: Array, rows: Array, look: Look, dashes: str, label: str, shift: int) -> None:
    """Median line with markers, and a band from the lowest to the highest row where there are several.

    Not the mean: where one of three seeds falls, that is a value which none of them has.
    """
    if rows.size == 0:
        return
    axes.plot(x, np.median(rows, axis=0), label=label, markevery=mark_every(x.size, shift), **line_style(look, dashes))
    if rows.shape[0] > 1:
        axes.fill_between(x, rows.min(axis=0), rows.max(axis=0), color=look.colour, alpha=0.16, linewidth=0)


def metric_axis(axes: Axes, section: Section, word: str, *, guess: bool = True) -> None:
    """Label and scale the y axis in the metric, errors on a log axis; ``guess`` draws the line of a constant guess."""
    if section.metric == "accuracy":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        axes.set_ylabel(f"{word} accuracy (%)")
    else:
        axes.set_yscale("log" if logarithmic(section) else "linear")
        axes.set_ylabel(f"{word} {wording.metric_unit(section.metric)}")
    if guess and section.chance is not None:
        label = "chance" if section.higher_is_better else "constant guess"
        axes.axhline(section.chance, color=style.FAINT, linestyle=(0, (1, 2)), linewidth=1.4, zorder=1, label=label)


def logarithmic(section: Section) -> bool:
    """Whether the metric is drawn on a log axis: errors are, where none is negative or zero."""
    if section.higher_is_better or section.metric == "mse":
        return not section.higher_is_better
    values = [entry.curve[name] for group in section.groups for entry in group.entries for name in ("valid", "test")]
    known = np.concatenate([*values, [1.0 if section.chance is None else section.chance]])
    return bool((known[np.isfinite(known)] > 0).all())


def ink_on(image: QuadMesh, value: float) -> str:
    """The colour of words on a cell of a heat map, kept in both themes: the cell's colour does not change."""
    return "#0a0a0a" if float(np.mean(image.cmap(image.norm(np.asarray(value)))[:3])) > 0.5 else "#fefefe"


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only; a single epoch stands in the middle."""
    low, high = axes.dataLim.intervalx
    if low == high:
        axes.set_xlim(low - 1, high + 1)
    narrow = axes.bbox.width / axes.figure.dpi < 3  # inches
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4 if narrow else 8))


def legend(figure: Figure, axes: Axes | Sequence[Axes]) -> None:
    """One legend at the foot of the figure, outside the axes, so that it covers nothing; one entry a label.

    Labels wider than the figure go on in a second line.
    """
    panels = [axes] if isinstance(axes, Axes) else list(axes)
    entries: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    if not entries:
        return
    width = float(figure.get_size_inches()[0])
    columns = max(1, min(4, len(entries), int(width / (0.5 + 0.087 * max(map(len, entries))))))
    labels = [textwrap.fill(label, int((width - 0.5) / 0.087), break_long_words=False) for label in entries]
    lines = -(-len(labels) // columns) if columns > 1 else sum(label.count("\n") + 1 for label in labels)
    style.heighten(figure, 0.1 + 0.24 * lines)
    figure.legend(
        list(entries.values()),
        labels,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=columns,
        handlelength=2.2,
        columnspacing=1.4,
    )
