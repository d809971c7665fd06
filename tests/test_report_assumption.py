"""The figure of the weight assumption: the titles of its panels, and what its caption says."""

from __future__ import annotations

import pytest

from suite.report import style
from suite.report.evidence.entries import entry
from suite.report.evidence.groups import OWN_BUDGET
from suite.report.evidence.sections import sections
from suite.report.plots import assumption, measured
from tests import report_records as make


def entries(*records):
    return [entry(record) for record in records]


def test_the_caption_says_how_far_the_assumption_is_from_holding():
    made = make.record(make.run("cornn", "psmnist"))
    for row, eta in zip(made["curve"], [0.25, 0.4] + [1.0] * 10):
        row["diagnostics"] |= {"eta": eta, "dt_r": 0.5}
    with style.drawing():
        caption = assumption.assumption(sections(entries(made))).caption
    assert "Met after 2 of 12 of the epochs drawn; after a run's last one η is 2.0 to 2.0 times √Δt." in caption


def test_titles_of_narrow_panels_are_broken_into_lines():
    options = {"split": "random", "validation_fraction": 0.01}
    made = [make.record(make.run("cornn", "har2", options=options | {"validation_fraction": v})) for v in (0.01, 0.2)]
    titles = panel_titles(made)
    assert [title.splitlines()[0] for title in titles] == ["har2", "har2"] and titles[0] != titles[1]
    assert all(title.endswith("n=1") and max(map(len, title.splitlines())) <= 32 for title in titles)


def panel_titles(made):
    panels = [(one, one.primaries[0], one.primaries[0].entries) for one in sections(entries(*made))]
    return assumption._titles(panels)


@pytest.mark.parametrize(
    ("change", "where", "ends"),
    [
        ({"epochs": 4}, {}, ["12 epochs, H=128, n=1", "4 epochs, H=128, n=1"]),
        ({"max_seconds": 60.0}, {}, ["12 epochs, H=128, n=1", "60 s (at most 12 epochs), H=128, n=1"]),
        ({"recipe": {"lr": 0.1}}, {"preset": "quick"}, [f"H=128, {OWN_BUDGET}, n=1", "preset quick, 12 epochs, n=1"]),
    ],
)
def test_panels_of_one_task_are_told_apart_by_their_titles(change, where, ends):
    other = make.record(make.run(**change), sources={"epochs": "set: x"}, **where)
    titles = [title.replace("\n", " ") for title in panel_titles([make.record(make.run()), other])]
    assert len(titles) == 2 and all(any(title.endswith(end) for title in titles) for end in ends)


def test_an_engines_precisions_and_seeds_share_its_colour_and_no_marker():
    names = ["loop", "torch", "torch-tf32", "triton", "triton-tf32", "triton-bf16", "triton-x16", "triton-tf32-x16"]
    looks = measured._looks(names)
    assert len({(look.colour, look.marker) for look in looks.values()}) == len(names)
    assert {looks[name].colour for name in names[3:]} == {measured.engine_look("triton").colour}
