"""The weight assumption of the paper's propositions 3.2 and 3.3 (label eq:assm), at initialisation.

As recalled: max(dt (1 + |W|), dt |Z|) / (1 + dt) = eta <= dt^r with 1/2 <= r <= 1, norms as largest absolute row sums.
The formula was not seen in the paper's text, so the norms, eta and a general form are all shown. A record keeps the
same five quantities every epoch (``CoRNN.diagnostics``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from suite.work.theory.chart import Chart, Curve, curve, listed, short
from suite.work.theory.setting import CORNN, Setting

QUANTITIES = ("w_norm_inf", "z_norm_inf", "eta", "eta_general")


def largest_norms(dt: float, r: float) -> tuple[float, float]:
    """The largest |W| and |Z| that eta <= dt^r allows."""
    limit = dt ** (r - 1) * (1 + dt)
    return limit - 1, limit


def scale_to_limit_(model, r: float) -> None:
    """Scale W and Z of a coRNN to the largest norms that the assumption allows, in place."""
    with torch.no_grad():
        for matrix, norm in zip(model.matrices()[1:], largest_norms(model.dt, r)):
            matrix.mul_(norm / torch.linalg.matrix_norm(matrix, ord=torch.inf))


def assumption(setting: Setting) -> Iterator[Chart]:
    """The quantities of the assumption for each task's recipe, mean over seeds, against dt."""
    found: dict[str, tuple[float, dict[str, torch.Tensor]]] = {}
    for task in setting.usable():
        models = [setting.model(setting.run(CORNN, task, seed=seed)).recurrence for seed in range(setting.seeds)]
        values = [model.diagnostics() for model in models]
        table = {name: torch.tensor([one[name] for one in values], dtype=torch.float64) for name in QUANTITIES}
        found[task] = (float(models[0].dt), table)  # type: ignore[arg-type]
    found = dict(sorted(found.items(), key=lambda item: item[1][0]))
    steps = [dt for dt, _ in found.values()]
    ends = math.log10(0.9 * min(steps)), math.log10(1.1 * max(steps))
    grid = torch.logspace(*ends, 50, dtype=torch.float64)
    at = "time step dt of the recipe"

    def points(label: str, name: str) -> Curve:
        means = [float(table[name].mean()) for _, table in found.values()]
        return replace(curve(label, steps, means, log=True), names=tuple(found))

    forms = {"eta, gamma = epsilon = 1 (recalled)": "eta", "eta with the recipe's gamma and epsilon": "eta_general"}
    shown = [points(label, name) for label, name in forms.items()]
    yield Chart(
        "assumption", "assumption", "Weight assumption at initialisation", at, "eta", tuple(shown),
        _finding(found, setting.seeds),
        bound=(curve("dt^(1/2)", grid, grid.sqrt()), curve("dt", grid, grid)), log_x=True, log_y=True,
    )  # fmt: skip
    allowed = [largest_norms(float(dt), 0.5)[0] for dt in grid]
    norms = [points("|W|", "w_norm_inf"), points("|Z|", "z_norm_inf")]
    over = [task for task, (dt, table) in found.items() if table["w_norm_inf"].mean() > largest_norms(dt, 0.5)[0]]
    yield Chart(
        "assumption-norms", "assumption", "Norms of the recurrent weights at initialisation", at,
        "largest absolute row sum", tuple(norms),
        f"Mean over {setting.seeds} seeds. |W| is above what the recalled assumption allows for r = 1/2 on "
        f"{listed(over) if over else 'no task'}.",
        bound=(curve("largest |W| for r = 1/2", grid, allowed),), log_x=True, log_y=True,
    )  # fmt: skip


def _finding(found: dict[str, tuple[float, dict[str, torch.Tensor]]], seeds: int) -> str:
    words = ["dt: " + ", ".join(f"{task} {dt:g}" for task, (dt, _) in found.items())]
    for name, label in (
        ("eta", "the recalled formula"),
        ("eta_general", "the form with the recipe's gamma and epsilon"),
    ):
        factors = {task: float(table[name].mean()) / dt**0.5 for task, (dt, table) in found.items()}
        bad = {task: f for task, f in factors.items() if f > 1}
        if bad:
            span = f"by a factor of {short(min(bad.values()))} to {short(max(bad.values()))}"
            words.append(f"By {label} eta <= dt^(1/2) is NOT met on {listed(list(bad))}, {span}")
        else:
            words.append(f"By {label} eta <= dt^(1/2) is met on all {len(found)} tasks")
    return f"Untrained, mean over {seeds} seeds. {'. '.join(words)}."
