"""Gradient profiles over t, and gradient norms over training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from suite.report import style
from suite.report.evidence.entries import Array, Profile
from suite.report.evidence.groups import Group, Section
from suite.report.plots import common
from suite.report.plots.common import Plot
from suite.report.style import Look

FLOOR = 1e-16  # of the largest norm that is drawn: what is below is no gradient that a float32 optimiser could use
CEILING = 1e4  # times the largest norm near the last step: a gradient that explodes would press all others together


def geometric_mean(rows: Array) -> Array:
    """Column-wise geometric mean; NaN where a row is zero (the norm underflowed) or not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(rows)
    logs[~np.isfinite(logs)] = np.nan
    return np.asarray(np.exp(logs.mean(axis=0)))


def profile_line(group: Group, *, untrained: bool, block: int = 0) -> tuple[Array, Array] | None:
    """(t, norm) of one state block: geometric mean over the seeds whose profiles share their time points.

    ``untrained`` takes the profile before the first step of every run, else the last one of the finished runs; of
    diverged runs, whose last profile is of an early epoch, only where no run finished.
    """
    found: list[Profile] = []
    for entry in group.entries if untrained else group.done or group.entries:
        chosen = [profile for profile in entry.profiles if (profile.epoch == 0) == untrained]
        if chosen and chosen[-1].norms.shape[0] > block:
            found.append(chosen[-1])
    found = [profile for profile in found if np.array_equal(profile.t, found[0].t)]
    if not found:
        return None
    return found[0].t, geometric_mean(np.array([profile.norms[block] for profile in found]))


def profiles(section: Section, looks: Mapping[str, Look]) -> Plot | None:
    """Norm of dL/dh_t over t, all models in one figure: untrained on the left, trained on the right."""
    figure, panels = style.canvas(1, 2, height=3.9, titles=1)
    for axes, untrained in zip(panels, (True, False)):
        for shift, (group, dashes) in enumerate(common.drawn(section)):
            line = profile_line(group, untrained=untrained)
            if line is not None and np.isfinite(line[1]).any():
                draw_profile(axes, line, looks[group.run.model], dashes, group.label, shift)
        axes.set_yscale("log")
        axes.set_xlabel("time step t")
        axes.set_title("before training" if untrained else "after training")
    if not any(axes.lines for axes in panels):
        return None
    panels[0].set_ylabel("norm of dL/dh at step t")
    _share_limits(panels)
    common.legend(figure, panels)
    return common.finish(
        figure,
        name=f"profiles-{section.slug}",
        title="Gradient profiles",
        caption=f"{section.name}: Frobenius norm of the total gradient dL/dh at every time step, on the first 64"
        " validation examples; geometric mean over seeds. After training is after the last epoch, of finished runs"
        f" where there are any. The axis is cut {-round(np.log10(FLOOR))} decades below its top, and the top"
        f" {round(np.log10(CEILING))} decades above the largest norm in the last tenth of the steps. Gaps: a norm of"
        f" some seed is zero in float32.{common.basis(section)}{common.left_out(section)}",
    )


def draw_profile(axes: Axes, line: tuple[Array, Array], look: Look, dashes: str, label: str, shift: int) -> None:
    """One profile as a line; points that underflowed leave a gap."""
    t, norm = line
    axes.plot(t, norm, label=label, markevery=common.mark_every(t.size, 9 * shift), **common.line_style(look, dashes))


def _share_limits(panels: list[Axes]) -> None:
    values = [np.asarray(line.get_ydata(), dtype=float) for axes in panels for line in axes.lines]
    known = np.concatenate(values)
    known = known[np.isfinite(known) & (known > 0)]
    ends = np.concatenate([norm[-max(1, norm.size // 10) :] for norm in values])
    ends = ends[np.isfinite(ends) & (ends > 0)]
    top = min(known.max(), ends.max() * CEILING) if ends.size else known.max()
    for axes in panels:
        axes.set_ylim(max(known.min() / 3, top * FLOOR), top * 5)


def norms(section: Section, looks: Mapping[str, Look]) -> Plot | None:
    """Total gradient norm over training: median over an epoch's steps; up to three models with a band."""
    figure, (axes,) = style.canvas()
    banded = len(common.drawn(section)) <= 3  # more bands than three hide each other
    for shift, (group, dashes) in enumerate(common.drawn(section)):
        found = common.norm_rows(group)
        if found is None:
            continue
        x, rows = found
        low, middle, high = (geometric_mean(rows[:, :, i]) for i in (1, 2, 3))
        look = looks[group.run.model]
        axes.plot(
            x, middle, label=group.label, markevery=common.mark_every(x.size, shift), **common.line_style(look, dashes)
        )
        if banded:
            axes.fill_between(x, low, high, color=look.colour, alpha=0.13, linewidth=0)
    if not any(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any() for line in axes.lines):
        return None
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("total gradient norm")
    common.whole_numbers(axes)
    common.legend(figure, axes)
    return common.finish(
        figure,
        name=f"gradient-norm-{section.slug}",
        title="Gradient norm over training",
        caption=f"{section.name}: norm of the whole gradient before clipping. Median over an epoch's steps"
        f"{' (band: from the 10 % to the 90 % quantile)' if banded else ''}, geometric mean over seeds."
        f"{common.basis(section)}{common.left_out(section)}",
    )
