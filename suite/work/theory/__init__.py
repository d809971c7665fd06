"""Numerical checks tied to the coRNN paper's propositions: read, recalled or derived (docs/theory.md).

The table below is data; nothing heavy is imported here.
"""

from __future__ import annotations

CHECKS: dict[str, tuple[str, str]] = {
    "energy": ("suite.work.theory.energy:energy", "the energy of trajectories stays under its bound"),
    "sensitivity": ("suite.work.theory.energy:sensitivity", "trajectories of two inputs stay together as bounded"),
    "assumption": ("suite.work.theory.weights:assumption", "the weight assumption at initialisation"),
    "jacobian": ("suite.work.theory.jacobians:jacobian", "norms of products of Jacobians against their bound"),
    "gradient-bound": ("suite.work.theory.jacobians:gradient_bound", "the largest gradient against its bound"),
    "plateau": ("suite.work.theory.contributions:plateau", "gradients against the distance in time, model by model"),
    "exponent": ("suite.work.theory.contributions:exponent", "how a far contribution scales with the time step"),
}
