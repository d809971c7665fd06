"""The energy bound (Proposition 3.1) and its consequence for two inputs.

With E_n = gamma |y_n|^2 + |z_n|^2, |tanh| <= 1 and y_0 = z_0 = 0, for m units and t_n = n dt:
implicit damping, gamma dt <= epsilon:                    E_n <= m t_n / epsilon;
explicit damping, epsilon dt <= 1, gamma dt < epsilon:    E_n <= m t_n / (epsilon - gamma dt).
Nothing is asked of the weights. Both are derived; the paper's, as recalled, is the first with gamma = epsilon = 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from suite.work.theory.chart import Chart, Curve, curve, listed, short
from suite.work.theory.setting import CORNN, Setting, inputs, trajectory

EXAMPLES = 4
FORCED_STEPS = 1000
SCALES = (0.5, 1.0, 3.0, 10.0)  # the recurrent weights times these: the bound asks nothing of them
STEP, RATIO = "time step n", "energy over its bound"
DAMPINGS = ("explicit", "implicit")


def bound_rate(model: Any) -> float | None:
    """The bound over m t_n, or None where its conditions on dt, gamma and epsilon do not hold."""
    dt, gamma, epsilon = model.dt, model.gamma, model.epsilon
    if model.damping == "implicit":
        return 1 / epsilon if gamma * dt <= epsilon else None
    return 1 / (epsilon - gamma * dt) if epsilon * dt <= 1 and gamma * dt < epsilon else None


def energies(model: Any, states: Tensor) -> Tensor:
    """E_n of states (T+1,B,2H), or of differences of states, for n >= 1: (T,B)."""
    y, z = states[1:].chunk(2, -1)
    return model.gamma * y.square().sum(-1) + z.square().sum(-1)


def bounds(model: Any, steps: int) -> Tensor | None:
    """The bound of E_n for n = 1..steps, or None."""
    rate = bound_rate(model)
    time = torch.arange(1, steps + 1, dtype=torch.float64) * model.dt
    return None if rate is None else model.hidden_size * time * rate


def forced(model: Any, steps: int) -> Tensor:
    """States (steps+1,1,2H) under the forcing that feeds the energy most, sign(z), in place of tanh."""
    keep, force, spring = model.cell().constants[1:4]
    y = z = torch.zeros(1, model.hidden_size, dtype=torch.float64)
    states = [torch.cat((y, z), -1)]
    for _ in range(steps):
        push = torch.where(z >= 0, 1.0, -1.0).double()
        z = keep * z + force * push - spring * y
        y = y + model.dt * z
        states.append(torch.cat((y, z), -1))
    return torch.stack(states)


def ratio(model: Any, states: Tensor, *, times: float = 1.0) -> Tensor | None:
    """Largest E_n of the batch over ``times`` the bound, (T,), or None where no bound holds."""
    limit = bounds(model, len(states) - 1)
    return None if limit is None else energies(model, states).amax(1) / (times * limit)


def _scaled(setting: Setting, run: Any, *, trained: bool) -> Tensor | None:
    """Largest ratio over the scales of the recurrent weights (of a trained model: as it is)."""
    found = []
    for scale in (1.0,) if trained else SCALES:
        model = setting.model(run, trained=trained)
        with torch.no_grad():
            for matrix in model.recurrence.matrices()[1:]:  # type: ignore[operator]
                matrix.mul_(scale)
        states = trajectory(model.recurrence, inputs(model, setting.batch(run, EXAMPLES)))
        found.append(ratio(model.recurrence, states))
    kept = [one for one in found if one is not None]
    return torch.stack(kept).amax(0) if kept else None


def _forced(setting: Setting, run: Any) -> Tensor | None:
    recurrence = setting.model(run).recurrence
    return ratio(recurrence, forced(recurrence, FORCED_STEPS))


def energy(setting: Setting) -> Iterator[Chart]:
    """Energy over its bound under the worst forcing, untrained, and after a short training."""
    kinds: list[tuple[str, str, Any]] = [
        ("worst-case", "under the worst-case forcing sign(z)", _forced),
        ("untrained", "untrained, recurrent weights times 0.5, 1, 3 and 10", lambda s, r: _scaled(s, r, trained=False)),
    ]
    if setting.steps:
        words = f"after {setting.steps} training steps"
        kinds.append(("trained", words, lambda s, r: _scaled(s, r, trained=True)))
    for stem, words, measure in kinds:
        tasks = setting.usable() if stem != "trained" else _cheap(setting)
        found = {
            (setting.named(task), damping): measure(setting, setting.run(CORNN, task, damping=damping))
            for task in tasks
            for damping in DAMPINGS
        }
        yield _chart(stem, words, found)


def _cheap(setting: Setting) -> list[str]:
    """The tasks whose short training takes seconds."""
    return [task for task in setting.usable() if task in ("adding", "har2")] or setting.usable()[:1]


def _chart(stem: str, words: str, found: dict[tuple[str, str], Tensor | None]) -> Chart:
    shown: list[Curve] = []
    many = len({task for task, _ in found}) > 2
    for (task, damping), values in found.items():
        if values is not None and (damping == "explicit" or not many):
            label = task if many else f"{task}, {damping} damping"
            shown.append(curve(label, range(1, len(values) + 1), values))
    longest = max(one.x[-1] for one in shown)
    which = " (explicit damping drawn)" if many else ""
    return Chart(
        f"energy-{stem}", "energy", f"Energy bound of coRNN, {words}", STEP, RATIO, tuple(shown),
        f"Energy {words}{which}: {_verdict(found)}",
        bound=(Curve("bound", (1.0, longest), (1.0, 1.0)),),
    )  # fmt: skip


def _verdict(found: dict[tuple[str, str], Tensor | None]) -> str:
    """Largest ratios of each damping in words, and whether the bound is met."""
    parts = []
    for damping in DAMPINGS:
        largest = {task: float(v.max()) for (task, kind), v in found.items() if kind == damping and v is not None}
        if largest:
            task = max(largest, key=lambda name: largest[name])
            parts.append(f"with {damping} damping at most {short(largest[task])} of the bound ({task})")
    without = [f"{task} ({damping})" for (task, damping), v in found.items() if v is None]
    worst = max((float(v.max()) for v in found.values() if v is not None), default=math.nan)
    met = "the bound is met" if worst <= 1 else "the bound is NOT met"
    note = f"; its conditions on dt, gamma and epsilon do not hold for {listed(without)}" if without else ""
    tasks = len({task for task, _ in found})
    return f"{met} for {tasks} recipe{'s' if tasks > 1 else ''}, {' and '.join(parts)}{note}."


def sensitivity(setting: Setting) -> Iterator[Chart]:
    """The energy of the difference of two trajectories against four times the bound of one."""
    shown, largest = [], {}
    for task in setting.usable():
        run = setting.run(CORNN, task)
        model = setting.model(run)
        states = trajectory(model.recurrence, inputs(model, setting.batch(run, 2 * EXAMPLES)))
        first, second = states.chunk(2, 1)
        values = ratio(model.recurrence, first - second, times=4)
        if values is not None:
            shown.append(curve(setting.named(task), range(1, len(values) + 1), values))
            largest[setting.named(task)] = float(values.max())
    task = max(largest, key=lambda name: largest[name])
    met = "is met" if largest[task] <= 1 else "is NOT met"
    yield Chart(
        "sensitivity", "sensitivity", "Two inputs: energy of the difference of their states",
        STEP, "energy over 4 times the bound", tuple(shown),
        f"For pairs of validation inputs and untrained weights the bound of 4 m t_n / (epsilon - gamma dt) {met} for "
        f"{len(largest)} recipes; the difference reaches at most {short(largest[task])} of it ({task}).",
        bound=(Curve("bound", (1.0, max(one.x[-1] for one in shown)), (1.0, 1.0)),),
    )  # fmt: skip
