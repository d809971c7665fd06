"""The theory checks against independent computations: autodiff, hand-written steps, counter-examples that must fail."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import build
from suite.errors import UsageError
from suite.report.evidence.inputs import theory as read_check
from suite.theory import command, main, parser
from suite.work.theory import CHECKS
from suite.work.theory.chart import curve
from suite.work.theory.contributions import backward, exponent, far_entries, norm, plateau, slope
from suite.work.theory.energy import bound_rate, bounds, energies, energy, forced, ratio, sensitivity
from suite.work.theory.jacobians import gradient_bound, jacobian, largest_gradient, product_norms, step_jacobians
from suite.work.theory.setting import PAPER, Setting, cornn, trajectory
from suite.work.theory.weights import assumption, largest_norms, scale_to_limit_

DAMPINGS = ("explicit", "implicit")
HYPER = {"adding": (0.06, 66.0, 15.0), "psmnist": (0.076, 0.4, 8.0), "har2": (0.1, 0.2, 6.4), "imdb": (0.054, 4.9, 4.8)}


def noise(steps, batch=2, inputs=1, seed=0):
    return torch.randn(steps, batch, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_step(model, y, z, u):
    """The scheme as the theory writes it, not as the cell does."""
    V, W, Z = model.matrices()
    force = torch.tanh(y @ W.T + z @ Z.T + u @ V.T + model.i2h.bias) - model.gamma * y
    if model.damping == "implicit":
        z = (z + model.dt * force) / (1 + model.dt * model.epsilon)
    else:
        z = z + model.dt * (force - model.epsilon * z)
    return y + model.dt * z, z


# ---- energy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damping", DAMPINGS)
def test_trajectories_and_energies_are_those_of_the_written_scheme(damping):
    model, x = cornn(hidden_size=5, dt=0.1, gamma=2.0, epsilon=3.0, damping=damping), noise(7)
    states = trajectory(model, x)
    y = z = torch.zeros(2, 5, dtype=torch.float64)
    for n, u in enumerate(x, 1):
        y, z = plain_step(model, y, z, u)
        assert torch.allclose(states[n], torch.cat((y, z), -1), atol=1e-14)
        assert torch.allclose(energies(model, states)[n - 1], 2 * (y * y).sum(1) + (z * z).sum(1))


@pytest.mark.parametrize(("task", "implicit"), [(task, i) for task in HYPER for i in (False, True)])
def test_the_bound_is_the_derived_one(task, implicit):
    dt, gamma, epsilon = HYPER[task]
    model = cornn(hidden_size=4, dt=dt, gamma=gamma, epsilon=epsilon, damping=DAMPINGS[implicit])
    rate = 1 / epsilon if implicit else 1 / (epsilon - gamma * dt)
    assert bound_rate(model) == pytest.approx(rate)
    assert bounds(model, 10)[-1].item() == pytest.approx(4 * 10 * dt * rate)


@pytest.mark.parametrize(
    ("damping", "values"),
    [("explicit", (0.1, 0.2, 11.0)), ("explicit", (0.1, 20.0, 1.0)), ("implicit", (0.1, 20.0, 1.0))],
)
def test_no_bound_is_claimed_where_its_conditions_fail(damping, values):
    dt, gamma, epsilon = values
    model = cornn(hidden_size=4, dt=dt, gamma=gamma, epsilon=epsilon, damping=damping)
    assert bound_rate(model) is None and bounds(model, 5) is None and ratio(model, trajectory(model, noise(5))) is None


@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("task", HYPER)
def test_worst_case_forcing_comes_near_the_bound_and_stays_under_it(task, damping):
    dt, gamma, epsilon = HYPER[task]
    model = cornn(hidden_size=8, dt=dt, gamma=gamma, epsilon=epsilon, damping=damping)
    values = ratio(model, forced(model, 1000))
    assert 0.3 < values.max() <= 1
    assert values.max() > ratio(model, trajectory(model, noise(1000))).max()


def test_a_forcing_above_one_breaks_the_bound():
    model = cornn(hidden_size=8, dt=0.1, gamma=0.2, epsilon=6.4)
    assert ratio(model, 3 * forced(model, 1000)).max() > 1  # the check can fail


# ---- Jacobians ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("layout", ["concat", "separate", "joint"])
def test_jacobians_are_those_of_autodiff(damping, layout):
    model = cornn(hidden_size=4, dt=0.2, gamma=2.0, epsilon=3.0, damping=damping, layout=layout)
    x = noise(6, batch=1)
    found, states = step_jacobians(model, x), trajectory(model, x)

    def step(state, u):
        y, z = plain_step(model, *state[None].chunk(2, -1), u)
        return torch.cat((y, z), -1)[0]

    for n in range(6):
        wanted = torch.autograd.functional.jacobian(lambda s, n=n: step(s, x[n]), states[n, 0])
        assert torch.allclose(found[n], wanted, atol=1e-12)


def test_norms_of_products_go_backwards_from_the_last_step():
    jacobians = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = [torch.linalg.multi_dot([*jacobians.flip(0)[:k], torch.eye(4).double()]) for k in range(1, 6)]
    assert torch.allclose(product_norms(jacobians), torch.stack([w.abs().sum(1).max() for w in wanted]))


@pytest.mark.parametrize("r", [0.5, 1.0])
@pytest.mark.parametrize("dt", [0.1, 0.01])
def test_weights_scaled_to_the_limit_have_eta_equal_to_dt_to_the_r(r, dt):
    model = cornn(hidden_size=6, dt=dt, **PAPER)
    scale_to_limit_(model, r)
    found = model.diagnostics()
    assert found["eta"] == pytest.approx(dt**r)
    assert (found["w_norm_inf"], found["z_norm_inf"]) == pytest.approx(largest_norms(dt, r))
    single = torch.linalg.matrix_norm(step_jacobians(model, noise(50, batch=1)), ord=torch.inf).max()
    assert 1 < single <= 1 + 3 * dt**r


def test_weights_above_the_assumption_break_the_bound_of_a_single_step():
    model = cornn(hidden_size=6, dt=0.1, **PAPER)
    scale_to_limit_(model, 0.5)
    with torch.no_grad():
        for matrix in model.matrices()[1:]:
            matrix.mul_(20)
    single = torch.linalg.matrix_norm(step_jacobians(model, 0.01 * noise(50, batch=1)), ord=torch.inf).max()
    assert single > 1 + 3 * 0.1**0.5


def test_the_largest_gradient_is_that_of_a_plain_loop():
    models = [cornn(hidden_size=3, seed=seed, dt=0.1, **PAPER) for seed in range(2)]
    x, target = noise(9, batch=1), torch.tensor([1.0, -1.0, 1.0]).double()
    found = largest_gradient(models, x, target)
    for model, value in zip(models, found):
        y = z = torch.zeros(1, 3, dtype=torch.float64)
        loss = torch.zeros((), dtype=torch.float64)
        for u in x:
            y, z = plain_step(model, y, z, u)
            loss = loss + 0.5 * (y - target).square().sum() / 9
        loss.backward()
        assert value == pytest.approx(max(p.grad.abs().max().item() for p in model.parameters()))


# ---- contributions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cornn", "tanh", "lstm", "fastrnn", "exprnn", "antisymmetric-gated"])
def test_contributions_add_up_to_the_gradient_of_the_recurrent_weights(name):
    torch.manual_seed(0)
    model = build(name, input_size=2, hidden_size=4, engine="reference").double()
    x = noise(6, batch=3, inputs=2)
    found = backward(model, x, lambda s: s.square().sum())
    V, b, W, p = (None if t is None else t.detach() for t in model.weights())
    W = W.requires_grad_()
    from models.scan.cell import scan

    s0 = x.new_zeros((3, model.states * 4))
    _, final = scan(model.cell(), x, V, b, W, p, s0, engine="reference")
    (wanted,) = torch.autograd.grad(final.square().sum(), W)
    assert torch.allclose(torch.einsum("tbi,tbj->ij", found.product, found.before), wanted, atol=1e-12)
    assert torch.allclose(found.state[-1], 2 * final.norm(dim=-1), atol=1e-12)
    assert found.state.shape == (6, 3)


def test_norms_of_numbers_whose_squares_vanish():
    values = torch.tensor([[3e-200, 4e-200], [3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    assert norm(values).tolist() == pytest.approx([5e-200, 5.0, 0.0])


def test_slope_is_least_squares():
    x = torch.arange(5).double()
    assert slope(x, 3 - 2 * x) == pytest.approx(-2)


def test_a_far_contribution_shrinks_with_dt_as_a_term_of_a_sum():
    coarse, fine = far_entries(50, 12), far_entries(100, 25)
    assert math.log2(coarse / fine) == pytest.approx(1.0, abs=0.15)  # a Riemann sum's term: exponent 1


# ---- charts and the command --------------------------------------------------------------------------------------


def test_a_curve_is_thinned_rounded_and_has_nothing_that_json_lacks():
    one = curve("a", range(1000), [math.nan, 0.0, -1.0, *([1 / 3] * 997)], log=True)
    assert len(one.x) == len(one.y) == 200 and one.x[-1] == 999
    assert one.y[0] is None and one.y[-1] == 0.333333
    assert curve("b", [1, 2], [math.inf, -1.0]).y == (None, -1.0)


def small(**changes):
    return Setting(**{"tasks": ("adding",), "steps": 2, "seeds": 2, **changes})


def checked(chart):
    values = json.loads(chart.text(command="c", date="2000-01-01", machine={"cpu": "x"}, runs={}))
    read_check(values)
    return values


def test_every_check_makes_charts_that_the_report_reads(monkeypatch):
    from suite.work.theory import contributions, jacobians
    from suite.work.theory import energy as energy_module

    monkeypatch.setattr(energy_module, "FORCED_STEPS", 30)
    monkeypatch.setattr(jacobians, "LENGTHS", (10, 20))
    monkeypatch.setattr(jacobians, "STEPS", 30)
    monkeypatch.setattr(contributions, "HALVINGS", (20, 40))
    setting = small(models=("cornn", "tanh"))
    monkeypatch.setattr(setting, "run", shrunk(setting))
    stems = []
    for check in (energy, sensitivity, assumption, jacobian, gradient_bound, plateau, exponent):
        for chart in check(setting):
            values = checked(chart)
            assert values["check"] in CHECKS and values["finding"].endswith(".")
            stems.append(chart.stem)
    assert len(set(stems)) == len(stems) == 3 + 1 + 2 + 1 + 1 + 4 + 1


def shrunk(setting):
    from dataclasses import replace

    original = setting.run

    def run(model, task, **values):
        one = original(model, task, **values)
        return replace(
            one,
            recipe={**one.recipe, "hidden_size": 6},
            task_options={**one.task_options, "length": 20, "valid_examples": 20, "test_examples": 1},
        )

    return run


def test_a_finding_says_so_where_the_assumption_is_not_met():
    first, norms = assumption(small())
    assert all(one.as_json()["names"] == ["adding"] for one in (*first.series, *norms.series))
    assert "NOT met on adding" in first.finding  # theory.md: 0.31 against 0.245
    assert first.series[0].y[0] == pytest.approx(0.31, abs=0.02)
    assert "adding" in norms.finding
    assert first.bound[0].label == "dt^(1/2)"


def test_data_that_is_missing_leaves_a_task_out(tmp_path, capsys):
    setting = small(tasks=("har2", "adding"), data_dir=tmp_path)
    assert setting.usable() == ["adding"] == setting.usable()
    assert capsys.readouterr().err.count("har2 is left out") == 1
    with pytest.raises(UsageError, match="adding needs none"):
        small(tasks=("har2",), data_dir=tmp_path).usable()


def test_a_model_without_a_cell_is_refused_by_the_plateau_check():
    setting = small(models=("tests.plugins.tiny:Leaky",), steps=0)
    with pytest.raises(UsageError, match="wanted models given as a cell"):
        list(plateau(setting))


def test_the_command_writes_a_file_a_figure(tmp_path, project):
    words = ["--checks", "assumption,jacobian", "--tasks", "adding", "--seeds", "2", "--untrained", "--json"]
    words = [sys.executable, "-m", "suite.theory", *words, "--results-dir", str(tmp_path)]
    out = subprocess.run(words, capture_output=True, text=True, cwd=project, check=False)
    assert out.returncode == 0, out.stderr
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    assert [row["check"] for row in rows] == ["assumption", "assumption", "jacobian"]
    for row in rows:
        values = read_check(json.loads((tmp_path / "theory" / row["path"].rpartition("/")[2]).read_text()))
        assert values["finding"] == row["finding"] and values["machine"]["threads"] == 1
        assert values["command"].startswith("python -m suite.theory --checks ")


def test_the_command_that_repeats_a_check_names_what_was_changed():
    args = parser().parse_args(["--tasks", "adding", "--untrained", "--seeds", "3", "--results-dir", "elsewhere"])
    assert command(args, "energy") == "python -m suite.theory --checks energy --tasks adding --seeds 3 --untrained"
    assert command(parser().parse_args([]), "jacobian") == "python -m suite.theory --checks jacobian"
    args = parser().parse_args(["--models", "cornn,lstm"])
    assert command(args, "energy") == "python -m suite.theory --checks energy"  # which takes no models
    assert command(args, "plateau") == "python -m suite.theory --checks plateau --models cornn,lstm"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--checks", "enrgy"], "did you mean energy?"),
        (["--models", "cornnn"], "did you mean cornn"),
        (["--tasks", "addin"], "did you mean adding"),
        (["--checks", "energy,jacobian", "--models", "cornn,lstm"], "plateau alone compares models"),
        (["--steps", "0"], "wanted a whole number >= 1"),
    ],
)
def test_bad_input_is_one_line(capsys, words, said):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1


def test_the_committed_checks_are_of_todays_recipes():
    setting = Setting()
    files = sorted((Path(__file__).parents[1] / "results" / "theory").glob("*.json"))
    assert files
    for path in files:
        for name, stored in json.loads(path.read_text())["runs"].items():
            model, task = name.split(" on ")
            assert setting.run(model, task).id == stored, f"{path.name} is out of date ({name}): run suite.theory again"
