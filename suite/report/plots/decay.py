"""How much of the loss's gradient arrives at the first steps of a sequence: every model and task in one figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from suite.report import style, wording
from suite.report.evidence.groups import Group, Section
from suite.report.plots import common, glance, gradients
from suite.report.plots.common import Plot

# Norms below are not a gradient's: with flush-to-zero a value stops to decay where its loss a step is below 1.2e-38,
# which leaves norms of coRNN at some 1e-35.
SMALLEST = 1e-30
END = 10  # the first tenth of the steps is compared with the last step
_DEEPEST = 16.0  # decades at which the colour ends
_LETTERS = 13  # of a column's title


def decades(group: Group, *, untrained: bool) -> float | None:
    """Decades between the norm of dL/dh at the last step and the median norm in the first tenth of the steps.

    Returns:
        Below 0 where the gradient vanishes on its way back, above where it grows; -inf where it is zero in float32;
        None without a profile.
    """
    line = gradients.profile_line(group, untrained=untrained)
    if line is None or not np.isfinite(line[1][-1]):
        return None
    first = np.nan_to_num(line[1][: max(1, line[1].size // END)])
    middle = float(np.median(np.where(first < SMALLEST, 0.0, first)))
    return float(np.log10(middle) - np.log10(line[1][-1])) if middle > 0 else -np.inf


def decay(sections: Sequence[Section]) -> Plot | None:
    """A cell a model and task, before and after training: ``decades``.

    Args:
        sections: one a task, each with one group a model. Those read out at each example's own last step are left out:
            there the loss enters all along the sequence.

    Returns:
        The plot, or None where fewer than two tasks or two models have profiles.
    """
    kept = [section for section in sections if section.options.get("readout") != "valid"]
    found = {
        (section.slug, group.run.model, untrained): value
        for section in kept
        for group in section.groups
        for untrained in (True, False)
        if (value := decades(group, untrained=untrained)) is not None
    }
    kept = [section for section in kept if any(slug == section.slug for slug, _, _ in found)]
    models = wording.model_order(model for _, model, _ in found)
    if len(kept) < 2 or len(models) < 2:
        return None
    names = [textwrap.fill(glance.task_title(section), _LETTERS) for section in kept]
    left = 0.35 + 0.085 * max(len(wording.model_title(model)) for model in models)
    lines = max(name.count("\n") + 1 for name in names)
    figure, panels = style.canvas(
        1, 2, width=left + 2 * 0.72 * len(kept) + 0.6, height=0.34 * len(models) + 0.95,
        left=left, between=0.3, titles=1,
    )  # fmt: skip
    for axes, untrained in zip(panels, (True, False)):
        values = np.array(
            [[found.get((section.slug, model, untrained), np.nan) for section in kept] for model in models]
        )
        axes.grid(visible=False)
        image = axes.pcolormesh(np.clip(values, -_DEEPEST, _DEEPEST), cmap="PuOr", vmin=-_DEEPEST, vmax=_DEEPEST)
        axes.set_ylim(len(models), 0)
        axes.set_xticks(np.arange(len(kept)) + 0.5, names, fontsize=8)
        titles = [wording.model_title(model) for model in models] if untrained else [""] * len(models)
        axes.set_yticks(np.arange(len(models)) + 0.5, titles)
        axes.tick_params(length=0)
        axes.set_title("before training" if untrained else "after training")
        for (row, column), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            ink = common.ink_on(image, max(float(value), -_DEEPEST))
            axes.text(column + 0.5, row + 0.5, _text(value), ha="center", va="center", color=ink, fontsize=10)
    style.heighten(figure, max(0.0, 0.14 * lines - 0.3))
    return common.finish(
        figure,
        name="decay",
        title="How much gradient arrives",
        caption="Decades between the norm of dL/dh at the last step and its median over the first tenth of the steps:"
        " 0, the first steps hear as much of the loss as the last one; −3, a thousandth; above 0, more. −∞: zero, or"
        " too small for float32 (below 10⁻³⁰). First 64 validation examples, geometric mean over seeds; after training"
        " is after the last epoch. Settings as in the figure above; tasks that read each example's own last step (IMDB"
        " at the last word) are left out.",
    )


def _text(value: float) -> str:
    if value == -np.inf:
        return "−∞"
    return f"{value:+.0f}".replace("-", "−") if abs(value) >= 9.5 else f"{value:+.1f}".replace("-", "−")
