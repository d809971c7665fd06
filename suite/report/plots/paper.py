"""The figures of the coRNN paper, from our records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from suite.report import content, style, wording
from suite.report.evidence.entries import Array, Entry
from suite.report.evidence.groups import Group, Section
from suite.report.evidence.sections import better_by_hand
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
    tried: dict[int, list[Group]] = {}  # recipes set by hand too
    for section in sections:
        changed = {*content.departures(section.variant.task, section.options)} - {"length"}
        if section.variant.task in content.ADDING and section.track == "paper" and not changed:
            length = int(section.options.get("length", 0))
            by_length.setdefault(length, []).extend(group for group in section.primaries if not group.by_hand)
            tried.setdefault(length, []).extend(section.groups)
    by_length = {length: groups for length, groups in by_length.items() if groups}
    lengths = [length for length in by_length if length in _LENGTHS] or sorted(by_length)[:3]
    if not lengths:
        return None
    figure, panels = style.canvas(1, len(lengths), width=3.0 * len(lengths) + 1.2, height=3.9, titles=1)
    hand = []
    for axes, length in zip(panels, sorted(lengths)):
        for shift, group in enumerate(_longest(by_length[length])):
            _tested(axes, group, looks[group.run.model], shift)
        for group in better_by_hand(tried[length], higher_is_better=False):
            _tested(axes, group, looks[group.run.model], 0, dashes="--")
            hand.append(f"T={length}: {group.label}")
            by_length[length].append(group)
        axes.set_title(f"T = {length:,}")
        axes.set_yscale("log")
        axes.set_xlabel("optimiser steps")
        guesses = {seed: one for group in by_length[length] for seed, one in group.guesses.items()}
        if guesses:
            guess = float(np.mean(list(guesses.values())))
            axes.axhline(guess, color=style.FAINT, linestyle=(0, (1, 2)), linewidth=1.4)
        axes.xaxis.set_major_locator(common.MaxNLocator(nbins=4, integer=True))
    panels[0].set_ylabel("test MSE")
    common.legend(figure, panels)
    seeds = "; ".join(f"T={length}: {_seed_counts(by_length[length])}" for length in sorted(lengths))
    note = (
        f" Dashed: set by hand, and better on validation data than the model's own ({'; '.join(hand)})." if hand else ""
    )
    return common.finish(
        figure,
        name="paper-adding",
        title="Adding problem",
        caption="Test MSE against optimiser steps; dotted: a constant guess, mean over seeds. A line a seed; one"
        f" that ends in a cross diverged. Seeds a model: {seeds}.{note} The experiment of the coRNN paper's figure 1,"
        f" which trains for 60,000 steps; here {_spans(by_length, lengths)}.",
    )


def _spans(by_length: Mapping[int, Sequence[Group]], lengths: Sequence[int]) -> str:
    spans = {length: max(map(_steps, by_length[length])) for length in sorted(lengths)}
    return ", ".join(f"{steps:,.0f} (T={length})" for length, steps in spans.items())


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


def _tested(axes: Axes, group: Group, look: Look, shift: int, *, dashes: str = "-") -> None:
    """A line a run: some seeds leave the plateau and others do not, which a mean would hide."""
    label: str | None = wording.model_title(group.run.model) + (", set by hand" if dashes != "-" else "")
    for entry in sorted((*group.done, *group.diverged), key=lambda entry: entry.run.seed):
        steps, values = test_points(entry)
        if not steps.size:
            continue
        drawn = {**common.line_style(look, dashes), "markevery": common.mark_every(steps.size, shift), "markersize": 4}
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
    home = next(section for section in sections if groups[0] in section.groups)
    longest = _longest(groups)
    labelled = []
    for group in longest:  # one seed that trained long, and the line of more that did not
        several = max((one for one in groups if one.run.model == group.run.model), key=lambda one: len(one.done))
        if len(several.done) > len(group.done):
            labelled.append(_counted(several))
            labelled.append(replace(_counted(group), primary=False))
        else:
            labelled.append(_counted(group))
    spans = [group.run.budget.epochs for group in labelled]
    section = replace(home, groups=labelled, name="psmnist, 128 units")
    plot = learning.learning(section, looks, log=max(spans) > 4 * min(spans))
    if plot is None:
        return None
    caption = plot.caption + (
        " The experiment of the coRNN paper's figure 2; no recipe for this size is published in a source that could be"
        " read, so no verdict is given."
    )
    return replace(plot, name="paper-psmnist-128", title="psMNIST at 128 units", caption=caption)


def _counted(group: Group) -> Group:
    """The group with its epochs and seeds for a label."""
    title, seeds = wording.model_title(group.run.model), len(group.done)
    words = f"{group.run.budget.epochs} epochs, {seeds} seed{'' if seeds == 1 else 's'}"
    return Group(group.entries, label=f"{title}, {words}")


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
            ink, words = common.ink_on(image, value), wording.metric(value, section.metric)
            axes.text(column + 0.5, row + 0.5, words, ha="center", va="center", color=ink)
    counts = sorted({len(group.done) for group in points.values()})
    return common.finish(
        figure,
        name=f"paper-ablation-{section.slug}-{number}",
        title="Ablation over ε and γ",
        caption=f"{section.name}, {section.length}: mean test {wording.metric_unit(section.metric)} of coRNN;"
        f" seeds a cell: {', '.join(map(str, counts))}. The experiment of the coRNN paper's figure 4.",
    )
