"""From a folder of records to tables: reading, grouping, ranking, labels, formats, the command."""

from __future__ import annotations

import ast
import csv
import io
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from suite.record import RecordError, dumps
from suite.report import (
    command,
    content,
    frames,
    leaderboard,
    load_curves,
    load_profiles,
    load_runs,
    summary,
    tables,
    wording,
)
from suite.report.__main__ import main
from suite.report.entries import entry, read
from suite.report.groups import OWN_BUDGET
from suite.report.sections import sections
from suite.store import Store
from tests import report_records as make


def entries(*records):
    return [entry(record) for record in records]


def scored(value, **changes):
    """A record of ``make.run(**changes)`` whose test metric is ``value``."""
    status = changes.pop("status", "done")
    sources = changes.pop("sources", None)
    made = make.record(make.run(**changes), status=status, sources=sources)
    made["metrics"]["test"] = value
    return made


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Three models, two tasks, five seeds."""
    root = tmp_path_factory.mktemp("grid") / "results"
    make.fill(root, models=("cornn", "lstm", "tanh"))
    return root


# ---- tables from records


def test_runs_curves_and_profiles_load_as_tables(grid):
    runs, curves, profiles = load_runs(grid), load_curves(grid), load_profiles(grid)
    assert len(runs) == 30 and set(runs["run.model"]) == {"cornn", "lstm", "tanh"}
    assert len(curves) == 30 * 12
    one = next(Store(grid).records())
    mine = curves[curves["id"] == one["id"]]
    assert mine["valid"].tolist() == [row["valid"] for row in one["curve"]]
    assert mine["grad_norm.q0.5"].tolist() == [row["grad_norm"][2] for row in one["curve"]]
    got = profiles[(profiles["id"] == one["id"]) & (profiles["epoch"] == 0) & (profiles["block"] == 0)]
    assert got["norm"].tolist() == one["profiles"][0]["norms"][0]
    assert runs.loc[runs["id"] == one["id"], "run.recipe.lr"].item() == one["run"]["recipe"]["lr"]


def test_null_in_a_curve_is_a_missing_number():
    made = make.record(status="diverged")
    found = frames.curves(entries(made))
    assert found["valid"].isna().sum() == 1 and found["valid"].dtype == np.float64


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.replace('"chance":', '"chanc":'), "metrics.chance is missing"),
        (lambda text: text.replace('"test_loss":0', '"test_loss":NaN,"x":0', 1), "NaN"),
        (lambda text: text.replace('"schema": 1', '"schema": 99'), "wanted 1, got 99"),
        (lambda text: text[: len(text) // 2], "json"),
        (lambda text: text.replace('"seed":0', '"seed":1'), "field id"),
        (lambda text: text.replace('"norms":[[', '"norms":[[1.0,', 1), "profiles"),
        (lambda text: text.replace('"norms":[[', '"norms":[["x",', 1), "wanted a list of numbers"),
    ],
)
def test_a_damaged_record_is_named_and_left_out(grid, tmp_path, capsys, damage, words):
    root = tmp_path / "results"
    shutil.copytree(grid, root)
    path = next(Store(root).paths())
    path.write_text(damage(path.read_text()))
    lines = []
    assert len(read(root, warn=lines.append)) == 29
    assert len(lines) == 1 and str(path) in lines[0]
    if words != "json":
        assert words in lines[0]
    with pytest.raises(RecordError, match=path.name):
        load_runs(root)


def test_the_command_names_a_bad_record_and_renders_the_rest(grid, tmp_path, capsys):
    root = tmp_path / "results"
    shutil.copytree(grid, root)
    path = next(Store(root).paths())
    path.write_text("{}")
    assert main(["--results-dir", str(root), "--reports-dir", str(tmp_path / "out"), "--json", "--format", "none"]) == 0
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and str(path) in err
    values = json.loads(out)
    assert (values["records"], values["left_out"], values["tables"]) == (29, 1, [])


# ---- what stands beside what


def test_bundled_digits_never_share_a_table_with_mnist():
    found = sections(entries(make.record(make.run()), make.record(make.run(options={"data": "digits5k"}))))
    assert [len(section.groups) for section in found] == [1, 1]
    assert {section.name for section in found} == {"psmnist (data=mnist)", "psmnist (data=digits5k)"}


@pytest.mark.parametrize(
    "change",
    [{"track": "tuned"}, {"options": {"permutation_seed": 1}}, {"max_seconds": 60.0}, {"task": "smnist"}],
)
def test_what_does_not_compare_has_a_table_of_its_own(change):
    found = sections(entries(make.record(make.run()), make.record(make.run(model="lstm", **change))))
    assert len(found) == 2


def test_epochs_of_recipes_share_a_table_and_epochs_set_by_hand_do_not():
    by_hand = {"epochs": "set: on the command line"}
    own = [make.record(make.run(epochs=12)), make.record(make.run(model="lstm", epochs=20))]
    hand = [make.record(make.run(model="tanh", epochs=n), sources=by_hand) for n in (3, 4)]
    found = sections(entries(*own, *hand))
    assert [(section.budget, len(section.groups)) for section in found] == [
        (OWN_BUDGET, 2),
        ("3 epochs", 1),
        ("4 epochs", 1),
    ]


def test_seconds_compare_on_one_machine_only():
    same = [make.record(make.run(model=m, max_seconds=60.0)) for m in ("cornn", "lstm")]
    other = make.record(make.run(model="tanh", max_seconds=60.0), cpu="Another CPU")
    assert sorted(len(section.groups) for section in sections(entries(*same, other))) == [1, 2]


def test_recipes_of_one_model_are_kept_apart_and_labelled_by_what_differs():
    a = [make.record(make.run(seed=s)) for s in range(3)]
    b = [make.record(make.run(seed=s, recipe={"lr": 0.01})) for s in range(2)]
    (section,) = sections(entries(*a, *b))
    labels = {group.label: len(group.entries) for group in section.groups}
    assert labels == {"coRNN [lr=0.003]": 3, "coRNN [lr=0.01]": 2}
    assert [group.primary for group in section.groups if group.label == "coRNN [lr=0.003]"] == [True]
    assert sum(group.primary for group in section.groups) == 1


def test_a_recipe_set_by_hand_says_so_where_it_stands_alone():
    changed = make.record(
        make.run(recipe={"epsilon": 2.0}), sources={"epsilon": "set: by hand", "hidden_size": "set: H"}
    )
    (section,) = sections(entries(changed))
    assert [group.label for group in section.groups] == ["coRNN [epsilon=2]"]


def test_the_primary_recipe_is_chosen_on_validation_never_on_test():
    good_test = make.record(make.run(recipe={"lr": 0.1}))
    good_test["metrics"] |= {"test": 0.99, "valid": 0.5}
    good_valid = make.record(make.run(recipe={"lr": 0.2}))
    good_valid["metrics"] |= {"test": 0.4, "valid": 0.9}
    (section,) = sections(entries(good_test, good_valid))
    assert [group.run.recipe["lr"] for group in section.groups if group.primary] == [0.2]


def grid_of(values: Mapping[str, list[float | None]]):
    made = []
    for model, scores in values.items():
        for seed, score in enumerate(scores):
            status = "diverged" if score is None else "done"
            made.append(scored(score, model=model, seed=seed, status=status))
    return sections(entries(*made))[0]


def test_ranks_follow_the_mean_and_ties_share():
    section = grid_of({"cornn": [0.9, 0.8], "lstm": [0.95, 0.75], "tanh": [0.3, 0.2]})
    assert {group.run.model: group.rank for group in section.groups} == {"cornn": 1.5, "lstm": 1.5, "tanh": 3.0}


def test_lower_is_better_for_errors():
    made = [scored(v, model=m, seed=s, task="adding") for m, v in (("cornn", 0.001), ("lstm", 0.1)) for s in (0, 1)]
    (section,) = sections(entries(*made))
    assert [group.run.model for group in section.groups] == ["cornn", "lstm"]


def test_a_diverged_run_counts_as_a_constant_guess_in_the_rank_and_not_in_the_mean():
    section = grid_of({"cornn": [0.9, 0.9, None], "lstm": [0.7, 0.7, 0.7]})
    cornn = next(group for group in section.groups if group.run.model == "cornn")
    assert cornn.spread.mean == pytest.approx(0.9) and cornn.spread.n == 2
    row = leaderboard.row(cornn, section)
    assert row["penalised_mean"] == pytest.approx((0.9 + 0.9 + 0.1135) / 3)
    assert cornn.rank == 2 and "1 diverged" in row["seeds_text"]


def test_incomplete_groups_are_shown_marked_and_not_ranked():
    section = grid_of({"cornn": [0.9] * 5, "lstm": [0.8] * 5, "tanh": [0.99] * 3})
    tanh = next(group for group in section.groups if group.run.model == "tanh")
    assert tanh.rank is None and not tanh.complete
    assert section.groups[-1] is tanh
    assert leaderboard.row(tanh, section)["seeds_text"] == "3 †"
    assert "lacks seeds of this table (0-4)" in leaderboard.notes(section)


def test_extra_seeds_of_one_model_do_not_make_the_others_incomplete():
    section = grid_of({"cornn": [0.9] * 10, "lstm": [0.8] * 5, "tanh": [0.3] * 5})
    assert all(group.complete for group in section.groups) and section.seeds == set(range(5))


def test_one_seed_has_no_rank_and_no_interval():
    section = grid_of({"cornn": [0.9], "lstm": [0.8]})
    assert section.ranked == []
    rows = leaderboard.table(section).rows
    assert {(row["rank_text"], row["interval_text"], row["sd_text"]) for row in rows} == {("–", "–", "–")}


def test_failed_runs_are_counted_from_the_failures_folder():
    done = [make.record(make.run(seed=s)) for s in range(2)]
    failed = [make.record(make.run(seed=s), status="failed") for s in (1, 2)]  # seed 1 was done by a later try
    (section,) = sections(entries(*done), entries(*failed))
    assert section.groups[0].failed == [2]
    assert "1 failed" in leaderboard.row(section.groups[0], section)["seeds_text"]


def test_what_all_rows_say_goes_below_a_pages_table_and_stays_in_its_files():
    section = grid_of({"cornn": [0.9], "lstm": [0.8]})
    full = leaderboard.table(section)
    page = leaderboard.spoken(full)
    assert {"engine", "machine"} <= {column.key for column in full.columns}
    assert not {"engine", "machine"} & {column.key for column in page.columns}
    assert page.note.endswith("All rows: engine fused, machine Example CPU 2.5 GHz, 1 thread.")
    mixed = entries(make.record(make.run(seed=0)), make.record(make.run(seed=1), engine="native"))
    page = leaderboard.spoken(leaderboard.table(sections(mixed)[0]))
    assert "machine" not in {column.key for column in page.columns}
    two = entries(make.record(make.run("lstm")), make.record(make.run("cornn"), engine="native"))
    page = leaderboard.spoken(leaderboard.table(sections(two)[0]))
    assert "engine" in {column.key for column in page.columns} and "engine" not in page.note


def test_unequal_sizes_are_said():
    sizes = (("cornn", 64), ("lstm", 256))
    made = [make.record(make.run(model, seed=s, recipe={"hidden_size": h})) for model, h in sizes for s in (0, 1)]
    (section,) = sections(entries(*made))
    assert "Sizes are not matched" in leaderboard.notes(section)


# ---- formats


@pytest.fixture(scope="module")
def table(grid):
    return leaderboard.table(sections(read(grid))[0])


def test_csv_holds_raw_values_at_full_precision(table):
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(table))))
    assert [float(row["mean"]) for row in rows] == [row["mean"] for row in table.rows]


def test_json_holds_raw_values(table):
    values = json.loads(tables.as_json(table))
    assert [row["mean"] for row in values["rows"]] == [row["mean"] for row in table.rows]
    assert values["title"] == table.title


def test_markdown_has_one_line_a_row_and_escapes_bars(table):
    odd = tables.Table("x", "t", [tables.Column("a", "A|B", left=True)], [{"a": "c|d"}])
    assert "| A\\|B |" in tables.markdown(odd) and "| c\\|d |" in tables.markdown(odd)
    lines = [line for line in tables.markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table.rows) and len({line.count(" | ") for line in lines}) == 1


def test_latex_is_escaped_and_balanced(table):
    text = tables.latex(table)
    assert text.count(r"\\") == 1 + len(table.rows)
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in body}) == 1
    assert r"95 \% interval" in text
    assert tables.tex_escape("50 % of a_b & {c}") == r"50 \% of a\_b \& \{c\}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles(table, tmp_path):
    text = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + tables.latex(table) + r"\end{document}"
    (tmp_path / "t.tex").write_text(text)
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


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


def test_seeds_as_ranges():
    assert wording.seeds([3, 0, 1, 2, 7]) == "0-3,7"
    assert wording.seeds([]) == ""


# ---- the summary that a run ends with


def test_the_summary_fits_80_columns_and_names_the_variant():
    digits = {"data": "digits5k"}
    records = [make.record(make.run(m, "psmnist", seed, options=digits)) for m in make.MODELS for seed in (0, 1)]
    records += [make.record(make.run(model, "adding", 0)) for model in make.MODELS]
    records.append(make.record(make.run("tanh", "psmnist", 2, options=digits), status="diverged"))
    records.append(make.record(make.run("a.very.long.package.name:WithAModel", "psmnist", 0)))
    text = summary.table(records)
    assert max(map(len, text.splitlines())) <= 80
    assert "data=digits5k" in text
    assert "3-1" in text and "diverged or failed" in text
    for word in ("accuracy (%)", "loss", "seconds", "ms/step", "grad", "params"):
        assert word in text


def test_the_summarys_numbers():
    records = [make.record(make.run(seed=seed)) for seed in range(3)]
    (row,) = summary.summary_rows(records)
    scores = [record["metrics"]["test"] for record in records]
    assert row["mean"] == pytest.approx(np.mean(scores)) and row["sd"] == pytest.approx(np.std(scores, ddof=1))
    assert row["seconds"] == pytest.approx(132.0) and row["ms_per_step"] == pytest.approx(90.0)
    assert row["parameters"] == records[0]["size"]["parameters"]
    assert row["gradient_norm"] == pytest.approx(np.median([record["curve"][-1]["grad_norm"][2] for record in records]))
    assert summary.table([]) == "no records"


def test_the_summary_needs_no_heavy_library():
    code = (
        "import sys; from suite.report import summary; "
        "print([m for m in ('numpy','pandas','scipy','matplotlib','jinja2','torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- the command that repeats a run


def test_the_command_gives_the_same_run_again():
    from suite.plan import expand
    from suite.run import parser, request

    for text in (
        "--models cornn --tasks psmnist --seeds 3 --preset quick --device cpu",
        "--models cornn,lstm --tasks har2 --set cornn.dt=0.05 --set har2.normalise=none --device cpu",
        "--models tanh --tasks adding-2000 --epochs 3 --max-seconds 60.5 --set clip_norm=1 --device cpu",
        "--models exprnn --tasks noisy_cifar --set noisy_cifar.noise=independent --precision float64 --device cpu",
        "--models lstm --tasks imdb --track matched-time --max-seconds 100 --device cpu",
    ):
        for planned in expand(request(parser().parse_args(text.split()), "cpu")):
            where = {"preset": planned.preset}
            record = {"run": planned.run.identity(), "sources": dict(planned.sources), "where": where}
            line = command.repeat(record, fixed=content.task(planned.run.task)["fixed"])
            words = shlex.split(line)
            assert words[:3] == ["python", "-m", "suite.run"]
            (again,) = expand(request(parser().parse_args(words[3:]), "cpu"))
            assert again.run.id == planned.run.id, line


# ---- the command itself


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--results-dir", "nowhere"], 2, "no records to render under nowhere"),
        (["--format", "pdf"], 2, "wanted some of md, csv, tex, json"),
        (["--nonsense"], 2, "--nonsense"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, monkeypatch, capsys, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err


def test_a_folder_that_cannot_be_written(grid, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--results-dir", str(grid), "--reports-dir", str(tmp_path / "file")]) == 5
    assert capsys.readouterr().err.count("\n") == 1


def test_rendering_repeats_byte_for_byte_and_removes_what_is_stale(grid, tmp_path):
    for name, dpi in (("a", "100"), ("b", "300")):
        rc = tmp_path / f"{name}.rc"
        rc.write_text(f"savefig.dpi: {dpi}\naxes.facecolor: red\nlines.linewidth: 9\n")
        words = [
            sys.executable,
            "-m",
            "suite.report",
            "--results-dir",
            str(grid),
            "--reports-dir",
            str(tmp_path / name),
        ]
        # Below a file no folder can be made: a home where matplotlib cannot keep its cache.
        env = {"PATH": "", "MATPLOTLIBRC": str(rc), "PYTHONHASHSEED": dpi, "HOME": str(rc / "x"), "TZ": "UTC"}
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=env)
        assert done.stderr == ""
    files = {p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()}
    assert len(files) > 100
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    few = tmp_path / "few"
    make.fill(few, models=("cornn",), tasks=("psmnist",))
    assert main(["--results-dir", str(few), "--reports-dir", str(tmp_path / "a")]) == 0
    left = {p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()}
    assert not any("adding-length" in str(path) for path in left)
    listed = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert {str(path) for path in left} == {*listed, "manifest.json"}


def test_nothing_outside_the_folder_is_ever_removed(grid, tmp_path):
    outside = tmp_path / "precious"
    outside.write_text("keep")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(["../precious", str(outside), 7]))
    assert main(["--results-dir", str(grid), "--reports-dir", str(folder), "--format", "none"]) == 0
    assert outside.read_text() == "keep"


def test_reporting_needs_no_torch(grid, tmp_path):
    code = (
        "import sys; from suite.report.__main__ import main; "
        f"code = main(['--results-dir', {str(grid)!r}, '--reports-dir', {str(tmp_path)!r}, '--format', 'none']); "
        "print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.split() == ["0", "False"]


def test_files_of_the_report_stay_small():
    for path in sorted((Path(__file__).parent.parent / "suite" / "report").rglob("*.py")):
        text = path.read_text()
        assert text.count("\n") <= 250, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 60, (path, node.name)


def test_dumps_of_a_made_record_is_what_the_store_writes(tmp_path):
    made = make.record()
    assert Store(tmp_path).put(made).read_text() == dumps(made)
