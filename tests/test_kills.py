"""Kills in numbers: a few by default, a thousand by hand (docs/reliability.md has the figures)."""

from __future__ import annotations

import pytest

from tests.harness.kills import campaign


def test_a_few_random_kills_lose_nothing():
    figures = campaign(8, seed=1)
    assert figures["kills"] >= 8 and figures["grids"] >= 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_thousand_random_kills_lose_nothing():
    assert campaign(1000)["kills"] >= 1000
