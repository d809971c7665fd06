"""From a folder of records to tables: reading, grouping, ranking, labels, formats, the command."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from suite.record import RecordError, dumps, validate
from suite.report import command, content, load_runs
from suite.report.__main__ import main
from suite.report.evidence.entries import read
from suite.report.evidence.sections import sections
from suite.report.tables import leaderboard
from suite.report.tables.table import Column, Table, as_json, comma_separated, latex, markdown, tex_escape
from suite.store import Store
from tests import report_records as make


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Three models, two tasks, five seeds."""
    root = tmp_path_factory.mktemp("grid") / "results"
    make.fill(root, models=("cornn", "lstm", "tanh"))
    return root


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
        (lambda text: text.replace('"parameters":', f'"parameters":1{"0" * 400},"x":'), "size.parameters: wanted int"),
        (lambda text: text.replace('"steps":', f'"steps":1{"0" * 400},"x":'), "steps: wanted int"),
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


def test_a_copy_of_a_record_is_not_another_seed(grid, tmp_path):
    root = tmp_path / "results"
    shutil.copytree(grid, root)
    path = next(Store(root).paths())
    copy = path.with_name("seed0-copy.json")
    shutil.copy(path, copy)
    lines = []
    assert len(read(root, warn=lines.append)) == 30
    assert len(lines) == 1 and str(copy) in lines[0] and str(path) in lines[0]


def test_a_record_without_units_is_refused():
    made = make.run()
    recipe = {key: value for key, value in made.recipe.items() if key != "hidden_size"}
    for changed in (recipe, recipe | {"hidden_size": "64"}, recipe | {"hidden_size": True}):
        run = replace(made, recipe=changed)
        with pytest.raises(RecordError, match=r"run.recipe.hidden_size: wanted an integer from 1"):
            validate({**make.record(), "run": run.identity(), "id": run.id})


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


# ---- formats


@pytest.fixture(scope="module")
def table(grid):
    return leaderboard.table(sections(read(grid))[0])


def test_csv_holds_raw_values_at_full_precision(table):
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert [float(row["mean"]) for row in rows] == [row["mean"] for row in table.rows]


def test_csv_and_json_hold_every_figure_that_a_cell_shows(table):
    (row, *_), (values, *_) = csv.DictReader(io.StringIO(comma_separated(table))), json.loads(as_json(table))["rows"]
    for key in ("low", "high", "finished", "diverged", "failed"):
        assert row[key] == str(values[key]) == str(table.rows[0][key])


def test_json_holds_raw_values(table):
    values = json.loads(as_json(table))
    assert [row["mean"] for row in values["rows"]] == [row["mean"] for row in table.rows]
    assert values["title"] == table.title


def test_markdown_has_one_line_a_row_and_escapes_bars(table):
    odd = Table("x", "t", [Column("a", "A|B", left=True)], [{"a": "c|d"}])
    assert "| A\\|B |" in markdown(odd) and "| c\\|d |" in markdown(odd)
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table.rows) and len({line.count(" | ") for line in lines}) == 1


def test_latex_is_escaped_and_balanced(table):
    text = latex(table)
    assert text.count(r"\\") == 1 + len(table.rows)
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in body}) == 1
    assert r"95 \% interval" in text
    assert tex_escape("50 % of a_b & {c}") == r"50 \% of a\_b \& \{c\}"


def _has(style):
    found = shutil.which("kpsewhich") and shutil.which("pdflatex")
    return bool(found and subprocess.run(["kpsewhich", style], capture_output=True, check=False).stdout)


@pytest.mark.skipif(not _has("adjustbox.sty"), reason="no LaTeX with adjustbox here")
def test_latex_compiles_and_fits_the_page(table, tmp_path):
    wide = Table(table.name, table.title, [*table.columns] * 3, table.rows, table.note)
    text = r"\documentclass{article}\usepackage{booktabs,adjustbox}\begin{document}"
    (tmp_path / "t.tex").write_text(text + latex(table) + latex(wide) + r"\end{document}")
    out = subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)
    assert b"Overfull" not in out.stdout


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
        home = os.environ["HOME"] if name == "a" else str(rc / "x")
        env = {"PATH": "", "MATPLOTLIBRC": str(rc), "PYTHONHASHSEED": dpi, "HOME": home, "TZ": "UTC"}
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
