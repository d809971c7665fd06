"""Names of pages, tables and figures: no two things of a report share a file."""

from __future__ import annotations

import json

import pytest

from suite.report import style, wording
from suite.report.render import render
from suite.report.site.site import Site
from suite.report.tables.table import Table
from suite.store import Store
from tests import report_records as make

MODELS = ("my.m:MGU", "my.m:Mgu", "Größe", "Gräße", "A_B", "AÖB", "LSTM")
TASKS = ("mytasks:Parity", "mytasks:parity")


def test_a_name_is_numbered_only_where_another_has_it():
    assert wording.stems(["lstm", "LSTM", "noisy_cifar", "noisy cifar", "x.Y", "lstm-2"]) == {
        "lstm": "lstm",
        "LSTM": "lstm-2",
        "noisy_cifar": "noisy-cifar",
        "noisy cifar": "noisy-cifar-2",
        "x.Y": "x.y",
        "lstm-2": "lstm-2-2",
    }


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of models and tasks whose names differ in case or letters outside ASCII alone."""
    root = tmp_path_factory.mktemp("names")
    store = Store(root / "results")
    for model, task in [*((model, TASKS[0]) for model in MODELS), (MODELS[0], TASKS[1])]:
        store.put(make.record(make.run(model, task)))
    assert render(root / "results", root / "reports", formats=("json",), warn=pytest.fail) is not None
    return root / "reports"


@pytest.mark.parametrize(("folder", "names"), [("models", MODELS), ("tasks", TASKS)])
def test_each_model_and_task_has_a_page_of_its_own_that_the_list_links(report, folder, names):
    pages = [path.read_text() for path in (report / folder).glob("*.html")]
    known = wording.MODEL_TITLES if folder == "models" else wording.TASK_TITLES
    assert len(pages) == len(known) + len(names)
    listed = (report / f"{folder}.html").read_text()
    for name in names:
        count = sum(f"{name}</h1>" in page for page in pages)
        assert count == (2 if name in known.values() else 1)  # the suite's LSTM has that title
    assert all(f'href="{folder}/{path.name}"' in listed for path in (report / folder).glob("*.html"))


def test_a_models_table_page_links_and_colour_are_its_own(report):
    board = (report / "index.html").read_text()
    for name, stem in (("my.m:MGU", "my.m-mgu"), ("my.m:Mgu", "my.m-mgu-2"), ("LSTM", "lstm-2")):
        assert f'<a href="models/{stem}.html">{name}' in board
        rows = json.loads((report / f"tables/model-{stem}.json").read_text())
        assert rows["title"] == f"{name}: results"
        page = (report / f"models/{stem}.html").read_text()
        assert f"tables/model-{stem}.json" in page and f"var(--model-{stem.replace('.', '-')})" in page
    assert f'href="../tasks/{wording.slug(TASKS[1])}-2.html#' in (report / "models/my.m-mgu.html").read_text()


def test_tables_and_figures_of_one_name_have_a_file_each(tmp_path):
    site = Site(tmp_path, style.looks([]), ("json",))
    tables = [site.table(Table("speed-a", title, [], [])) for title in ("one", "two")]
    assert [table.name for table in tables] == ["speed-a", "speed-a-2"]
    titles = [json.loads((tmp_path / f"tables/{table.name}.json").read_text())["title"] for table in tables]
    assert titles == ["one", "two"]
    assert site.table(tables[0]).name == "speed-a"  # on a second page
