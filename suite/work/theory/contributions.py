"""How much of a loss's gradient comes from how far back (Proposition 3.3).

The contribution of step k to dE_n/dW is dE_n/dX_n . dX_n/dX_k . d+X_k/dW: with a_k the pre-activation and X the part of
the state that feeds the product, the outer product of dE_n/da_k and X_{k-1}. The plateau check shows its Frobenius norm
against n - k, and the norm of the total dE_n/dX_k beside it; the exponent check how one entry scales with dt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.scan.cell import rows
from suite.errors import UsageError
from suite.work.theory.chart import Chart, curve, short
from suite.work.theory.setting import PAPER, Setting, cornn, drive, inputs

EXAMPLES = 10
FLAT = 0.5  # decades a hundred steps: what falls faster over the far half is called a geometric decay


class Backward(NamedTuple):
    """Gradients of a loss at the last step.

    Attributes:
        product: dE/dm_k (T,B,M*H), with respect to the recurrent product at each step.
        before: X_{k-1} (T,B,R*H), what the product read.
        state: |dE/dX_k| (T,B) over all blocks of the state.
    """

    product: Tensor
    before: Tensor
    state: Tensor


def backward(model: Any, x: Tensor, loss: Any) -> Backward:
    """Run a recurrence given as a cell over x (T,B,I) and back from ``loss(final state (B,N*H))``, a sum over B."""
    cell, H = model.cell(), model.hidden_size
    with torch.no_grad():
        _, _, W, p = model.weights()
        u = drive(model, x)
    nudges = [u.new_zeros((u.shape[1], cell.products * H), requires_grad=True) for _ in u]
    state = u.new_zeros((u.shape[1], cell.states * H))
    states = [state]
    for a, nudge in zip(u, nudges):
        m = torch.matmul(state[:, : cell.recurrent * H], W.mT) + nudge
        state = cell.step(a + m if cell.add else torch.cat((a, m), -1), state, rows(p))
        states.append(state)
    gradients = torch.autograd.grad(loss(state), [*nudges, *states[1:]])
    product, of_states = gradients[: len(nudges)], gradients[len(nudges) :]
    before = torch.stack([one.detach()[:, : cell.recurrent * H] for one in states[:-1]])
    return Backward(torch.stack(product), before, norm(torch.stack(of_states)))


def norm(values: Tensor) -> Tensor:
    """Euclidean norm over the last axis, also where the squares are too small for float64."""
    largest = values.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    return largest.squeeze(-1) * (values / largest).norm(dim=-1)


def slope(x: Tensor, y: Tensor) -> float:
    """Least-squares slope."""
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / x.square().sum())


# ---- plateau -----------------------------------------------------------------------------------------------------


def _measured(setting: Setting, name: str, task: str, *, trained: bool) -> tuple[Tensor, Tensor]:
    """Medians over examples of the contribution to dE_n/dW and of |dE_n/dX_k|, from n - k = 0 upwards: (T,), (T,)."""
    run = setting.run(name, task)
    model = setting.model(run, trained=trained)
    recurrence: Any = model.recurrence
    if not hasattr(recurrence, "cell") or recurrence.cell().products == 0:
        raise UsageError(f"--checks plateau: wanted models given as a cell with a recurrent product, got {name}")
    batch, task_ = setting.batch(run, EXAMPLES), setting.task(run)
    batch = batch._replace(y=batch.y.double() if batch.y.is_floating_point() else batch.y)

    def loss(final: Tensor) -> Tensor:
        return task_.loss(model.readout(final[:, : recurrence.hidden_size]), batch) * len(batch.y)

    with torch.no_grad():
        x = inputs(model, batch)
    found = backward(recurrence, x, loss)
    contribution = norm(found.product) * norm(found.before)
    return contribution.median(1).values.flip(0), found.state.median(1).values.flip(0)


def plateau(setting: Setting) -> Iterator[Chart]:
    """Contributions and state gradients against the distance in time, before and after a short training."""
    tasks = [task for task in setting.usable() if task in ("adding", "psmnist")] or setting.usable()[:1]
    for task in tasks:
        if setting.task(setting.run(setting.models[0], task)).spec.every_step:
            raise UsageError(f"--checks plateau: wanted tasks that read out the last step, got {setting.named(task)}")
    for task in tasks:
        for trained in (False, True) if setting.steps else (False,):
            found = {name: _measured(setting, name, task, trained=trained) for name in setting.models}
            when = f"after {setting.steps} training steps" if trained else "untrained"
            where = f"{setting.named(task)}, {when}"
            stem = f"{task}-{'trained' if trained else 'untrained'}"
            contributions = {name: pair[0] for name, pair in found.items()}
            yield _chart(
                f"plateau-{stem}", f"Contribution of step k to the gradient, {where}",
                "|dE_n^(k)/dW|, median", contributions,
            )  # fmt: skip
            gradients = {name: pair[1] for name, pair in found.items()}
            yield _chart(
                f"states-{stem}", f"Gradient with respect to the state, {where}",
                "|dE_n/dX_k|, median", gradients,
            )  # fmt: skip


def _chart(stem: str, title: str, y_label: str, found: dict[str, Tensor]) -> Chart:
    shown = tuple(curve(name, range(len(values)), values, log=True) for name, values in found.items())
    length = len(next(iter(found.values())))
    words = [_words(name, values) for name, values in found.items()]
    half = f"Over the far half of the sequence (n - k from {length // 2} to {length - 1})"
    finding = f"{half}, medians of {EXAMPLES} examples: {'; '.join(words)}."
    return Chart(stem, "plateau", title, "steps back n - k", y_label, shown, finding, log_y=True)


def _words(name: str, values: Tensor) -> str:
    """How the far half behaves, by a straight line through the logarithms (zeros are below float64)."""
    far = torch.arange(len(values) // 2, len(values), dtype=torch.float64)
    logs = values[len(values) // 2 :].log10()
    kept = torch.isfinite(logs)
    if kept.sum() < 2:
        return f"{name} is zero in float64"
    rate = 100 * slope(far[kept], logs[kept])
    verdict = "geometric decay, no plateau" if rate < -FLAT else "growth" if rate > FLAT else "no geometric decay"
    return f"{name} {'falls' if rate < 0 else 'rises'} by {short(abs(rate))} powers of ten per 100 steps ({verdict})"


# ---- exponent ----------------------------------------------------------------------------------------------------

UNITS, TIME, EARLY, STEP_K = 32, 1.0, 0.25, 10
HALVINGS = (100, 200, 400, 800, 1600)
PREDICTED = 1.5


def far_entries(steps: int, k: int, *, seed: int = 0) -> float:
    """Median over entries of W of |dE_n^(k)/dW_ij| for n = ``steps``, dt = 1/steps, E_n = 0.5 |y_n - target|^2."""
    model = cornn(hidden_size=UNITS, seed=seed, dt=TIME / steps, **PAPER)
    source = torch.Generator().manual_seed(seed)
    time = torch.arange(1, steps + 1, dtype=torch.float64) * model.dt
    waves = torch.rand(4, 2, generator=source, dtype=torch.float64)
    x = sum(torch.sin(2 * math.pi * (1 + 3 * f) * time + 6 * shift) for f, shift in waves)  # the same signal for all dt
    target = torch.randn(UNITS, generator=source, dtype=torch.float64)
    found = backward(model, x.view(-1, 1, 1), lambda s: 0.5 * (s[:, :UNITS] - target).square().sum())  # type: ignore[union-attr]
    y = found.before[k - 1, 0, :UNITS]
    return float(torch.outer(found.product[k - 1, 0], y).abs().median())


def exponent(setting: Setting) -> Iterator[Chart]:
    """Median |dE_n^(k)/dW_ij| against dt at the fixed time n dt = 1, for an early k and for one that grows with n."""
    steps = torch.tensor(HALVINGS, dtype=torch.float64)
    dts = TIME / steps
    early = [far_entries(n, STEP_K) for n in HALVINGS]
    growing = [far_entries(n, round(EARLY * n)) for n in HALVINGS]
    at_k, at_time = (slope(dts.log(), torch.tensor(v, dtype=torch.float64).log()) for v in (early, growing))
    late = f"at the fixed time k dt = {EARLY:g}"
    line = early[0] * (dts / dts[0]) ** PREDICTED
    yield Chart(
        "exponent", "exponent", "Scaling of a far contribution with the time step", "time step dt",
        "|dE_n^(k)/dW_ij|, median of entries",
        (curve(f"k = {STEP_K}", dts, early, log=True), curve(f"k {late}", dts, growing, log=True)),
        f"{UNITS} units, n dt = {TIME:g}, gamma = epsilon = 1, implicit damping, weights as initialised, smooth input. "
        f"Fitted exponents: {at_k:.2f} for k = {STEP_K}, where the recalled O(dt^{PREDICTED:g}) is stated (k << n): "
        f"{_against(at_k)}; {at_time:.2f} {late}, where k grows with n and y_k does not shrink with dt, so that "
        "the direct term alone is of order dt: the statement is not about this case.",
        bound=(curve(f"dt^{PREDICTED:g} through the point of k = {STEP_K} at the largest dt", dts, line),),
        log_x=True, log_y=True,
    )  # fmt: skip


def _against(found: float) -> str:
    """A fitted exponent beside the recalled one, which is an upper bound O(dt^1.5)."""
    if abs(found - PREDICTED) < 0.1:
        return "as recalled"
    return (
        "NOT met"
        if found < PREDICTED
        else "an upper bound, met; what falls so much faster than it is no evidence that contributions do not vanish"
    )
