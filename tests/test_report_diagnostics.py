"""Diagnostics of a model's page: panels of what its records hold, and of nothing else."""

from __future__ import annotations

import re

import pytest

from suite.report import style
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.plots import diagnostics
from tests import report_records as make

LOOKS = style.looks(make.MODELS)


def drawn(*records):
    """The figure of the first group, and its panels' titles."""
    (section,) = sections([entry(record) for record in records])
    with style.drawing():
        plot = diagnostics.diagnostics(section, section.groups[0], LOOKS)
    texts = {text for text in re.findall(r">([^<>]+)</text>", plot.svg)} if plot else set()
    return plot, texts & {"gradient profile, trained", "total gradient norm"}


def without(record, *, profiles=False, norms=False):
    record["profiles"] = [] if profiles else record["profiles"]
    for row in record["curve"] if norms else []:
        row["grad_norm"] = []
    return record


def test_a_model_that_records_no_profile_has_no_panel_and_no_words_for_it():
    plot, titles = drawn(without(make.record(make.run("lstm")), profiles=True))
    assert titles == {"total gradient norm"} and plot.svg.count('id="axes_') == 1
    assert "dL/d(state)" not in plot.caption and "Gradient norm:" in plot.caption


def test_records_without_gradient_norms_have_no_panel_and_no_words_for_them():
    plot, titles = drawn(without(make.record(make.run("lstm")), norms=True))
    assert titles == {"gradient profile, trained"} and plot.svg.count('id="axes_') == 1
    assert "dL/d(state)" in plot.caption and "Gradient norm:" not in plot.caption
    assert drawn(without(make.record(make.run("lstm")), profiles=True, norms=True))[0] is None


@pytest.mark.parametrize(("epochs", "markers"), [(1, 1), (2, 0)])
def test_a_single_epoch_has_a_marker(epochs, markers):
    plot, _ = drawn(without(make.record(make.run("lstm", epochs=epochs)), profiles=True))
    shapes = re.findall(rf"<use [^>]*fill: {LOOKS['lstm'].colour}", plot.svg)
    assert len(shapes) == 1 + markers  # one is the band
