"""What one model measured of itself on one task: profiles of its state blocks, gradient norms, its own diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from suite.report import content, style, wording
from suite.report.evidence.groups import Group, Section
from suite.report.plots import common, gradients
from suite.report.plots.common import Plot
from suite.report.style import Look

_BLOCKS = ("-", "--", ":", "-.")


def diagnostics(section: Section, group: Group, looks: Mapping[str, Look]) -> Plot | None:
    """One figure: gradient profile a state block, gradient-norm quantiles, and every diagnostic over epochs."""
    about = content.model(group.run.model)
    measured = {name for entry in group.entries for name in entry.diagnostics}
    names = [name for name in about["diagnostics"] if name in measured]
    names += sorted(measured - set(names))
    constants = {name: value for name in names if (value := _constant(group, name)) is not None}
    names = [name for name in names if name not in constants]
    count = 2 + len(names)
    columns = min(3, count)
    rows = -(-count // columns)
    figure, panels = style.canvas(
        rows, columns, width=2.75 * columns, height=2.6 * rows + 0.2, left=0.7, between=0.7, titles=2
    )
    look = looks[group.run.model]
    drawn = _profiles(panels[0], group, look, about["blocks"] or _blocks(group))
    drawn = _norms(panels[1], group, look) or drawn
    for axes, name in zip(panels[2:], names):
        drawn = _values(axes, group, name, look) or drawn
        axes.set_title(_broken(about["diagnostics"].get(name, name)), fontsize=10)
    for axes in panels[count:]:
        axes.remove()
    if not drawn:
        return None
    still = "; ".join(f"{about['diagnostics'].get(name, name)}: {value:.4g}" for name, value in constants.items())
    return common.finish(
        figure,
        name=f"diagnostics-{group.run.model}-{section.slug}-{group.key}",
        title=section.name,
        caption=f"{group.label} on {section.name}, track {section.track},"
        f" {wording.budget(group.run.budget.epochs, None)}, seeds {wording.seeds(sorted(group.seeds))}."
        " Left: norm of dL/d(state) over t, a line a state block. Gradient norm: median of an"
        " epoch's steps, band from the 10 % to the 90 % quantile. Means over seeds, geometric for norms."
        f"{f' Constant: {still}.' if still else ''}",
    )


def _constant(group: Group, name: str) -> float | None:
    """The diagnostic's value where no run and no epoch changes it."""
    values = np.concatenate([entry.diagnostics[name] for entry in group.entries if name in entry.diagnostics])
    known = values[np.isfinite(values)]
    return float(known[0]) if known.size and np.ptp(known) == 0 else None


def _blocks(group: Group) -> list[str]:
    """Names of the state blocks, as the records of a model without a description of its own have them."""
    return [str(name) for name in group.entries[0].record["where"].get("blocks", [])]


def _broken(title: str) -> str:
    """A long title on two lines."""
    if len(title) <= 28:
        return title
    middle = min((i for i, c in enumerate(title) if c == " "), key=lambda i: abs(i - len(title) // 2), default=-1)
    return title if middle < 0 else f"{title[:middle]}\n{title[middle + 1 :]}"


def _profiles(axes: Axes, group: Group, look: Look, blocks: list[str]) -> bool:
    for block, dashes in enumerate(_BLOCKS):
        line = gradients.profile_line(group, untrained=False, block=block)
        if line is not None and np.isfinite(line[1]).any():
            name = blocks[block] if block < len(blocks) else f"block {block}"
            axes.plot(*line, color=look.colour, linestyle=dashes, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("time step t")
    axes.set_title("gradient profile, trained", fontsize=10)
    if axes.lines:
        values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
        top = np.nanmax(values)
        axes.set_ylim(max(float(np.nanmin(values)) / 3, top * gradients.FLOOR), top * 5)
        if len(axes.lines) > 1:
            axes.legend(loc="best", fontsize=10)
    return bool(axes.lines)


def _norms(axes: Axes, group: Group, look: Look) -> bool:
    found = common.norm_rows(group)
    axes.set_xlabel("epoch")
    axes.set_title("total gradient norm", fontsize=10)
    if found is None:
        return False
    x, rows = found
    low, middle, high = (gradients.geometric_mean(rows[:, :, i]) for i in (1, 2, 3))
    axes.plot(x, middle, color=look.colour)
    axes.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)
    if np.isfinite(middle).any():
        axes.set_yscale("log")
    common.whole_numbers(axes)
    return bool(np.isfinite(middle).any())


def _values(axes: Axes, group: Group, name: str, look: Look) -> bool:
    entries = [entry for entry in group.done or group.entries if name in entry.diagnostics]
    rows = common.stack(entries, lambda entry: entry.diagnostics[name])
    axes.set_xlabel("epoch")
    if not rows.size:
        return False
    x = entries[0].curve["epoch"][: rows.shape[1]]
    axes.plot(x, rows.mean(axis=0), color=look.colour)
    if rows.shape[0] > 1:
        axes.fill_between(x, rows.min(axis=0), rows.max(axis=0), color=look.colour, alpha=0.18, linewidth=0)
    common.whole_numbers(axes)
    return True
