"""What autograd may ask of an engine: strides, parts of the gradients, several passes, seeds side by side."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from models import build
from models.scan import engines
from models.scan.cell import scan
from tests.oracles import gates


def _same(model: str, engine: str, change) -> None:
    """``change(problem)`` gives tensors and gradients in another form: results must not move by a bit."""
    problem = gates.problem(model, 5, 6, 20, I=3)
    assert all(
        torch.equal(a, b)
        for a, b in zip(gates.run(engine, problem).values(), gates.run(engine, change(problem)).values(), strict=True)
    )


def test_strides_do_not_matter(engine, model):
    def spread(t):
        return None if t is None else torch.stack((t, torch.full_like(t, 9.0)), -1)[..., 0]

    def change(problem):
        tensors = {n: spread(t) for n, t in problem.tensors.items()}
        tensors["x"] = problem.tensors["x"].transpose(0, 1).contiguous().transpose(0, 1)
        return gates.Problem(problem.cell, tensors, spread(problem.g_h), spread(problem.g_final))

    # gates.run clones its leaves with their strides kept where they are dense: pass views through scan by hand
    problem = gates.problem(model, 5, 6, 20, I=3)
    results = []
    for given_ in (problem, change(problem)):
        leaves = {n: None if t is None else t.detach().requires_grad_() for n, t in given_.tensors.items()}
        h, final = scan(problem.cell, *leaves.values(), engine=engine)
        torch.autograd.backward((h, final), (given_.g_h, given_.g_final))
        results.append([h, final, *(t.grad for t in leaves.values() if t is not None)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def _leaves(problem, names=gates.NAMES):
    return {n: None if t is None else t.clone().requires_grad_(n in names) for n, t in problem.tensors.items()}


def test_expanded_output_gradient(engine, model):
    problem = gates.problem(model, 5, 6, 20)
    first, second = _leaves(problem), _leaves(problem)
    scan(problem.cell, *first.values(), engine=engine)[0].sum().backward()
    h, _ = scan(problem.cell, *second.values(), engine=engine)
    h.backward(torch.ones_like(h))
    assert all(torch.equal(first[n].grad, second[n].grad) for n in first if first[n] is not None)


@pytest.mark.parametrize("names", [(n,) for n in gates.NAMES] + [("x", "s0"), ("W", "p"), ("V", "b")])
def test_only_some_gradients_wanted(engine, model, names):
    problem = gates.problem(model, 4, 3, 9)
    whole, some = _leaves(problem), _leaves(problem, names)
    if not any(some[n] is not None for n in names):
        return  # this cell has no such tensor
    for leaves in (whole, some):
        h, final = scan(problem.cell, *leaves.values(), engine=engine)
        torch.autograd.backward((h, final), (problem.g_h, problem.g_final))
    for n, t in some.items():
        if t is not None:
            assert (t.grad is None) == (n not in names)
            assert t.grad is None or torch.equal(t.grad, whole[n].grad)


@pytest.mark.parametrize("used", ["h", "final"])
def test_only_one_output_used(engine, model, used):
    problem = gates.problem(model, 4, 3, 9)
    results = []
    for name in (engine, "reference"):
        leaves = _leaves(problem)
        h, final = scan(problem.cell, *leaves.values(), engine=name)
        h.backward(problem.g_h) if used == "h" else final.backward(problem.g_final)
        results.append({n: t.grad for n, t in leaves.items() if t is not None})
    for n, g in results[0].items():
        torch.testing.assert_close(g, results[1][n], rtol=1e-4, atol=1e-5)


def test_two_forwards_then_two_backwards(engine, model):
    problem = gates.problem(model, 6, 4, 12)
    other = gates.problem(model, 6, 4, 12, seed=5)
    want = [gates.run(engine, p) for p in (problem, other)]
    leaves = [_leaves(p) for p in (problem, other)]
    out = [scan(p.cell, *t.values(), engine=engine) for p, t in zip((problem, other), leaves, strict=True)]
    for (h, final), p in zip(reversed(out), (other, problem), strict=True):
        torch.autograd.backward((h, final), (p.g_h, p.g_final))
    for t, w in zip(leaves, want, strict=True):
        assert all(torch.equal(t[n].grad, w[n]) for n in t if t[n] is not None)


def test_backward_twice(engine, model):
    problem = gates.problem(model, 6, 4, 12)
    leaves = _leaves(problem)
    h, final = scan(problem.cell, *leaves.values(), engine=engine)
    inputs = [t for t in leaves.values() if t is not None]
    first, second = (
        torch.autograd.grad((h, final), inputs, (problem.g_h, problem.g_final), retain_graph=True) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_second_order_is_refused(engine):
    problem = gates.problem("tanh", 3, 2, 4)
    leaves = _leaves(problem)
    h, _ = scan(problem.cell, *leaves.values(), engine=engine)
    (g,) = torch.autograd.grad(h.square().sum(), leaves["W"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_without_gradients_nothing_is_kept(engine, model):
    problem = gates.problem(model, 6, 4, 12)
    with torch.no_grad():
        h, final = scan(problem.cell, *problem.tensors.values(), engine=engine)
    want = gates.run(engine, problem)
    assert torch.equal(h, want["h"]) and torch.equal(final, want["final"])
    kernel = engines.import_module(engines.ENGINES[engine]).KERNEL
    _, _, states, saved = kernel.forward(problem.cell, *problem.tensors.values(), keep=False, precision="float32")
    assert states.numel() == saved.numel() == 0
    assert h.grad_fn is None and h.untyped_storage().nbytes() == h.numel() * h.element_size()


def test_seeds_side_by_side(engine, model):
    """vmap over stacked modules gives what each module gives alone."""
    torch.manual_seed(0)
    networks = [build(model, input_size=3, hidden_size=18, engine=engine) for _ in range(3)]
    x, y = torch.randn(3, 7, 4, 3), torch.randn(3, 4, 18)
    params, buffers_ = stack_module_state(networks)

    def loss(params, buffers_, x, y):
        h, final = functional_call(networks[0], (params, buffers_), (x,))
        return (final[..., :18] - y).square().sum() + h.square().mean()

    losses = vmap(loss)(params, buffers_, x, y)
    losses.sum().backward()
    for i, network in enumerate(networks):
        alone = loss(dict(network.named_parameters()), dict(network.named_buffers()), x[i], y[i])
        alone.backward()
        torch.testing.assert_close(losses[i], alone)
        for n, parameter in network.named_parameters():
            torch.testing.assert_close(params[n].grad[i], parameter.grad, rtol=1e-4, atol=1e-5)


def test_seeds_share_an_input(engine):
    networks = [build("cornn", input_size=2, hidden_size=9, engine=engine) for _ in range(2)]
    params, buffers_ = stack_module_state(networks)
    x = torch.randn(5, 4, 2)
    h = vmap(lambda p, b: functional_call(networks[0], (p, b), (x,))[0])(params, buffers_)
    assert h.shape == (2, 5, 4, 9)
    for i, network in enumerate(networks):
        torch.testing.assert_close(h[i], network(x)[0])


def test_seed_axis_and_profile(engine, model):
    """The engine's own seed axis (after T): gradients and profiles of each seed alone."""
    problems = [gates.problem(model, 6, 4, 20, seed=s) for s in range(3)]
    stacked = {
        n: None
        if problems[0].tensors[n] is None
        else torch.stack([p.tensors[n] for p in problems], 1 if n == "x" else 0).requires_grad_()
        for n in gates.NAMES
    }
    cell = problems[0].cell
    profile = torch.full((3, cell.states, 6), float("nan"))
    h, final = scan(cell, *stacked.values(), engine=engine, profile=profile)
    torch.autograd.backward(
        (h, final), (torch.stack([p.g_h for p in problems], 1), torch.stack([p.g_final for p in problems]))
    )
    for i, p in enumerate(problems):
        want = gates.run(engine, p)
        torch.testing.assert_close(profile[i], want["profile"])
        torch.testing.assert_close(h[:, i], want["h"])
        for n, t in stacked.items():
            if t is not None:
                g = t.grad[:, i] if n == "x" else t.grad[i]
                torch.testing.assert_close(g, want[n], rtol=1e-4, atol=1e-5)


def test_input_already_projected(engine, model):
    """Without V and b, x is u."""
    problem = gates.problem(model, 5, 4, 20)
    t = problem.tensors
    u = t["x"] @ t["V"].mT
    leaves = {**t, "x": u if t["b"] is None else u + t["b"], "V": None, "b": None}
    changed = gates.Problem(problem.cell, leaves, problem.g_h, problem.g_final)
    got, want = gates.run(engine, changed), gates.run("reference", changed)
    for n in want:
        torch.testing.assert_close(got[n], want[n], rtol=1e-4, atol=1e-5)
