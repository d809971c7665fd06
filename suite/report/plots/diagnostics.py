"""What one model measured of itself on one task: profiles of its state blocks, gradient norms, its own diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from suite.report import content, style, wording
from suite.report.evidence.entries import Array
from suite.report.evidence.groups import Group, Section
from suite.report.plots import common, gradients
from suite.report.plots.common import Plot
from suite.report.style import Look

_BLOCKS = ("-", "--", ":", "-.")
_LEFT = " Left: norm of dL/d(state) over t, a line a state block{some}."
_NORM = " Gradient norm: median of an epoch's steps, band from the 10 % to the 90 % quantile."


def diagnostics(section: Section, group: Group, looks: Mapping[str, Look]) -> Plot | None:
    """One figure: gradient profile a state block, gradient-norm quantiles, and every diagnostic over epochs."""
    about = content.model(group.run.model)
    measured = {name for entry in group.entries for name in entry.diagnostics}
    names = [name for name in about["diagnostics"] if name in measured]
    names += sorted(measured - set(names))
    constants = {name: value for name in names if (value := _constant(group, name)) is not None}
    names = [name for name in names if name not in constants]
    look = looks[group.run.model]
    blocks = max(about["blocks"], _blocks(group), key=len)  # of several layers only records know the names
    profiles, norms = _profile_lines(group, blocks), _norm_lines(group)
    draw: list[Callable[[Axes], None]] = []
    if profiles:
        draw.append(partial(_profiles, lines=profiles, look=look))
    if norms is not None:
        draw.append(partial(_norms, lines=norms, look=look))
    for name in names:
        x, values = _values(group, name)
        if values.size:
            draw.append(partial(_curve, x=x, rows=values, look=look, title=_broken(_title(about, name))))
    if not draw:
        return None
    columns = min(3, len(draw))
    rows = -(-len(draw) // columns)
    figure, panels = style.canvas(
        rows, columns, width=2.75 * columns, height=2.6 * rows + 0.2, left=0.7, between=0.7, titles=2
    )
    for axes, one in zip(panels, draw):
        one(axes)
    for axes in panels[len(draw) :]:
        axes.remove()
    still = "; ".join(f"{_title(about, name)}: {value:.4g}" for name, value in constants.items())
    some = f", the first {len(_BLOCKS)} of {len(blocks)}" if len(blocks) > len(_BLOCKS) else ""
    return common.finish(
        figure,
        name=f"diagnostics-{group.run.model}-{section.slug}-{group.key}",
        title=section.name,
        caption=f"{group.label} on {section.name}, track {section.track},"
        f" {wording.budget(group.run.budget.epochs, None)}, seeds {wording.seeds(sorted(group.seeds))}."
        f"{_LEFT.format(some=some) if profiles else ''}{_NORM if norms is not None else ''}"
        " Means over seeds, geometric for norms."
        f"{f' Constant: {still}.' if still else ''}",
    )


def _constant(group: Group, name: str) -> float | None:
    """The diagnostic's value where no run and no epoch changes it."""
    values = np.concatenate([entry.diagnostics[name] for entry in group.entries if name in entry.diagnostics])
    known = values[np.isfinite(values)]
    return float(known[0]) if known.size and np.ptp(known) == 0 else None


def _title(about: Mapping[str, Any], name: str) -> str:
    """A diagnostic in words, with its layer where a model has several."""
    plain, layer, number = name.partition(" of layer ")
    return f"{about['diagnostics'].get(plain, plain)}{layer}{number}"


def _blocks(group: Group) -> list[str]:
    """Names of the state blocks as the records have them, which models without a description have nowhere else."""
    return [str(name) for name in group.entries[0].record["where"].get("blocks", [])]


def _broken(title: str) -> str:
    """A long title on two lines."""
    if len(title) <= 28:
        return title
    middle = min((i for i, c in enumerate(title) if c == " "), key=lambda i: abs(i - len(title) // 2), default=-1)
    return title if middle < 0 else f"{title[:middle]}\n{title[middle + 1 :]}"


def _profile_lines(group: Group, blocks: Sequence[str]) -> dict[str, tuple[Array, Array]]:
    """(t, norm) of every state block with a profile of the trained model, by the block's name."""
    found = {}
    for block in range(len(_BLOCKS)):
        line = gradients.profile_line(group, untrained=False, block=block)
        if line is not None and np.isfinite(line[1]).any():
            found[blocks[block] if block < len(blocks) else f"block {block}"] = line
    return found


def _profiles(axes: Axes, *, lines: Mapping[str, tuple[Array, Array]], look: Look) -> None:
    for (name, line), dashes in zip(lines.items(), _BLOCKS):
        axes.plot(*line, color=look.colour, linestyle=dashes, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("time step t")
    axes.set_title("gradient profile, trained", fontsize=10)
    values = np.concatenate([norm for _, norm in lines.values()])
    top = np.nanmax(values)
    bottom = max(float(np.nanmin(values)) / 3, top * gradients.FLOOR)
    axes.set_ylim(bottom, top * 5)
    if len(lines) > 2:  # of several layers: under the lines
        axes.set_ylim(bottom * bottom / (top * 5), top * 5)
        axes.legend(loc="lower left", fontsize=8)
    elif len(lines) > 1:
        axes.legend(loc="best", fontsize=10)


def _norm_lines(group: Group) -> tuple[Array, Array, Array, Array] | None:
    """(epochs, 10 % quantile, median, 90 % quantile) of the gradient norm, or None where no median is finite."""
    found = common.norm_rows(group)
    if found is None:
        return None
    x, rows = found
    low, middle, high = (gradients.geometric_mean(rows[:, :, i]) for i in (1, 2, 3))
    return (x, low, middle, high) if np.isfinite(middle).any() else None


def _norms(axes: Axes, *, lines: tuple[Array, Array, Array, Array], look: Look) -> None:
    x, low, middle, high = lines
    _line(axes, x, middle, look)
    axes.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_title("total gradient norm", fontsize=10)
    common.whole_numbers(axes)


def _line(axes: Axes, x: Array, y: Array, look: Look) -> None:
    """A line over epochs; a marker where there is one epoch, of which a line shows nothing."""
    axes.plot(x, y, color=look.colour, marker=look.marker if x.size == 1 else "", markeredgewidth=0.0)


def _values(group: Group, name: str) -> tuple[Array, Array]:
    """(epochs, the diagnostic's values (seeds, epochs)) as far as every seed has them."""
    entries = [entry for entry in group.done or group.entries if name in entry.diagnostics]
    rows = common.stack(entries, lambda entry: entry.diagnostics[name])
    return entries[0].curve["epoch"][: rows.shape[1]] if entries else np.array([]), rows


def _curve(axes: Axes, *, x: Array, rows: Array, look: Look, title: str) -> None:
    _line(axes, x, rows.mean(axis=0), look)
    if rows.shape[0] > 1:
        axes.fill_between(x, rows.min(axis=0), rows.max(axis=0), color=look.colour, alpha=0.18, linewidth=0)
    axes.set_xlabel("epoch")
    axes.set_title(title, fontsize=10)
    common.whole_numbers(axes)
    if 0 < np.abs(axes.get_ylim()).max() < 1e-3:  # in each tick, for a factor above the axis would run into the title
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
