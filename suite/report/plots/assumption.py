"""The coRNN paper's weight assumption during training, from our records."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes

from suite.report import style, wording
from suite.report.evidence.entries import Array, Entry
from suite.report.evidence.groups import Group, Section
from suite.report.plots import common
from suite.report.plots.common import Plot
from suite.report.style import Look
from suite.runs import is_set

_SET = ("dt", "epsilon", "gamma")  # set by hand, they make another network
_Panel = tuple[Section, Group, Sequence[Entry]]  # the runs that are drawn
_LETTERS = 32  # of a title's line, as wide as a panel


def assumption(sections: Sequence[Section]) -> Plot | None:
    """The paper's weight assumption during training: eta against dt^(1/2), a panel a task, mean and sd over seeds."""
    found: list[_Panel] = []
    for section in sections:
        for group in section.primaries:
            by_hand = any(is_set(group.entries[0].record["sources"].get(key)) for key in _SET)
            if group.run.model == "cornn" and section.track == "paper" and not by_hand:
                drawn = [entry for entry in group.done or group.entries if "eta" in entry.diagnostics]
                if drawn:
                    found.append((section, group, drawn))
    if not found:
        return None
    found = _longest(found)
    titles = _titles(found)
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    lines = max(title.count("\n") + 1 for title in titles)
    figure, panels = style.canvas(
        rows, columns, width=3.0 * columns + 0.6, height=2.8 * rows + 0.3, left=0.6, between=0.5, titles=lines
    )
    for axes, title, (_, _, entries) in zip(panels, titles, found):
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
        axes.set_yscale("log")
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
        " η is max(Δt(1+‖W‖∞), Δt‖Z‖∞)/(1+Δt); the second line has γ and ε in place of 1. Mean over finished seeds (n),"
        f" band: one standard deviation. {_broken(entries for *_, entries in found)}"
        " The quantity of the coRNN paper's figure 3.",
    )


def _longest(panels: Sequence[_Panel]) -> list[_Panel]:
    """Of a task the longest training, of equal ones that of most seeds."""
    best: dict[str, _Panel] = {}
    for panel in panels:
        task = panel[0].variant.task
        if task not in best or _weight(panel) > _weight(best[task]):
            best[task] = panel
    return list(best.values())


def _weight(panel: _Panel) -> tuple[int, int]:
    return panel[1].run.budget.epochs, len(panel[2])


def _broken(panels: Iterable[Sequence[Entry]]) -> str:
    """Whether the assumption holds: the least and the greatest eta over dt^(1/2), and at the last epochs."""
    ratios = [
        entry.diagnostics["eta"] / entry.diagnostics["dt_r"]
        for entries in panels
        for entry in entries
        if np.isfinite(entry.diagnostics["eta"]).any()
    ]
    every = np.concatenate(ratios) if ratios else np.array([])
    every = every[np.isfinite(every)]
    if not every.size:
        return ""
    met = f"{(every <= 1).sum()} of {every.size}" if (every <= 1).any() else "none"
    last = [float(ratio[np.isfinite(ratio)][-1]) for ratio in ratios]
    span = f"{wording.number(min(last), 2)} to {wording.number(max(last), 2)}"
    return f"Met after {met} of the epochs drawn; after a run's last one η is {span} times √Δt."


def _titles(panels: Sequence[_Panel]) -> list[str]:
    """Task, variant, epochs, units and number of runs, in lines that fit a panel; where panels are alike, more."""
    names = [(section.name, _length(group)) for section, group, _ in panels]
    beyond = [(section.budget, section.machine or "", group.label) for section, group, _ in panels]
    titles = []
    for name, mine, (section, _, entries) in zip(names, beyond, panels):
        alike = [other for another, other in zip(names, beyond) if another == name]
        more = [word for i, word in enumerate(mine) if word and any(other[i] != word for other in alike)]
        task, _, variant = section.name.partition(" ")
        words = ", ".join([name[1], *more, f"n={len(entries)}"])
        titles.append("\n".join([task, *textwrap.wrap(variant, _LETTERS), *textwrap.wrap(words, _LETTERS)]))
    return titles


def _length(group: Group) -> str:
    budget = group.run.budget
    return f"{wording.budget(budget.epochs, budget.max_seconds)}, H={group.run.recipe.get('hidden_size')}"


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
