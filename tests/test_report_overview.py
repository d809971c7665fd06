"""The first page: an overview, its tables, the others folded; a model's page in the same two parts."""

from __future__ import annotations

import csv
import json
import math
import re

import pytest

from suite.report import style
from suite.report.__main__ import main
from suite.report.evidence import inputs
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.plots import decay, glance, measured
from suite.report.tables import overview
from suite.store import Store
from tests import report_records as make
from tests.test_report_evidence import theory


def by_hand(**changes):
    return make.record(make.run(recipe={"epsilon": 2.0}, **changes), sources={"epsilon": "set: by hand"})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """coRNN and LSTM on psMNIST, shorter runs of both, coRNN on track tuned, a task with recipes set by hand alone."""
    root = tmp_path_factory.mktemp("overview")
    store = Store(root / "results")
    for model in ("cornn", "lstm"):
        for seed in range(2):
            store.put(make.record(make.run(model, seed=seed)))
        store.put(make.record(make.run(model, epochs=2), sources={"epochs": "set: by hand"}))
    store.put(make.record(make.run(track="tuned")))
    store.put(by_hand())
    store.put(by_hand(task="har2"))
    assert main(["--results-dir", str(root / "results"), "--reports-dir", str(root / "site")]) == 0
    return root / "site"


def boards(text):
    return re.findall(r'<section class="board" id="([^"]+)"', text)


def test_every_row_of_the_overview_leads_to_its_table_and_the_rest_is_folded(site):
    text = (site / "index.html").read_text()
    open_, folded = text.split('<details class="more">')
    rows = re.findall(r'<th scope="row"[^>]*><a href="#([^"]+)"', open_.split("<h2>Tables</h2>")[0])
    assert rows == boards(open_) and len(rows) == 2  # track paper and track tuned
    assert "2 more tables" in folded and sorted(boards(folded)) == sorted(set(boards(text)) - set(rows))


def test_the_overview_names_a_track_that_is_not_the_papers(site):
    first, more = (
        list(csv.DictReader((site / "tables" / f"{name}.csv").read_text().splitlines()))
        for name in ("overview", "overview-more")
    )
    rows = [*first, *more]
    assert len(first) == len(more) == 1  # one row a task, of track paper; then the rest
    assert [row["task"].rpartition(", ")[2] for row in rows] == ["12 epochs", "track tuned"]
    assert rows[0]["cornn_finished"] == "2" and float(rows[0]["cornn_sd"]) > 0 and rows[1]["lstm_mean"] == ""
    board = json.loads((site / "tables/leaderboard-psmnist-data-mnist-paper-recipe.json").read_text())
    table = next(one for one in board["rows"] if one["label"].startswith("coRNN"))
    assert float(rows[0]["cornn_mean"]) == table["mean"] and rows[0]["metric"] == "accuracy"


def test_the_markdown_begins_with_the_overview(site):
    text = (site / "leaderboard.md").read_text()
    assert text.index("Runs: 9, ") < text.index("### All tasks and models") < text.index("### psmnist")


def test_a_models_page_keeps_recipes_set_by_hand_apart(site):
    text = (site / "models/cornn.html").read_text()
    own, changed = (
        re.search(f'<table[^>]* id="{name}">.*?</table>', text, re.S) for name in ("model-cornn", "by-hand-cornn")
    )
    assert own[0].count("<tr") == 4 and "epsilon" in changed[0] and changed[0].count("<tr") == 3
    assert "<summary>Recipes set by hand (2)</summary>" in text
    assert "Recipes set by hand" not in (site / "models/lstm.html").read_text()


def test_records_set_by_hand_alone_are_all_shown(tmp_path):
    Store(tmp_path / "results").put(by_hand())
    assert main(["--results-dir", str(tmp_path / "results"), "--reports-dir", str(tmp_path)]) == 0
    text = (tmp_path / "index.html").read_text()
    assert len(boards(text)) == 1 and "<details" not in text and "<h2>Overview</h2>" not in text


def test_models_named_like_columns_keep_the_row_whole():
    made = [make.record(make.run(name)) for name in ("task", "page", "guess", "my.pkg:Mine")]
    table = overview.table(overview.kept(sections([entry(one) for one in made])), rest="elsewhere")
    (row,) = table.rows
    assert row["task"].startswith("psmnist") and row["page"].startswith("#") and row["guess"] == 0.1135
    assert table.columns[0].title == "task" and len(table.columns) == 6
    assert all(row[column.show] != "–" for column in table.columns[1:])


def made(model="cornn", *, size=1000, lr="published: x", status="done", **changes):
    record = make.record(make.run(model, **changes), sources={"lr": lr}, status=status)
    record["size"]["parameters"] = size
    return entry(record)


def test_a_rate_that_is_the_suites_default_is_marked_and_the_mark_explained_wherever_it_stands():
    entries = [made(), made("lstm"), made("lstm", lr="default: of the suite", track="tuned")]
    first, more = overview.tables(overview.kept(sections(entries)), rest="elsewhere")
    assert "‡" not in str(first.rows) and "‡ (1)" in more.rows[0]["lstm_text"]
    assert "‡: its learning rate is the suite's default" in first.note
    (plain,) = overview.tables(overview.kept(sections(entries[:2])), rest="elsewhere")
    assert "‡" not in plain.note
    (lost,) = overview.tables(
        overview.kept(sections([made(), made("lstm", lr="default: x", status="diverged")])), rest="elsewhere"
    )
    assert lost.rows[0]["lstm_text"] == "– (0; 1 lost)"


@pytest.mark.parametrize(
    ("size", "said"),
    [(1400, ""), (1700, "up to 1.7 times the"), (8000, "up to 8 times the parameters of the smallest.")],
)
def test_sizes_that_are_not_matched_are_told(size, said):
    (table,) = overview.tables(overview.kept(sections([made(), made("lstm", size=size)])), rest="elsewhere")
    assert (said in table.note) and ("Sizes are not matched" in table.note) is bool(said)


def test_an_arrow_says_which_way_is_better_and_a_number_what_a_constant_guess_has():
    own = made("tanh", task="har2")
    own.record["metrics"]["chance"] = None
    tables = overview.tables(overview.kept(sections([made(), made(task="adding"), own])), rest="elsewhere")
    assert sorted(row["guess_written"] for row in tables[0].rows) == ["↑", "↑ 11.35", "↓ 0.167"]


def test_of_a_task_the_overview_begins_with_what_most_models_and_seeds_were_trained_in():
    """Not the longest training: one model alone says nothing about the others."""
    many = [make.record(make.run(model, seed=seed, epochs=3)) for model in ("cornn", "lstm") for seed in range(3)]
    few = [make.record(make.run(model, seed=0, options={"permutation_seed": 1})) for model in ("cornn", "lstm", "tanh")]
    long = [make.record(make.run(seed=seed, epochs=50), sources={"epochs": "set: by hand"}) for seed in range(9)]
    tuned = [make.record(make.run(model, track="tuned")) for model in ("cornn", "lstm", "tanh", "exprnn")]
    kept = overview.kept(sections([entry(one) for one in [*many, *few, *long, *tuned]]))
    first, more = overview.tables(kept, rest="elsewhere")
    (chosen,) = overview.headline(kept)
    assert (len(chosen.groups), chosen.track, first.name, more.name) == (3, "paper", "overview", "overview-more")
    assert [len(table.rows) for table in (first, more)] == [1, len(kept) - 1]
    without = [section for section in kept if section is not chosen]
    assert sum(len(group.done) for group in overview.headline(without)[0].groups) == 6  # of two models each: more seeds


def test_the_figure_at_a_glance_draws_every_seed_and_tells_what_is_missing():
    made = [make.record(make.run(model, seed=seed)) for model in ("cornn", "lstm") for seed in range(3)]
    made += [make.record(make.run(seed=0, task="har2")), make.record(make.run("tanh", seed=1, task="har2"))]
    made += [make.record(make.run("lstm", seed=seed, task="har2"), status="diverged") for seed in (0, 1)]
    chosen = overview.headline(sections([entry(one) for one in made]))
    with style.drawing():
        plot = glance.glance(chosen, style.looks(["cornn", "lstm", "tanh"]))
        alone = glance.glance(chosen[:1], style.looks(["cornn", "lstm"]))
    assert alone is None  # one task is what its own page shows
    assert ">2 lost<" in plot.svg and ">not in this setting<" in plot.svg and ">HAR-2<" in plot.svg
    marks = {colour: plot.svg.count(f'style="fill: {colour}; fill-opacity: 0.6"') for colour in ("#0072b2", "#e69f00")}
    assert marks == {"#0072b2": 4, "#e69f00": 3}  # three seeds and one; three, and two that diverged


def test_decades_between_the_first_steps_and_the_last():
    """Of the made-up profiles: the norm falls by a factor exp(-rate) a step, twice as fast before training."""
    made = [make.record(make.run(model, task)) for model in ("cornn", "tanh") for task in ("psmnist", "har2")]
    chosen = overview.headline(sections([entry(one) for one in made]))
    groups = {(section.variant.task, group.run.model): group for section in chosen for group in section.groups}
    middle = 0.002 * (784 - 1 - 38) / math.log(10)  # median of the first tenth of 512 points on 784 steps
    assert decay.decades(groups["psmnist", "cornn"], untrained=False) == pytest.approx(-middle, rel=0.01)
    assert decay.decades(groups["psmnist", "cornn"], untrained=True) == pytest.approx(-2 * middle, rel=0.01)
    assert decay.decades(groups["psmnist", "tanh"], untrained=True) == -math.inf
    assert decay.decades(groups["har2", "tanh"], untrained=False) == pytest.approx(-0.35 * 121 / math.log(10), rel=0.02)
    with style.drawing():
        plot = decay.decay(chosen)
    assert plot.svg.count(">−∞<") == 3 and ">−18<" in plot.svg and ">−0.6<" in plot.svg
    assert decay.decay(chosen[:1]) is None


def test_longer_runs_of_another_track_do_not_outdo():
    made = [make.record(make.run(epochs=2), sources={"epochs": "set: by hand"}), make.record(make.run(track="tuned"))]
    assert len(overview.kept(sections([entry(one) for one in made]))) == 2


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("cornn", "coRNN"), ("antisymmetric-gated", "AntisymmetricRNN, gated"), ("lstm, T=500", "LSTM, T=500"),
        ("eta, gamma = epsilon = 1 (recalled)", "η, γ = ε = 1 (recalled)"), ("dt^(1/2)", "√Δt"),
        ("time step dt", "time step Δt"),
        ("||J_n ... J_(k+1)||_inf", "‖J_n ... J_(k+1)‖∞"), ("largest |dE/dtheta|", "largest |dE/dθ|"),
        ("beta of width 3", "beta of width 3"), ("1.5 (m + Ybar sqrt(m))", "1.5 (m + Ybar √m)"),
    ],
)  # fmt: skip
def test_labels_of_checks_are_written_as_the_field_does(said, written):
    assert measured.signs(said) == written


def test_points_with_names_are_no_line_and_carry_them():
    named = {"label": "a", "x": [0.1, 0.2], "y": [1.0, 2.0], "names": ["adding", "har2"]}
    values = inputs.theory(theory(series=[named]))
    with style.drawing():
        plot = measured.check("one", values, style.looks(["cornn"]))
        line = measured.check("two", inputs.theory(theory(series=[{**named, "names": []}])), style.looks(["cornn"]))
    assert [bool(re.search(r"fill: none; stroke: #0072b2", one.svg)) for one in (plot, line)] == [False, True]
    assert ">adding<" in plot.svg and ">har2<" in plot.svg and ">adding<" not in line.svg
    with pytest.raises(inputs.InputError, match="wanted a name for each of 2 points"):
        inputs.theory(theory(series=[{**named, "names": ["adding"]}]))


def test_the_markdown_ends_with_the_findings_of_its_tasks(tmp_path):
    store = Store(tmp_path / "results")
    store.put(make.record(make.run()))
    folder = tmp_path / "results" / "findings"
    folder.mkdir()
    (folder / "psmnist.toml").write_text('findings = ["One seed fell.", "Another did not."]\n')
    (folder / "har2.toml").write_text('findings = ["Of a task without records."]\n')
    assert main(["--results-dir", str(tmp_path / "results"), "--reports-dir", str(tmp_path / "site")]) == 0
    text = (tmp_path / "site" / "leaderboard.md").read_text()
    told = "### Permuted sequential MNIST (psMNIST)\n\n- One seed fell.\n- Another did not.\n"
    assert text.endswith(f"## Findings\n\n{told}")
    assert "stands [at the end](#findings)" in text.split("###")[0] and "without records" not in text
