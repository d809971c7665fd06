"""The figures of the coRNN paper, from our records."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from suite.report import content, style, wording
from suite.report.entries import Array, Entry
from suite.report.groups import Group, Section
from suite.report.plots import common, learning
from suite.report.plots.common import Plot
from suite.report.style import Look
from suite.runs import is_set

_VARIED = ("epsilon", "gamma")
_LENGTHS = (500, 2000, 5000)  # of the paper's figure 1


def test_points(entry: Entry) -> tuple[Array, Array]:
    """(steps, test metric) at the epochs that were tested."""
    test = entry.curve["test"]
    known = np.isfinite(test)
    return entry.curve["steps"][known], test[known]


def adding(sections: Sequence[Section], looks: Mapping[str, Look]) -> Plot | None:
    """Test MSE of the adding problem against steps, a panel a length; every run of the longest budget is a line."""
    by_length: dict[int, list[Group]] = {}
    for section in sections:
        changed = {*content.departures(section.variant.task, section.options)} - {"length"}
        if section.variant.task in content.ADDING and section.track == "paper" and not changed:
            length = int(section.options.get("length", 0))
            by_length.setdefault(length, []).extend(group for group in section.primaries if not group.by_hand)
    by_length = {length: groups for length, groups in by_length.items() if groups}
    lengths = [length for length in by_length if length in _LENGTHS] or sorted(by_length)[:3]
    if not lengths:
        return None
    figure, panels = style.canvas(1, len(lengths), width=3.0 * len(lengths) + 1.2, height=3.9, titles=1)
    for axes, length in zip(panels, sorted(lengths)):
        for shift, group in enumerate(_longest(by_length[length])):
            _tested(axes, group, looks[group.run.model], shift)
        axes.set_title(f"T = {length:,}")
        axes.set_yscale("log")
        axes.set_xlabel("optimiser steps")
        axes.axhline(1 / 6, color=style.FAINT, linestyle=(0, (1, 2)), linewidth=1.4)
        axes.xaxis.set_major_locator(common.MaxNLocator(nbins=4, integer=True))
    panels[0].set_ylabel("test MSE")
    common.legend(figure, panels)
    seeds = "; ".join(f"T={length}: {_seed_counts(by_length[length])}" for length in sorted(lengths))
    return common.finish(
        figure,
        name="paper-adding",
        title="Adding problem",
        caption="Test MSE against optimiser steps; dotted: a constant guess, 0.167. A line a seed; one"
        f" that ends in a cross diverged. Seeds a model: {seeds}. Published as figure 1 of the coRNN paper.",
    )


def _longest(groups: Sequence[Group]) -> list[Group]:
    """One group a model: the one that trained for most steps."""
    best: dict[str, Group] = {}
    for group in groups:
        known = best.get(group.run.model)
        if known is None or _steps(group) > _steps(known):
            best[group.run.model] = group
    return [best[model] for model in wording.model_order(best)]


def _steps(group: Group) -> float:
    return max((float(entry.curve["steps"][-1]) for entry in group.entries if entry.curve["steps"].size), default=0.0)


def _seed_counts(groups: Sequence[Group]) -> str:
    counts = sorted({len(group.done) + len(group.diverged) for group in _longest(groups)})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _tested(axes: Axes, group: Group, look: Look, shift: int) -> None:
    """A line a run: some seeds leave the plateau and others do not, which a mean would hide."""
    label: str | None = wording.model_title(group.run.model)
    for entry in sorted((*group.done, *group.diverged), key=lambda entry: entry.run.seed):
        steps, values = test_points(entry)
        if not steps.size:
            continue
        drawn = {**common.line_style(look, "-"), "markevery": common.mark_every(steps.size, shift), "markersize": 4}
        axes.plot(steps, values, label=label, linewidth=1.3, **drawn)
        label = None
        if entry in group.diverged:
            axes.plot(steps[-1:], values[-1:], color=look.colour, marker="x", markersize=9, markeredgewidth=2)


def psmnist_128(sections: Sequence[Section], looks: Mapping[str, Look]) -> Plot | None:
    """Validation curves on psMNIST of every model with 128 units, whatever its number of epochs."""
    groups = [
        group
        for section in sections
        if section.variant.task == "psmnist" and section.track == "paper"
        if not content.departures("psmnist", section.options)
        for group in section.groups
        if group.run.recipe.get("hidden_size") == 128 and not group.by_hand
    ]
    if not groups:
        return None
    chosen = _longest(groups)
    home = next(section for section in sections if chosen[0] in section.groups)
    labelled = []
    for group in chosen:
        copy = Group(group.entries, label=f"{wording.model_title(group.run.model)}, {group.run.budget.epochs} epochs")
        labelled.append(copy)
    plot = learning.learning(replace(home, groups=labelled, name="psmnist, 128 units"), looks)
    if plot is None:
        return None
    caption = plot.caption + (
        " Published as figure 2 of the coRNN paper; no recipe for this size is published in a source that could be"
        " read, so no verdict is given."
    )
    return replace(plot, name="paper-psmnist-128", title="psMNIST at 128 units", caption=caption)


def assumption(sections: Sequence[Section]) -> Plot | None:
    """The paper's weight assumption during training: eta against dt^(1/2), a panel a task, mean and sd over seeds."""
    found = []
    for section in sections:
        for group in section.primaries:
            by_hand = any(is_set(group.entries[0].record["sources"].get(key)) for key in ("dt", *_VARIED))
            if group.run.model == "cornn" and section.track == "paper" and not by_hand:
                entries = [entry for entry in group.entries if "eta" in entry.diagnostics]
                if entries:
                    found.append((_panel_title(section, len(entries)), entries))
    if not found:
        return None
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    lines = max(title.count("\n") + 1 for title, _ in found)
    figure, panels = style.canvas(
        rows, columns, width=3.0 * columns + 0.6, height=2.8 * rows + 0.3, left=0.6, between=0.5, titles=lines
    )
    for axes, (title, entries) in zip(panels, found):
        for name, label, look in (
            ("eta", "η (γ = ε = 1)", style.LOOKS["cornn"]),
            ("eta_general", "η with the task's γ and ε", style.LOOKS["exprnn"]),
        ):
            values = common.stack(entries, _diagnostic(name))
            _mean_and_sd(axes, entries[0].curve["epoch"][: values.shape[1]], values, look, label)
        axes.axhline(
            float(entries[0].diagnostics["dt_r"][0]), color=style.INK, linestyle="--", linewidth=1.3, label="√Δt"
        )
        axes.set_title(title, fontsize=9.5)
        common.whole_numbers(axes)
        axes.set_ylim(bottom=0)
    for axes in panels[len(found) :]:
        axes.remove()
    for axes in panels[len(found) - columns : len(found)]:
        axes.set_xlabel("epoch")
    common.legend(figure, panels[0])
    return common.finish(
        figure,
        name="paper-assumption",
        title="Weight assumption during training",
        caption="The assumption of the coRNN paper's propositions, as recalled (its text was not seen), asks for"
        " η ≤ Δt^r with 1/2 ≤ r ≤ 1; dashed: r = 1/2."
        " η is max(Δt(1+‖W‖∞), Δt‖Z‖∞)/(1+Δt); the second line has γ and ε in place of 1. Mean over seeds (n),"
        " band: one standard deviation. Published as figure 3 of the coRNN paper.",
    )


def _panel_title(section: Section, runs: int) -> str:
    """Task, variant and number of runs, in lines that fit a panel."""
    task, _, variant = section.name.partition(" ")
    words = f"{variant}, n={runs}" if variant else f"n={runs}"
    return "\n".join([task, *textwrap.wrap(words, width=34)])


def _diagnostic(name: str) -> Callable[[Entry], Array]:
    return lambda entry: entry.diagnostics[name]


def _mean_and_sd(axes: Axes, x: Array, rows: Array, look: Look, label: str) -> None:
    if not rows.size:
        return
    mean = rows.mean(axis=0)
    axes.plot(x, mean, label=label, markevery=common.mark_every(x.size), **common.line_style(look, "-"))
    if rows.shape[0] > 1:
        sd = rows.std(axis=0, ddof=1)
        axes.fill_between(x, mean - sd, mean + sd, color=look.colour, alpha=0.2, linewidth=0)


def ablations(sections: Sequence[Section]) -> list[Plot]:
    """Heat maps of the mean score over epsilon and gamma: one a section and rest of the recipe, from 2 x 2 on."""
    plots = []
    for section in sections:
        held: dict[str, dict[tuple[float, float], Group]] = {}
        varied: set[str] = set()  # rests of a recipe beside which epsilon or gamma was set by hand
        for group in section.groups:
            if group.run.model == "cornn" and section.track == "paper":
                recipe, sources = group.run.recipe, group.entries[0].record["sources"]
                rest = wording.options({key: value for key, value in recipe.items() if key not in _VARIED})
                held.setdefault(rest, {})[(float(recipe["epsilon"]), float(recipe["gamma"]))] = group
                if any(is_set(sources.get(key)) for key in _VARIED):
                    varied.add(rest)
        found = [_heat_map(section, held[rest], number) for number, rest in enumerate(sorted(varied))]
        plots += [plot for plot in found if plot is not None]
    return plots


def _heat_map(section: Section, points: Mapping[tuple[float, float], Group], number: int) -> Plot | None:
    epsilons, gammas = (sorted({point[i] for point in points}) for i in (0, 1))
    if len(epsilons) < 2 or len(gammas) < 2:
        return None
    values = np.full((len(gammas), len(epsilons)), np.nan)
    for (epsilon, gamma), group in points.items():
        mean = group.spread.mean
        values[gammas.index(gamma), epsilons.index(epsilon)] = np.nan if mean is None else mean
    figure, (axes,) = style.canvas(width=1.15 * len(epsilons) + 1.1, height=0.7 * len(gammas) + 0.8)
    axes.grid(visible=False)
    image = axes.pcolormesh(values, cmap="cividis" if section.higher_is_better else "cividis_r")
    axes.set_xticks(np.arange(len(epsilons)) + 0.5, [wording.option(value) for value in epsilons])
    axes.set_yticks(np.arange(len(gammas)) + 0.5, [wording.option(value) for value in gammas])
    axes.set_xlabel("ε")
    axes.set_ylabel("γ")
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value):
            known = (epsilons[column], gammas[row]) in points
            axes.text(column + 0.5, row + 0.5, "diverged" if known else "", ha="center", va="center", color=style.INK)
        else:
            bright = float(np.mean(image.cmap(image.norm(value))[:3])) > 0.5
            ink = "#0a0a0a" if bright else "#fefefe"  # kept in both themes: the cell's colour does not change
            axes.text(
                column + 0.5, row + 0.5, wording.metric(value, section.metric), ha="center", va="center", color=ink
            )
    counts = sorted({len(group.done) for group in points.values()})
    return common.finish(
        figure,
        name=f"paper-ablation-{section.slug}-{number}",
        title="Ablation over ε and γ",
        caption=f"{section.name}, {section.budget}: mean test {wording.metric_unit(section.metric)} of coRNN;"
        f" seeds a cell: {', '.join(map(str, counts))}. Published as figure 4 of the coRNN paper.",
    )
