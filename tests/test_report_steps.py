"""The figure of training steps."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from suite.report import style, wording
from suite.report.plots import common, steps


@pytest.mark.parametrize("medians", [(8.68,), (2.65, 8.68), (0.0123, 123.0, 124.0), (0.0004, 0.000512)])
@pytest.mark.parametrize("engine", ["native", "triton-tf32-x16"])
def test_the_numbers_beside_the_bars_lie_within_the_axes(monkeypatch, medians, engine):
    rows = [
        {
            "model": model,
            "label": wording.model_title(model),
            "hidden_size": 128,
            "batch_size": 120,
            "engine": engine,
            "machine": "M",
            "shared": False,
            "runs": 1,
        }
        | {"median": median, "q25": 0.9 * median, "q75": 1.01 * median}
        for model, median in zip(("cornn", "antisymmetric-gated", "tanh"), medians)
    ]
    figures = []
    monkeypatch.setattr(common, "finish", lambda figure, **_: figures.append(figure))
    with style.drawing():
        steps.step_times("stem", "adding", rows, style.looks([]), "M")
        (axes,) = figures[0].axes
        renderer = FigureCanvasAgg(figures[0]).get_renderer()
        right = axes.get_window_extent(renderer).x1
        assert [text.get_window_extent(renderer).x1 <= right for text in axes.texts] == [True] * len(medians)
    assert axes.get_xlim()[0] == 0 and axes.get_xlim()[1] >= 1.01 * max(medians)
