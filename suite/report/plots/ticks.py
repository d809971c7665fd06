"""Readable ticks."""

from __future__ import annotations

import math
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power(value: float, *, wide: bool = False) -> str:
    """A tick of a logarithmic axis: ``0.01``, ``200``, ``10⁻⁷``, ``2·10⁷``; text, as formulas take long to draw.

    ``wide`` writes every number as a power of ten, for axes over many decades.
    """
    if value <= 0:
        return ""  # a locator may ask beyond the axis
    if not wide and 1e-3 <= value < 1e7:
        return f"{value:,.10g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    front = value / 10**exponent
    raised = "10" + str(exponent).translate(_RAISED)
    return raised if abs(front - 1) < 1e-6 else f"{front:g}·{raised}"


def _tick(value: float, _: int | None, *, wide: bool) -> str:
    return power(value, wide=wide)


def tick_logs(axes: Axes) -> None:
    """Readable ticks on logarithmic axes: powers of ten, or 1-2-5 steps where the axis spans little."""
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if axis.get_scale() != "log" or min(limits) <= 0:
            continue
        ratio = max(limits) / min(limits)
        if ratio > 1e3:
            axis.set_major_locator(LogLocator(numticks=9))
        elif ratio > 4:
            beside = axis is axes.xaxis and _width(axes) < 4 and max(limits) >= 1e4  # long numbers side by side
            few = 20 if beside else 200
            axis.set_major_locator(
                LogLocator(subs=(1.0, 2.0, 5.0) if ratio <= few else (1.0, 3.0) if beside else (1.0,))
            )
        else:
            room = 3 if axis is axes.xaxis and _width(axes) < 4 else 4  # long numbers side by side
            axis.set_major_locator(MaxNLocator(nbins=room, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(partial(_tick, wide=ratio > 1e4)))
        axis.set_minor_locator(NullLocator())  # small ticks would take a third of all drawing time


def _width(axes: Axes) -> float:
    """Inches."""
    return float(axes.bbox.width / axes.figure.dpi)
