"""How the report writes numbers."""

from __future__ import annotations

import pytest

from suite.report import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (None, "–"),
        (float("nan"), "–"),
        (1.23456e-5, "1.23e-05"),
        (123.4, "123"),
        (0.05, "0.0500"),
        (2e6, "2.00e+06"),
    ],
)
def test_numbers(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("mean", "sd", "metric", "text"),
    [(0.9445, 0.0128, "accuracy", "94.45 ± 1.28"), (0.9445, None, "accuracy", "94.45"), (None, 0.1, "mse", "–"),
     (0.9445, 0.0, "accuracy", "94.45 ± 0.00"), (0.00388, 6.98e-4, "mse", "0.00388 ± 0.00070"),
     (0.156, 0.00971, "mse", "0.156 ± 0.0097"), (0.0533, 0.0921, "mse", "0.0533 ± 0.0921"),
     (0.156, 0.0, "mse", "0.156 ± 0"), (0.156, 1e-5, "mse", "0.156 ± 1.0e-05"), (0.0, 0.6, "mse", "0 ± 0.60"),
     (2e-5, 1e-5, "mse", "2.00e-05 ± 1.0e-05"), (1234.5, 20.4, "mse", "1234 ± 20"), (150, 0.51, "mse", "150 ± 0.51"),
     (0.166, 1e9, "mse", "0.166 ± 1.0e+09")],
)  # fmt: skip
def test_a_mean_and_its_spread(mean, sd, metric, text):
    assert wording.spread(mean, sd, metric) == text


def test_seeds_as_ranges():
    assert wording.seeds([3, 0, 1, 2, 7]) == "0-3,7"
    assert wording.seeds([]) == ""
