"""Figures of measurements beside the records: speed tables and theory checks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from suite.report import style, wording
from suite.report.plots import common
from suite.report.plots.common import Plot
from suite.report.style import Look

_ENGINES = (  # colours of engines, told apart from models' by the legend's heading; markers for grey print
    ("reference", Look("#8c4a6b", "X")),
    ("fused", Look("#0072b2", "o")),
    ("native", Look("#d55e00", "s")),
    ("torch", Look("#e69f00", "v")),
    ("graph", Look("#cc79a7", "D")),
    ("triton", Look("#009e73", "^")),
)
_VARIANTS = ("<", ">", "p", "*", "h", "d", "P")  # markers of an engine's precisions and numbers of seeds
_DEEPEST = 1e-40  # of a logarithmic axis: far below float32, and lines that fall on press all others together
_SIGNS = (
    (r"\bdt\^\(1/2\)", "√Δt"), (r"\bdt\b", "Δt"), (r"\beta\b", "η"), (r"\bgamma\b", "γ"), (r"\bepsilon\b", "ε"),
    (r"\bdtheta\b", "dθ"), (r"\|\|(.+?)\|\|_inf", r"‖\1‖∞"), (r"\bsqrt\((\w+)\)", r"√\1"),
)  # fmt: skip
_DASHES = ("--", ":", "-.")  # bounds of a theory check
_SERIES = (  # curves of a theory check that name no model
    Look("#0072b2", "o"),
    Look("#d55e00", "s"),
    Look("#009e73", "^"),
    Look("#cc79a7", "D"),
    Look("#e69f00", "v"),
    Look("#56b4e9", "P"),
)


def colours() -> Sequence[Look]:
    """Every look that these figures use, so that the stylesheet knows the colours."""
    return [look for _, look in _ENGINES] + list(_SERIES)


def engine_look(engine: str) -> Look:
    """An engine's look; the part before a variant (``native-sgemm``) decides."""
    known = dict(_ENGINES)
    return known.get(engine, known.get(engine.partition("-")[0], Look("#6699cc", "h")))


def _looks(engines: Iterable[str]) -> dict[str, Look]:
    """A look for each: an engine's precisions and numbers of seeds (``triton-tf32-x16``) share its colour alone."""
    found: dict[str, Look] = {}
    for engine in engines:
        look = engine_look(engine)
        taken = [other.marker for other in found.values() if other.colour == look.colour]
        free = [marker for marker in (look.marker, *_VARIANTS) if marker not in taken]
        found[engine] = Look(look.colour, (free or [look.marker])[0])
    return found


def ratios(name: str, values: Mapping[str, Any]) -> list[Plot]:
    """Speed over the plain loop, one figure a number of threads: a row a shape and model, a marker an engine."""
    rows = [row for row in values["rows"] if row.get("ratio_to_loop") is not None]
    plots = []
    for threads in sorted({int(row["threads"]) for row in rows}):
        chosen = [row for row in rows if int(row["threads"]) == threads]
        keys = list(dict.fromkeys((row["shape"], row["model"]) for row in chosen))
        longest = max(len(f"{wording.model_title(model)}, {shape}") for shape, model in keys)
        figure, (axes,) = style.canvas(width=7.8, height=0.9 + 0.34 * len(keys), left=0.3 + 0.092 * longest)
        for engine, look in _looks(dict.fromkeys(row["engine"] for row in chosen)).items():
            mine = [row for row in chosen if row["engine"] == engine]
            x = [float(row["ratio_to_loop"]) for row in mine]
            y = [keys.index((row["shape"], row["model"])) for row in mine]
            axes.plot(x, y, color=look.colour, marker=look.marker, linestyle="none", markersize=8, label=engine)
        axes.axvline(1.0, color=style.FAINT, linestyle=(0, (1, 2)), linewidth=1.4)
        axes.set_yticks(range(len(keys)), [f"{wording.model_title(model)}, {shape}" for shape, model in keys])
        axes.set_ylim(len(keys) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("training step: times as fast as the plain loop")
        common.legend(figure, axes)
        word = "thread" if threads == 1 else "threads"
        many = any(row.get("seeds") not in (None, 1) for row in chosen)
        plots.append(
            common.finish(
                figure,
                name=f"speed-{name}-{threads}-{word}",
                title=f"Speed over the plain loop, {threads} {word}",
                caption=f"{machine(values)}, {values['date']}. Ratios of median training steps measured side by side."
                + (" An engine that ends in -xN trains N seeds in a step, beside N steps of the loop." if many else ""),
            )
        )
    return plots


def machine(values: Mapping[str, Any]) -> str:
    """The machine of a file of measurements, in words."""
    known = values["machine"]
    words = [str(known[key]) for key in ("gpu", "cpu") if known.get(key)]
    return ", ".join(words) if words else wording.options(known)


def check(stem: str, values: Mapping[str, Any], looks: Mapping[str, Look]) -> Plot:
    """One theory check: its curves, and the bounds where it has some."""
    points = [(x, name) for series in values["series"] for name, x in zip(series.get("names") or (), series["x"])]
    figure, (axes,) = style.canvas(titles=2 if points else 0)
    for index, series in enumerate(values["series"]):
        look = _look(series["label"], index, looks)
        x, y = (_array(series[key]) for key in ("x", "y"))
        drawn = common.line_style(look, "-")
        if series.get("names"):
            drawn["linestyle"] = "none"
        else:
            drawn["markevery"] = common.mark_every(x.size, 5 * index)
        axes.plot(x, y, label=signs(series["label"]), **drawn)
    for bound, dashes in zip(values["bound"], itertools.cycle(_DASHES)):
        x, y = (_array(bound[key]) for key in ("x", "y"))
        axes.plot(x, y, color=style.INK, linestyle=dashes, linewidth=1.5, label=signs(bound["label"]))
    for axis in ("x", "y"):
        if values[f"log_{axis}"]:
            axes.set(**{f"{axis}scale": "log"})
    for place, (x, name) in enumerate(sorted(set(points))):  # in two rows above the axes: neighbours may be close
        height, above = 1.09 if place % 2 else 1.02, axes.get_xaxis_transform()
        axes.text(x, height, name, transform=above, ha="center", fontsize=9, color=style.INK)
    axes.set_xlabel(signs(values["x_label"]))
    axes.set_ylabel(signs(values["y_label"]))
    cut = values["log_y"] and 0 < axes.get_ylim()[0] < _DEEPEST < axes.get_ylim()[1]
    if cut:
        axes.set_ylim(bottom=_DEEPEST)
    common.legend(figure, axes)
    return common.finish(
        figure,
        name=f"theory-{stem}",
        title=values["title"],
        caption=f"Measured {values['date']} on {machine(values)}.{' The axis is cut at 10⁻⁴⁰.' if cut else ''}",
    )


def signs(text: str) -> str:
    """A label of a check as the field writes it: models by their titles, Greek letters, norms."""
    for name in sorted(wording.MODEL_TITLES, key=len, reverse=True):
        if text == name or text.startswith(f"{name},"):
            text = wording.MODEL_TITLES[name] + text.removeprefix(name)
            break
    for pattern, sign in _SIGNS:
        text = re.sub(pattern, sign, text)
    return text


def _array(values: Sequence[float | None]) -> Any:
    return np.array(values, dtype=float)


def _look(label: str, index: int, looks: Mapping[str, Look]) -> Look:
    """A model's own look where the label opens with its name or title, else one of a fixed row."""
    for model in sorted(style.LOOKS, key=len, reverse=True):
        if label.startswith((model, wording.model_title(model))):
            return (looks | style.LOOKS)[model]  # type: ignore[operator]
    return _SERIES[index % len(_SERIES)]
