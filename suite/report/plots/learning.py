"""Learning curves: the validation metric against epochs or steps, and against seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from suite.report import style, wording
from suite.report.evidence import facts
from suite.report.evidence.entries import Array, Entry
from suite.report.evidence.groups import Group, Section
from suite.report.evidence.published import Curve
from suite.report.plots import common
from suite.report.plots.common import Plot
from suite.report.style import Look

_WORDS = {"accuracy": "Accuracy", "mse": "Error"}


def _valid(entry: Entry) -> Array:
    return entry.curve["valid"]


def learning(
    section: Section,
    looks: Mapping[str, Look],
    *,
    published: Sequence[Curve] = (),
    against: str | None = None,
    log: bool = False,
) -> Plot | None:
    """Validation metric against epochs (``against="steps"``: optimiser steps), all models in one figure.

    Args:
        section: what to draw.
        looks: a look for every model.
        published: curves from a publication to lay over, labelled with their source.
        against: ``epoch`` or ``steps``; None takes steps for errors and epochs for accuracies.
        log: whether that axis is logarithmic, for runs of very different lengths.

    Returns:
        The plot, or None where no run of the section has a validation value.
    """
    column = against or ("epoch" if section.metric == "accuracy" else "steps")
    figure, (axes,) = style.canvas()
    for shift, (group, dashes) in enumerate(common.drawn(section)):
        _line_and_band(axes, group, column, looks[group.run.model], dashes, shift)
        _broken_lines(axes, group, column, looks[group.run.model])
    if not axes.lines:
        return None
    for curve in published:
        look = looks.get(curve.model, style.LOOKS["cornn"])
        axes.plot(
            curve.epoch, curve.valid, color=look.colour, linewidth=1.1, dashes=(5, 1.5, 1, 1.5), label=curve.label
        )
    axes.set_xlabel("epoch" if column == "epoch" else "optimiser steps")
    if log:
        axes.set_xscale("log")
    else:
        common.whole_numbers(axes)
    common.metric_axis(axes, section, "validation")
    common.legend(figure, axes)
    note = " A line that ends in a cross is a run that diverged." if any(g.diverged for g in section.groups) else ""
    extra = f" Thin line: {'; '.join(curve.source for curve in published)}." if published else ""
    return common.finish(
        figure,
        name=f"learning-{section.slug}",
        title="Learning curves",
        caption=f"{section.name}: validation {wording.METRIC_TITLES.get(section.metric, section.metric)} during"
        f" training. {common.seeds_note(section)}{note}{extra}{common.left_out(section)}",
    )


def _line_and_band(axes: Axes, group: Group, column: str, look: Look, dashes: str, shift: int) -> None:
    rows = common.stack(group.done, _valid)
    if rows.size:
        x = group.done[0].curve[column][: rows.shape[1]]
        common.band(axes, x, rows, look, dashes, group.label, shift)


def _broken_lines(axes: Axes, group: Group, column: str, look: Look) -> None:
    """Diverged runs, one thin line each up to the last finite value, and a cross there."""
    label = None if group.done else group.label
    for entry in group.diverged:
        length = common.common_length([entry], _valid)
        if length:
            x, y = entry.curve[column][:length], entry.curve["valid"][:length]
            axes.plot(x, y, color=look.colour, linewidth=0.9, alpha=0.7, label=label)
            axes.plot(x[-1], y[-1], color=look.colour, marker="x", markersize=8, markeredgewidth=2)
            label = None


def against_seconds(section: Section, looks: Mapping[str, Look], machine: str) -> Plot | None:
    """Validation metric against training seconds, for the runs of one machine."""
    figure, (axes,) = style.canvas()
    shared = 0
    for shift, (group, dashes) in enumerate(common.drawn(section)):
        entries = [entry for entry in group.done if entry.machine == machine]
        rows = common.stack(entries, _valid)
        if not rows.size:
            continue
        seconds = np.mean([entry.clock[: rows.shape[1]] for entry in entries], axis=0)
        common.band(axes, seconds, rows, looks[group.run.model], dashes, group.label, shift)
        shared += sum(entry.shared for entry in entries)
    if not axes.lines:
        return None
    axes.set_xscale("log")
    axes.set_xlabel("training seconds (mean over seeds)")
    common.metric_axis(axes, section, "validation")
    common.legend(figure, axes)
    here = [group for group, _ in common.drawn(section) if any(entry.machine == machine for entry in group.done)]
    note = f" {facts.engines_differ(here)}".rstrip() + (
        f" {shared} of these runs shared the machine with other work, or cannot say: their seconds are upper bounds."
        if shared
        else ""
    )
    return common.finish(
        figure,
        name=f"seconds-{section.slug}-{machine}",
        title=f"{_WORDS.get(section.metric, wording.metric_unit(section.metric))} against seconds",
        caption=f"{section.name} on {machine}. {common.seeds_note(section)}{note}{common.left_out(section)}",
    )


def costs(section: Section, looks: Mapping[str, Look]) -> Plot | None:
    """Test metric against training seconds and against parameters: one point a group, with its interval."""
    figure, panels = style.canvas(1, 2, height=3.6)
    for group, dashes in common.drawn(section):
        spread = group.spread
        if spread.mean is None:
            continue
        look = looks[group.run.model]
        xs = (group.seconds("train") or 0.0, float(group.entries[0].record["size"]["parameters"]))
        for axes, x in zip(panels, xs):
            error = None
            if spread.low is not None and spread.high is not None:
                low = max(spread.low, spread.mean / 100) if common.logarithmic(section) else spread.low
                error = [[spread.mean - low], [spread.high - spread.mean]]
            axes.errorbar(
                x,
                spread.mean,
                yerr=error,
                label=group.label,
                color=look.colour,
                markersize=9,
                linestyle="none",
                capsize=3,
                **common.marker(look, dashes),
            )
    if not panels[0].containers:
        return None
    for axes, label in zip(panels, ("training seconds a run", "trained parameters")):
        axes.set_xscale("log")
        axes.set_xlabel(label)
        common.metric_axis(axes, section, "test", guess=False)  # its line would press the points together
        if section.metric == "accuracy":  # an interval may reach beyond, no accuracy does
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, 0.0), min(high, 1.005))
    panels[1].set_ylabel("")
    common.legend(figure, panels[0])
    machines = sorted({entry.machine for group in section.groups for entry in group.done})
    warning = "" if len(machines) == 1 else " Seconds from several machines do not compare."
    if any(entry.shared for group in section.groups for entry in group.done):
        warning += (
            " Some machines were shared with other runs or work, or their records cannot say: seconds are upper bounds."
        )
    return common.finish(
        figure,
        name=f"costs-{section.slug}",
        title="Test metric against cost",
        caption=f"{section.name}: mean test {wording.METRIC_TITLES.get(section.metric, section.metric)} over seeds with"
        f" its 95 % interval (none for one seed).{common.basis(section)} Machines: {'; '.join(machines)}.{warning}"
        f"{common.left_out(section)}",
    )
