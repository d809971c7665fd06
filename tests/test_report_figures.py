"""Figures: what they show and leave out, the figures of the paper, figures inside a page."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from suite.report import style, wording
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.plots import assumption, common, diagnostics, gradients, learning, paper, steps
from tests import report_records as make


def entries(*records):
    return [entry(record) for record in records]


LOOKS = style.looks(make.MODELS)
MACHINE = "Example CPU 2.5 GHz, 1 thread"


def plot_texts(plot):
    return set(re.findall(r">([^<>]+)</text>", plot.svg))


@pytest.fixture(scope="module")
def section():
    made = [make.record(make.run(model, seed=seed)) for model in make.MODELS for seed in range(2)]
    made.append(make.record(make.run("tanh", seed=2), status="diverged"))
    return sections(entries(*made))[0]


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda s: learning.learning(s, LOOKS), {"epoch", "validation accuracy (%)"}),
        (
            lambda s: learning.against_seconds(s, LOOKS, "Example CPU 2.5 GHz, 1 thread"),
            {"training seconds (mean over seeds)"},
        ),
        (lambda s: learning.costs(s, LOOKS), {"trained parameters", "training seconds a run", "test accuracy (%)"}),
        (lambda s: gradients.profiles(s, LOOKS), {"time step t", "norm of dL/dh at step t", "before training"}),
        (lambda s: gradients.norms(s, LOOKS), {"total gradient norm", "epoch"}),
    ],
)
def test_figures_show_every_model_and_name_their_axes(section, draw, words):
    with style.drawing():
        plot = draw(section)
    texts = plot_texts(plot)
    assert words <= texts
    assert {wording.model_title(model) for model in make.MODELS} <= texts
    assert "data=mnist" in plot.caption
    for look in LOOKS.values():
        assert look.colour in plot.svg


def test_a_single_epoch_stands_on_a_whole_number_and_recipes_of_a_model_are_told_apart():
    recipes = [make.run(epochs=1, recipe={"lr": lr}) for lr in (0.001, 0.002, 0.004, 0.008)]
    (one,) = sections(entries(*map(make.record, recipes)))
    with style.drawing():
        curves = learning.learning(one, LOOKS)
    ticks = {text for text in plot_texts(curves) if re.fullmatch(r"[\d.]+", text)}
    assert "1" in ticks and not any("." in tick for tick in ticks)
    markers = [tuple(sorted(common.marker(LOOKS["cornn"], dashes).items())) for _, dashes in common.drawn(one)]
    assert len(set(markers)) == 4


def test_looks_are_told_apart_by_colour_and_by_marker():
    looks = list(style.looks([*make.MODELS, "my.pkg:A", "my.pkg:B"]).values())
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == 9


def test_a_models_colour_does_not_depend_on_who_else_is_there():
    assert style.looks(["cornn"])["cornn"] == style.looks(["lstm", "cornn", "x:Y"])["cornn"]


def test_figures_without_their_data_are_left_out():
    made = make.record()
    for row in made["curve"]:
        row["valid"] = row["test"] = None
    made["profiles"], made["metrics"]["valid"] = [], None
    section = sections(entries(made))[0]
    with style.drawing():
        assert learning.learning(section, LOOKS) is None
        assert learning.against_seconds(section, LOOKS, MACHINE) is None
        assert gradients.profiles(section, LOOKS) is None


def test_a_trained_profile_is_of_finished_runs():
    """A diverged run's last profile is of the epoch before it diverged, maybe the first."""
    made = [make.record(make.run(seed=0)), make.record(make.run(seed=1), status="diverged")]
    (group,) = sections(entries(*made))[0].groups
    (finished,) = group.done
    _, norms = gradients.profile_line(group, untrained=False)
    assert norms == pytest.approx(finished.profiles[-1].norms[0])
    (alone,) = sections(entries(made[1]))[0].groups
    assert gradients.profile_line(alone, untrained=False) is not None


def test_underflowed_gradients_leave_a_gap_not_a_warning():
    rows = np.array([[1.0, 0.0, 4.0], [4.0, 1.0, 1.0]])
    got = gradients.geometric_mean(rows)
    assert got[[0, 2]].tolist() == [2.0, 2.0] and math.isnan(got[1])


def test_a_group_whose_first_seed_diverged_early_is_drawn():
    lost = make.record(make.run(seed=0, epochs=12), status="diverged")
    (section,) = sections(entries(lost, *[make.record(make.run(seed=seed, epochs=12)) for seed in (1, 2)]))
    (group,) = section.groups
    assert len(group.entries[0].curve["epoch"]) < 12
    with style.drawing():
        assert gradients.norms(section, LOOKS) is not None
        assert diagnostics.diagnostics(section, group, LOOKS) is not None
        assert assumption.assumption([section]) is not None
    x, rows = common.norm_rows(group)
    assert x.tolist() == list(range(1, 13)) and rows.shape == (2, 12, 5)


def test_steps_are_kept_apart_by_engine_machine_and_recipe():
    made = [
        make.record(make.run(seed=0)),
        make.record(make.run(seed=1), engine="native"),
        make.record(make.run(seed=2), engine="native", shared_device=True),
        make.record(make.run(seed=3), cpu="Another CPU"),
        make.record(make.run(seed=1, recipe={"lr": 0.1}), engine="native"),
    ]
    rows = steps.step_rows(sections(entries(*made)))
    assert [(row["engine"], row["machine"][:7], row["label"][:14], row["runs"], row["shared"]) for row in rows] == [
        ("fused", "Another", "coRNN [lr=0.00", 1, False),
        ("fused", "Example", "coRNN [lr=0.00", 1, False),
        ("native", "Example", "coRNN [lr=0.00", 2, True),  # as the table: an upper bound where one of them is
        ("native", "Example", "coRNN [lr=0.1]", 1, False),
    ]


@pytest.mark.parametrize(
    ("processor", "waited", "where", "shared"),
    [(0.94, None, {}, True), (0.96, None, {}, False), (0.5, None, {"threads": 2}, True),
     (1.9, None, {"threads": 2}, True), (0.5, 0.9, {"gpu": "Example"}, False), (None, None, {}, True),
     (1.0, None, {"seeds_together": 4}, False),
     (0.96, 0.04, {}, False), (0.96, 0.06, {}, True), (1.9, 0.04, {"threads": 2}, False),
     (1.9, 0.06, {"threads": 2}, True)],
)  # fmt: skip
def test_a_run_that_did_not_get_its_core_is_marked(processor, waited, where, shared):
    made = make.record(make.run(seed=0), **where)
    for name, part in (("train_processor", processor), ("train_waited", waited)):
        made["seconds"][name] = None if part is None else part * made["seconds"]["train"]
    assert entries(made)[0].shared is shared


def test_the_papers_figures_come_from_the_right_records():
    made = [make.record(make.run("cornn", task)) for task in ("adding", "adding-2000", "adding-5000", "psmnist")]
    made += [make.record(make.run("lstm", "psmnist", recipe={"hidden_size": 256}))]
    made += [make.record(make.run("tanh", "psmnist", epochs=40, options={"permutation_seed": 5544}))]
    made += [make.record(make.run("tanh", "psmnist", epochs=40, recipe={"lr": 9.0}), sources={"lr": "set: by hand"})]
    hand = dict.fromkeys(("epochs", "epsilon", "gamma"), "set: on the command line")
    for epsilon in (2.0, 8.0):
        for gamma in (0.5, 4.0):
            run = make.run("cornn", "noisy_cifar", recipe={"epsilon": epsilon, "gamma": gamma})
            made.append(make.record(run, sources=hand))
    found = sections(entries(*made))
    with style.drawing():
        adding = paper.adding(found, LOOKS)
        units = paper.psmnist_128(found, LOOKS)
        (ablation,) = paper.ablations(found)
        weights = assumption.assumption(found)
    assert {"T = 500", "T = 2,000", "T = 5,000"} <= plot_texts(adding)
    assert "coRNN, 12 epochs, 1 seed" in plot_texts(units)
    assert not any(text.startswith(("LSTM", "tanh RNN")) for text in plot_texts(units))
    assert {"2", "8", "0.5", "4"} <= plot_texts(ablation)
    assert "psmnist" in plot_texts(weights) and any(text.endswith(", n=1") for text in plot_texts(weights))
    assert not any("noisy_cifar" in text for text in plot_texts(weights))
    assert paper.ablations(found[:1]) == [] and paper.adding([], LOOKS) is None


def test_budgets_far_apart_have_a_logarithmic_axis():
    short, long = (make.run("cornn", "psmnist", seed, epochs=epochs) for seed, epochs in ((0, 12), (1, 60)))
    made = [
        make.record(one, sources={"epochs": "set: x"}) for one in (short, make.run("lstm", "psmnist", epochs=12), long)
    ]
    with style.drawing():
        far = paper.psmnist_128(sections(entries(*made)), LOOKS)
        near = paper.psmnist_128(sections(entries(*made[:2])), LOOKS)
    assert {"1", "2", "5", "10", "20", "50"} <= plot_texts(far) and "5" not in plot_texts(near)


def test_axes_of_cost_end_at_a_perfect_score():
    made = make.record(make.run("cornn"))
    made["metrics"]["test"] = 0.99
    with style.drawing():
        texts = plot_texts(learning.costs(sections(entries(made))[0], LOOKS))
    ticks = [float(text) for text in texts if text.replace(".", "", 1).isdigit() and float(text) < 1000]
    assert 90 < max(tick for tick in ticks if tick < 150) <= 100


def test_a_long_run_stands_beside_the_mean_over_more_seeds():
    made = [make.record(make.run("cornn", seed=seed)) for seed in range(3)] + [make.record(make.run(epochs=25))]
    with style.drawing():
        texts = plot_texts(paper.psmnist_128(sections(entries(*made)), LOOKS))
    assert {"coRNN, 12 epochs, 3 seeds", "coRNN, 25 epochs, 1 seed"} <= texts


def hand_set(task, seed, better, **changes):
    run = make.run("cornn", task, seed, recipe={"epsilon": 2.0}, **changes)
    made = make.record(run, sources=dict.fromkeys(["epsilon", *changes], "set: on the command line"))
    made["metrics"]["valid"] = 1e-6 if better else 10.0
    return made


@pytest.mark.parametrize("better", [True, False])
def test_a_recipe_set_by_hand_is_drawn_where_it_does_better(better):
    found = sections(entries(make.record(make.run("cornn", "adding")), hand_set("adding", 0, better)))
    with style.drawing():
        plot = paper.adding(found, LOOKS)
    assert ("coRNN, set by hand" in plot_texts(plot)) is better
    assert ("Dashed: set by hand, and better on validation data" in plot.caption) is better


def test_a_longer_run_set_by_hand_is_drawn_too():
    found = sections(entries(make.record(make.run("cornn", "adding")), hand_set("adding", 0, True, epochs=30)))
    with style.drawing():
        plot = paper.adding(found, LOOKS)
    assert len(found) == 2 and "coRNN, set by hand" in plot_texts(plot)
    assert re.search(r"here ([\d,]+) \(T=500\)", plot.caption).group(1) == f"{found_steps(found):,.0f}"


def found_steps(found):
    return max(entry.curve["steps"][-1] for one in found for group in one.groups for entry in group.entries)


def test_a_label_wider_than_the_figure_goes_on_in_a_second_line():
    long = ", ".join(f"hyperparameter_{number}=0.00123" for number in range(5))
    with style.drawing():
        figure, (axes,) = style.canvas(width=7.4)
        axes.plot([0, 1], [0, 1], label=long)
        axes.plot([0, 1], [1, 0], label="short")
        common.legend(figure, axes)
        figure.canvas.draw()
        box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0
    assert box.y1 <= axes.xaxis.get_tightbbox().y0


def test_a_figure_made_for_a_page_has_its_own_ids_and_variables(section):
    with style.drawing():
        plot = learning.learning(section, LOOKS)
    text = style.inline(plot.svg, name="here", label='a "label"', colours={"#0072b2": "--model-cornn"})
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert ids and all(name.startswith("here-") for name in ids)
    for target in re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', text):
        assert "".join(target) in ids
    assert "var(--model-cornn, #0072b2)" in text and 'aria-label="a &#34;label&#34;"' in text
    assert "<image" not in text and "http://www.w3.org" in text


def test_lines_are_medians_and_bands_reach_from_the_lowest_to_the_highest_seed():
    axes = Figure().add_subplot()
    rows = np.array([[0.1, 0.5, 0.9], [0.2, 0.5, 0.6], [0.6, 0.2, 0.9]])
    common.band(axes, np.arange(3.0), rows, LOOKS["cornn"], "-", "coRNN", 0)
    (line,), (filled,) = axes.lines, axes.collections
    assert line.get_ydata() == pytest.approx([0.2, 0.5, 0.9])
    (outline,) = (path.vertices for path in filled.get_paths())
    for x, low, high in ((0, 0.1, 0.6), (1, 0.2, 0.5), (2, 0.6, 0.9)):
        at = outline[outline[:, 0] == x, 1]
        assert (at.min(), at.max()) == pytest.approx((low, high))


def test_learning_curves_are_the_validation_metric_of_the_records(monkeypatch):
    made = [make.record(make.run("lstm", seed=seed)) for seed in range(2)]
    drawn = []
    monkeypatch.setattr(common, "band", lambda axes, x, rows, *rest: drawn.append((x, rows)))
    learning.learning(sections(entries(*made))[0], LOOKS)
    ((x, rows),) = drawn
    assert x.tolist() == [row["epoch"] for row in made[0]["curve"]]
    assert rows.tolist() == [[row["valid"] for row in record["curve"]] for record in made]


@pytest.mark.parametrize(("task", "words"), [("adding", "constant guess"), ("psmnist", "chance")])
def test_the_legend_says_what_the_dotted_line_is(task, words):
    """Words beside the line would lie over the curves of models that do not leave it."""
    with style.drawing():
        texts = plot_texts(learning.learning(sections(entries(make.record(make.run(task=task))))[0], LOOKS))
    assert words in texts
