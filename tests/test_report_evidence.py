"""Targets, tasks together, files beside the records."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files

import numpy as np
import pytest

from suite import names
from suite.report import content, style, wording
from suite.report.evidence import inputs
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.render import render
from suite.report.tables import across, targets
from suite.report.tables.table import FORMATS
from tests import report_records as make


def entries(*records):
    return [entry(record) for record in records]


# ---- time to a target


def test_time_to_a_target_is_the_first_epoch_that_reaches_it():
    one = entry(make.record())
    one.curve["valid"] = np.array([0.1, 0.6, 0.4, 0.9])
    one.curve["seconds"] = np.array([10.0, 20.0, 30.0, 40.0])
    one.curve["steps"] = np.array([1.0, 2.0, 3.0, 4.0])
    assert targets.reached(one, 0.5, higher_is_better=True) == (20.0, 2.0)
    assert targets.reached(one, 0.95, higher_is_better=True) is None
    assert targets.reached(one, 0.1, higher_is_better=False) == (10.0, 1.0)
    assert targets.area(one) == pytest.approx(((0.1 + 0.6) / 2 + (0.6 + 0.4) / 2 + (0.4 + 0.9) / 2) / 3)
    one.curve["steps"] = np.array([1.0, 2.0, 3.0, 8.0])  # the last epoch weighs five times as much
    assert targets.area(one) == pytest.approx(((0.1 + 0.6) / 2 + (0.6 + 0.4) / 2 + 5 * (0.4 + 0.9) / 2) / 7)


def test_a_target_that_most_runs_miss_is_censored():
    made = [make.record(make.run(model, seed=seed)) for model in ("cornn", "tanh") for seed in range(3)]
    (section,) = sections(entries(*made))
    rows = {row["model"]: row for row in targets.table(section).rows}
    assert rows["cornn"]["reached"] == 3 and rows["cornn"]["seconds"] > 0
    assert rows["tanh"]["reached"] == 0 and rows["tanh"]["seconds"] is None
    assert rows["tanh"]["seconds_text"].startswith("> ")


def test_targets_of_tasks_lie_between_a_guess_and_perfection():
    for task in wording.TASK_TITLES:
        goal = content.task(task)["target"]
        assert 0 < goal < 1 / 6 if task.startswith("adding") else 0.1 < goal < 1


# ---- tasks together


def section_of(task, scores, preset=None, **changes):
    made = []
    for model, values in scores.items():
        for seed, value in enumerate(values):
            record = make.record(make.run(model, task, seed, **changes))
            record["metrics"]["test"] = value
            record["where"]["preset"] = preset
            made.append(record)
    return sections(entries(*made))[0]


def test_only_models_and_tasks_held_in_common_are_aggregated():
    two = [0.9, 0.8]
    a = section_of("har2", {"cornn": two, "lstm": two, "tanh": two})
    b = section_of("psmnist", {"cornn": two, "lstm": two})
    c = section_of("imdb", {"cornn": two, "lstm": two})
    kept, models = across.common([a, b, c])
    assert models == ["cornn", "lstm"] and kept == [a, b, c]
    (table,) = across.tables([a, b, c])
    assert {row["model"] for row in table.rows} == {"cornn", "lstm"}
    assert "3 tasks separate few models" in table.note


def test_interquartile_mean_over_tasks_by_hand():
    a = section_of("har2", {"cornn": [0.9, 0.8], "lstm": [0.7, 0.6]})
    b = section_of("imdb", {"cornn": [0.95, 0.85], "lstm": [0.5, 0.75]})
    (table,) = across.tables([a, b])
    values = sorted([(0.9 - 0.53) / 0.47, (0.8 - 0.53) / 0.47, (0.95 - 0.5) / 0.5, (0.85 - 0.5) / 0.5])
    row = next(row for row in table.rows if row["model"] == "cornn")
    assert row["iqm"] == pytest.approx((values[1] + values[2]) / 2)
    assert row["low"] <= row["iqm"] <= row["high"]
    assert row["mean_rank"] == 1.0


def test_one_task_alone_is_not_aggregated_and_presets_do_not_mix():
    scores = {"cornn": [0.9, 0.8], "lstm": [0.7, 0.6]}
    a, b = section_of("har2", scores), section_of("imdb", scores)
    assert across.tables([a]) == []
    quick = section_of("imdb", scores, preset="quick")
    assert quick.budget.startswith("preset quick, ")
    assert across.tables([a, quick]) == []
    assert len(across.tables([a, b])) == 1


def test_a_preset_never_shares_a_table_with_the_full_protocol():
    made = [make.record(make.run("lstm", "har2", seed)) for seed in range(3)]
    quick = [make.record(make.run("lstm", "har2", seed, recipe={"hidden_size": 32})) for seed in range(5)]
    for record in quick:
        record["where"]["preset"] = "quick"
    assert [len(section.groups) for section in sections(entries(*made, *quick))] == [1, 1]


@pytest.mark.parametrize(
    ("task", "options", "kind"),
    [("psmnist", {}, "full protocol"), ("psmnist", {"data": "digits5k"}, "with other data or options"),
     ("psmnist", {"train_examples": 100}, "on part of the data"), ("adding", {"test_examples": 1000}, "full protocol"),
     ("adding", {"test_examples": 10}, "on part of the data"), ("adding", {"length": 100}, "other data or options")],
)  # fmt: skip
def test_other_data_is_not_the_full_protocol(task, options, kind):
    section = section_of(task, {"cornn": [0.9], "lstm": [0.8]}, options=options)
    assert across._protocol(section).endswith(kind)


def test_the_full_protocol_is_what_the_tasks_do_by_default():
    for name in names.table("task"):
        plugin = names.resolve("task", name)
        for key, value in content.task(name)["full"].items():
            own = plugin.fixed.get(key, plugin.schema[key].default if key in plugin.schema else None)
            assert own == value, (name, key)


def test_tasks_with_more_seeds_weigh_no_more():
    a = section_of("har2", {"cornn": [0.6, 0.6], "lstm": [0.5, 0.5]})
    b = section_of("imdb", {"cornn": [0.95] * 8, "lstm": [0.9] * 8})
    (table,) = across.tables([a, b])
    assert "the first 2 seeds of each" in table.note


# ---- files beside the records


def speed(**changes):
    row = {"shape": "s", "task": "t", "model": "cornn", "engine": "fused", "threads": 1}
    row |= {"step_ms": {"median": 1.0, "q25": 1.0, "q75": 1.0, "n": 3}, "ratio_to_loop": None, "gemm_ms": None}
    return {"schema": 1, "date": "d", "machine": {}, "command": "c", "rows": [row]} | changes


def theory(**changes):
    series = [{"label": "a", "x": [1, 2], "y": [1.0, None]}]
    texts = dict.fromkeys(("title", "command", "date", "x_label", "y_label", "finding"), "x")
    return (
        {"schema": 1, "check": "energy", "machine": {}, "series": series, "log_y": False, "bound": None}
        | texts
        | changes
    )


@pytest.mark.parametrize(
    ("check", "values", "words"),
    [
        (inputs.speed, speed(schema=2), "wanted 1, got 2"),
        (inputs.speed, speed(rows=None), "rows"),
        (inputs.speed, speed(rows=[{}]), "rows[0].shape"),
        (inputs.speed, speed(rows=[speed()["rows"][0] | {"ratio_to_loop": "2"}]), "rows[0].ratio_to_loop"),
        (inputs.speed, speed(rows=[speed()["rows"][0] | {"forward_ms": 12.5}]), "rows[0].forward_ms"),
        (inputs.speed, [], "got 'list'"),
        (inputs.theory, theory(check="other"), "check: wanted one of"),
        (inputs.theory, theory(series=[]), "series"),
        (inputs.theory, theory(series=[{"label": "a", "x": [1], "y": [1, 2]}]), "wanted 1 numbers, got 2"),
        (inputs.theory, theory(bound=[1.0]), "bound"),
        (inputs.theory, theory(log_y=1), "log_y"),
        (inputs.theory, theory(log_y=True, series=[{"label": "a", "x": [1], "y": [None]}]), "log_y: wanted a positive"),
        (inputs.theory, theory(finding=None), "finding"),
    ],
)
def test_a_bad_file_of_measurements_is_named_and_left_out(tmp_path, check, values, words):
    (tmp_path / "bad.json").write_text(json.dumps(values))
    (tmp_path / "broken.json").write_text("{")
    lines = []
    assert inputs.read(tmp_path, check, lines.append) == []
    assert len(lines) == 2 and words in lines[0] and str(tmp_path / "bad.json") in lines[0]


def test_findings_are_of_the_results_folder_and_never_of_the_package(tmp_path):
    results, reports, lines = tmp_path / "results", tmp_path / "reports", []
    make.fill(results, models=("cornn",), tasks=("psmnist",), seeds=(0,))
    render(results, reports, formats=(), warn=lines.append)
    page = reports / "tasks" / "psmnist.html"
    assert "Findings" not in page.read_text() and not lines
    (results / "findings").mkdir()
    (results / "findings" / "psmnist.toml").write_text('findings = ["one <seed> alone"]\n')
    (results / "findings" / "har2.toml").write_text("findings = 3\n")
    (results / "findings" / "imdb.toml").write_text("findings = [\n")
    render(results, reports, formats=(), warn=lines.append)
    assert "one &lt;seed&gt; alone" in page.read_text()
    assert len(lines) == 2 and "har2.toml: wanted one field, findings: a list of texts" in lines[0]
    assert all("\n" not in line for line in lines)


def test_committed_findings_are_of_tasks_with_records(project):
    lines = []
    found = inputs.findings(project / "results" / "findings", lines.append)
    assert not lines and found
    for task, texts in found.items():
        assert task in wording.TASK_TITLES and all(len(text) > 20 for text in texts)
        assert list((project / "results" / "records").glob(f"*/{task}/*.json")), task


def test_good_files_of_measurements_are_taken(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(speed()))
    assert [stem for stem, _ in inputs.read(tmp_path, inputs.speed, pytest.fail)] == ["a"]
    one = {"label": "limit", "x": [0, 1, 2], "y": [1.0, 1.0, 2.0]}
    assert inputs.theory(theory(bound=[one]))["bound"] == [one]
    assert inputs.theory(theory())["bound"] == []


# ---- what the package says about models and tasks


def test_every_model_and_task_of_the_suite_is_described():
    from models import MODELS
    from tasks import TASKS

    for name in MODELS:
        about = content.model(name)
        assert about["equations"] and about["source"] and about["link"].startswith("https://"), name
        assert name in wording.MODEL_TITLES and name in style.LOOKS
    for name, (_, fixed) in TASKS.items():
        about = content.task(name)
        assert about["protocol"] and about["summary"], name
        assert set(about["fixed"]) == set(fixed), name
        assert name in wording.TASK_TITLES


def test_licences_and_citations_are_those_of_the_data_table():
    from tasks.sources import SOURCES

    named = {item["key"]: item for task in wording.TASK_TITLES for item in content.task(task)["data"]}
    assert set(named) == set(SOURCES)
    for key, item in named.items():
        source = SOURCES[key]
        assert (item["title"], item["licence"], item["citation"]) == (source.title, source.licence, source.citation)


def test_described_diagnostics_are_those_of_the_models():
    import torch

    from models import MODELS, build

    for name in MODELS:
        model = build(name, input_size=1, hidden_size=4)
        torch.manual_seed(0)
        assert list(content.model(name)["diagnostics"]) == list(model.diagnostics()), name


def test_equations_are_html_without_markup_from_outside():
    assert str(content.equation("h_t = W^⊤ x_{t-1} < 1")) == (
        "<var>h</var><sub><var>t</var></sub> = <var>W</var><sup>⊤</sup> <var>x</var><sub><var>t</var>−1</sub> &lt; 1"
    )


def test_content_files_hold_known_keys_only():
    kinds = {
        "models": "title name summary equations symbols initialisation source link blocks diagnostics",
        "tasks": "title summary protocol full fixed target epochs published_for published_note data",
    }
    for kind, known in kinds.items():
        for file in files("suite.report").joinpath("content", kind).iterdir():
            assert set(tomllib.loads(file.read_text(encoding="utf-8"))) <= set(known.split()), file


def test_formats_of_the_command_are_those_of_the_tables():
    from suite.report.__main__ import FORMATS as COMMAND

    assert COMMAND == FORMATS
