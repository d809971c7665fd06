"""A grid with its undisturbed results."""

from __future__ import annotations

import pytest

from tests.harness.grids import planned, undisturbed


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Three slow runs and what they give undisturbed."""
    runs = planned(seeds=range(3), epochs=3, pause=0.02)
    return runs, undisturbed(runs, tmp_path_factory.mktemp("undisturbed"))
