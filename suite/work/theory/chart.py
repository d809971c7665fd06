"""What a check leaves behind: one JSON file with curves, bounds and a finding computed from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from suite.work import provenance
from suite.work.training.measure import digits

SCHEMA = 1
POINTS = 200  # points a curve keeps: enough for a figure

Numbers = Sequence[float] | torch.Tensor


@dataclass(frozen=True)
class Curve:
    """One curve; values that a log axis or JSON cannot show become null.

    Attributes:
        label: what it is.
        x: where.
        y: what.
        names: of the points, where each stands for something of its own and no line joins them.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    names: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        values = {"label": self.label, "x": list(self.x), "y": list(self.y)}
        return values | ({"names": list(self.names)} if self.names else {})


def curve(label: str, x: Numbers, y: Numbers, *, log: bool = False) -> Curve:
    """A curve of at most 200 points, evenly taken (the last one is kept), with six digits.

    Args:
        label: what it is.
        x: where.
        y: what, as many.
        log: the axis of y is logarithmic: values that are not positive become null.
    """
    xs, ys = _list(x), _list(y)
    count = min(len(xs), POINTS)
    kept = [round(i * (len(xs) - 1) / max(1, count - 1)) for i in range(count)]
    values = [digits(ys[i], 6) if ys[i] > 0 or not log else None for i in kept]
    return Curve(label, tuple(float(f"{xs[i]:.6g}") for i in kept), tuple(values))


def _list(values: Numbers) -> list[float]:
    return [float(v) for v in (values.tolist() if isinstance(values, torch.Tensor) else values)]


@dataclass(frozen=True)
class Chart:
    """One figure of one check.

    Attributes:
        stem: name of its file.
        check: a key of ``suite.work.theory.CHECKS``.
        title: a heading.
        x_label: with unit.
        y_label: with unit.
        series: what was measured.
        finding: one or two sentences computed from the numbers.
        bound: what theory says, or None.
        log_x: logarithmic axis.
        log_y: logarithmic axis.
    """

    stem: str
    check: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Curve, ...]
    finding: str
    bound: tuple[Curve, ...] | None = None
    log_x: bool = False
    log_y: bool = False

    def text(self, *, command: str, date: str, machine: Mapping[str, Any], runs: Mapping[str, str]) -> str:
        """The file's text; ``runs`` are the ids of the recipes behind it, to see whether it is out of date."""
        values = {
            "schema": SCHEMA, "check": self.check, "title": self.title, "command": command, "date": date,
            "machine": dict(machine), "runs": dict(runs), "x_label": self.x_label, "y_label": self.y_label,
            "log_x": self.log_x, "log_y": self.log_y, "series": [one.as_json() for one in self.series],
            "bound": None if self.bound is None else [one.as_json() for one in self.bound], "finding": self.finding,
        }  # fmt: skip
        body = ",\n".join(f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in values.items())
        return "{\n" + body + "\n}\n"


def machine(threads: int) -> dict[str, Any]:
    """Where a check ran."""
    return {"cpu": provenance.processor(), "threads": threads, "torch": provenance.libraries()["torch"]}


def short(value: float) -> str:
    """A number in a sentence: three digits."""
    return f"{value:.3g}" if math.isfinite(value) else str(value)


def listed(words: Sequence[str]) -> str:
    """Words as ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
