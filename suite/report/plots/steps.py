"""Time of a training step, by engine and machine, as the runs recorded it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from suite.report import style, wording
from suite.report.evidence.entries import Entry
from suite.report.evidence.groups import Section
from suite.report.plots import common
from suite.report.plots.common import Plot
from suite.report.style import Look

_LETTERS = 44  # of a label's line
_SIZE, _GAP = 10.5, 9.0  # of the numbers beside the markers: letters, room before them, in points


def step_rows(sections: Sequence[Section]) -> list[dict[str, object]]:
    """One row a (recipe, hidden size, batch size, engine, machine): median step and quartiles in ms over runs.

    ``shared``: whether one of the runs shared its machine, or its record cannot say.
    """
    found: dict[tuple[str, str, int, int, str, str], list[Entry]] = {}
    for section in sections:
        for group in section.groups:
            for entry in group.entries:
                if entry.record["seconds"]["step_median"] is not None:
                    recipe = entry.run.recipe
                    key = (
                        entry.run.model,
                        group.label,
                        int(recipe.get("hidden_size", 0)),
                        int(recipe.get("batch_size", 0)),
                        entry.engine,
                        entry.machine,
                    )
                    found.setdefault(key, []).append(entry)
    order = wording.model_order(key[0] for key in found)
    rows = []
    for key in sorted(found, key=lambda key: (key[5], order.index(key[0]), key)):
        seconds = found[key]
        ms = {
            name: 1000 * float(np.median([t for entry in seconds if (t := entry.seconds(f"step_{name}")) is not None]))
            for name in ("median", "q25", "q75")
        }
        names = ("model", "label", "hidden_size", "batch_size", "engine", "machine")
        shared = any(entry.shared for entry in seconds)
        rows.append(dict(zip(names, key)) | ms | {"runs": len(seconds), "shared": shared})
    return rows


def _label(row: Mapping[str, object]) -> str:
    words = f"{row['label']}, {row['engine']}, H={row['hidden_size']}, B={row['batch_size']}"
    return "\n".join(textwrap.wrap(words, _LETTERS))


def step_times(
    stem: str, name: str, rows: Sequence[Mapping[str, object]], looks: Mapping[str, Look], machine: str
) -> Plot | None:
    """Median training step in ms, a row a model and engine, on one machine.

    Args:
        stem: for the file's name.
        name: the task variant's name, for the caption.
        rows: of ``step_rows``.
        looks: a look for every model.
        machine: only rows of this machine are drawn.
    """
    chosen = [row for row in rows if row["machine"] == machine]
    if not chosen:
        return None
    labels, words = [_label(row) for row in chosen], []
    longest = max(len(line) for label in labels for line in label.split("\n"))
    tall = max(label.count("\n") for label in labels)  # lines beyond the first
    figure, (axes,) = style.canvas(height=0.8 + (0.42 + 0.17 * tall) * len(chosen), left=0.3 + 0.092 * longest)
    for y, row in enumerate(chosen):
        look = looks[str(row["model"])]
        low, middle, high = (float(str(row[key])) for key in ("q25", "median", "q75"))
        axes.hlines(y, min(low, middle), max(high, middle), color=look.colour, linewidth=3, alpha=0.45)
        axes.plot(middle, y, marker=look.marker, color=look.colour, markersize=9, linestyle="none")
        words.append((middle, wording.number(middle) + ("*" if row["shared"] else "")))
        axes.annotate(words[-1][1], (middle, y), xytext=(_GAP, 5), textcoords="offset points", fontsize=_SIZE)
    axes.set_yticks(range(len(chosen)), labels)
    axes.set_ylim(len(chosen) - 0.4, -0.6)
    _make_room_right(axes, words)
    axes.set_xlabel("training step (ms)")
    note = (
        " *: a run shared the machine with other work, or its record cannot say: an upper bound."
        if any(row["shared"] for row in chosen)
        else ""
    )
    runs = sum(int(str(row["runs"])) for row in chosen)
    return common.finish(
        figure,
        name=f"steps-{stem}-{machine}",
        title="Time a training step, by engine",
        caption=f"{name} on {machine}: median over a run's last 2,000 steps at most, median over runs"
        f" ({runs} in all); bars: quartiles.{note}",
    )


def _make_room_right(axes: Axes, words: Sequence[tuple[float, str]]) -> None:
    """From 0 to so far right that the words beside the points x end within the axes."""
    width = 72 * axes.bbox.width / axes.figure.dpi
    rooms = [(x, _GAP + 0.7 * _SIZE * len(text)) for x, text in words]  # a digit is 0.64 em wide
    ends = [x / (1 - min(room / width, 0.5)) for x, room in rooms]
    axes.set_xlim(0, max(axes.get_xlim()[1], *ends))
