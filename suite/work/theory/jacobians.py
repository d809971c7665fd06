"""No explosion (Proposition 3.2): Jacobians of the step, their products, and the gradient of a loss at all steps.

Setting, as recalled: gamma = epsilon = 1, implicit damping, delta = 1 / (1 + dt). With A the pre-activation
and D = diag(1 - tanh(A)^2), in the order (y, z):
    dz/dy = delta dt (D W - I),   dz/dz = delta (I + dt D Z),
    dy/dy = I + dt dz/dy,         dy/dz = dt dz/dz.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from models.scan.cell import scan
from suite.work.theory.chart import Chart, Curve, curve, short
from suite.work.theory.setting import CORNN, PAPER, Setting, cornn, drive, inputs, trajectory
from suite.work.theory.weights import scale_to_limit_

UNITS, STEPS, DT = 32, 500, 0.01
RS = (0.5, 1.0)


def step_jacobians(model: Any, x: Tensor) -> Tensor:
    """d(y,z)_n / d(y,z)_{n-1} along the trajectory of one input x (T,1,I): (T,2H,2H); both dampings."""
    with torch.no_grad():
        _, W, Z = model.matrices()
        _, keep, force, spring = model.cell().constants
        states = trajectory(model, x)
        y, z = states[:-1, 0].chunk(2, -1)
        slope = 1 - torch.tanh(drive(model, x)[:, 0] + y @ W.mT + z @ Z.mT).square()  # (T,H)
        eye = torch.eye(model.hidden_size, dtype=slope.dtype)
        zy = force * slope.unsqueeze(-1) * W - spring * eye
        zz = keep * eye + force * slope.unsqueeze(-1) * Z
        return torch.cat((torch.cat((eye + model.dt * zy, model.dt * zz), -1), torch.cat((zy, zz), -1)), -2)


def product_norms(jacobians: Tensor) -> Tensor:
    """||J_n ... J_{k+1}||_inf for n - k = 1..T, n the last step: (T,)."""
    product, norms = torch.eye(jacobians.shape[-1], dtype=jacobians.dtype), []
    for jacobian in jacobians.flip(0):
        product = product @ jacobian
        norms.append(torch.linalg.matrix_norm(product, ord=torch.inf))
    return torch.stack(norms)


def jacobian(setting: Setting) -> Iterator[Chart]:
    """Norms of products of Jacobians with weights at the limit of the assumption, and of a task's recipe."""
    distance = torch.arange(1, STEPS + 1, dtype=torch.float64)
    source = torch.Generator().manual_seed(0)
    x = torch.randn(STEPS, 1, 1, generator=source, dtype=torch.float64)
    shown, bound, words = [], [], []
    for r in RS:
        model = cornn(hidden_size=UNITS, dt=DT, **PAPER)
        scale_to_limit_(model, r)
        jacobians = step_jacobians(model, x)
        single = float(torch.linalg.matrix_norm(jacobians, ord=torch.inf).max())
        norms, limit = product_norms(jacobians), distance * math.log1p(3 * DT**r)
        shown.append(curve(f"weights at the limit of r = {r:g}", distance, norms, log=True))
        bound.append(curve(f"(1 + 3 dt^{r:g})^(n-k)", distance, limit.exp(), log=True))
        held = single <= 1 + 3 * DT**r and bool((norms.log() <= limit).all())
        linear = bool((norms <= 1 + 3 * distance * DT**r).all())
        words.append(
            f"r = {r:g}: largest single norm {short(single)} (bound {short(1 + 3 * DT**r)}), largest product "
            f"{short(float(norms.max()))}, the bound is {'met' if held else 'NOT met'}, and the recalled small-dt form "
            f"1 + 3 (n-k) dt^r is {'met too' if linear else 'NOT met'}"
        )
    task = setting.usable()[0]
    run = setting.run(CORNN, task)
    model_ = setting.model(run)
    norms = product_norms(step_jacobians(model_.recurrence, inputs(model_, setting.batch(run, 1))[:STEPS]))
    shown.append(
        curve(f"{setting.named(task)} recipe, untrained (no bound applies)", distance[: len(norms)], norms, log=True)
    )
    yield Chart(
        "jacobian", "jacobian", "Products of coRNN's Jacobians", "steps back n - k",
        "||J_n ... J_(k+1)||_inf", tuple(shown),
        f"dt = {DT}, {UNITS} units, gamma = epsilon = 1, implicit damping. {'; '.join(words)}.",
        bound=tuple(bound), log_y=True,
    )  # fmt: skip


# ---- the gradient of a loss at all steps -------------------------------------------------------------------------

LENGTHS = (100, 316, 1000, 3162, 10000)
LOSS_UNITS, LOSS_SEEDS = 16, 3


def largest_gradient(models: list[Any], x: Tensor, target: Tensor) -> Tensor:
    """Largest |dE/dtheta| of every model over all entries of V, b, W and Z: (S,).

    E = (1/N) sum_n 0.5 |y_n - target|^2 over N steps.

    Args:
        models: S coRNN recurrences that differ in their weights alone.
        x: (N,1,I).
        target: (H,), the same at every step.
    """
    V, b, W = (torch.stack([model.weights()[i].detach() for model in models]).requires_grad_() for i in range(3))
    s0 = x.new_zeros((len(models), 1, 2 * models[0].hidden_size))
    drive_ = x.unsqueeze(1).expand(-1, len(models), -1, -1)
    y, _ = scan(models[0].cell(), drive_, V, b, W, None, s0, engine="fused")
    loss = 0.5 * (y - target).square().sum(-1).mean(0).sum()
    gradients = torch.autograd.grad(loss, (V, b, W))
    return torch.stack([g.abs().flatten(1).amax(1) for g in gradients]).amax(0)


def gradient_bound(setting: Setting) -> Iterator[Chart]:
    """Largest |dE/dtheta| for N = 100..10000 steps over the fixed time N dt = 1 against 1.5 (m + Ybar sqrt(m))."""
    limit = 1.5 * (LOSS_UNITS + LOSS_UNITS**0.5)
    labels = [f"weights at the limit of r = {r:g}" for r in RS] + ["weights as initialised"]
    found: dict[str, list[float]] = {label: [] for label in labels}
    for steps in LENGTHS:
        source = torch.Generator().manual_seed(0)
        x = torch.randn(steps, 1, 1, generator=source, dtype=torch.float64)
        target = torch.where(torch.rand(LOSS_UNITS, generator=source) < 0.5, -1.0, 1.0).double()
        models = []
        for r in (*RS, None):
            for seed in range(LOSS_SEEDS):
                model = cornn(
                    hidden_size=LOSS_UNITS, seed=seed, dt=1 / steps, gamma=1.0, epsilon=1.0, damping="implicit"
                )
                if r is not None:
                    scale_to_limit_(model, r)
                models.append(model)
        values = largest_gradient(models, x, target).view(len(labels), LOSS_SEEDS).amax(1)
        for label, value in zip(labels, values.tolist()):
            found[label].append(value)
    yield Chart(
        "gradient-bound", "gradient-bound", "Largest gradient of a loss at all steps, fixed time N dt = 1",
        "steps N", "largest |dE/dtheta|",
        tuple(curve(name, LENGTHS, values, log=True) for name, values in found.items()), _bound_finding(found, limit),
        bound=(Curve("1.5 (m + Ybar sqrt(m))", (float(LENGTHS[0]), float(LENGTHS[-1])), (limit, limit)),),
        log_x=True, log_y=True,
    )  # fmt: skip


def _bound_finding(found: dict[str, list[float]], limit: float) -> str:
    worst = max(max(values) for values in found.values())
    growth = {label: max(values) / min(values) for label, values in found.items()}
    label = max(growth, key=lambda name: growth[name])
    return (
        f"{LOSS_UNITS} units, |target| = 1 at every step, {LOSS_SEEDS} seeds: the recalled bound "
        "1.5 (m + Ybar sqrt(m)) = "
        f"{limit:g} is {'met' if worst <= limit else 'NOT met'}; the largest gradient is {short(worst)}, "
        f"{short(worst / limit)} of it. From N = {LENGTHS[0]} to {LENGTHS[-1]} the smallest and the largest "
        f"of one kind of weights lie at most a factor {short(growth[label])} apart ({label})."
    )
