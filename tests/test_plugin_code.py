"""Records of a model of one's own say which code made them, and a change without a new version is told."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time

import pytest

from suite.report import content, wording
from suite.report.evidence.described import descriptions, titles
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.render import render
from suite.report.site.site import Site
from suite.report.tables import notes
from suite.store import Store
from suite.work import provenance
from tests import report_records as make
from tests.plugins import odd
from tests.plugins.tiny import Leaky

MODEL = """
from tests.plugins.tiny import Leaky

class Mine(Leaky):
    pass
"""


@pytest.fixture
def train(zygote, tmp_path):
    """Runs of the model in ``mine.py``, in a process of their own in its folder; what stderr said."""

    def trained(seeds, *more):
        names = ["--models", "mine:Mine", "--tasks", "tests.plugins.tiny:Parity", "--epochs", "1", *more]
        words = [*names, "--executor", "inline", "--seeds", seeds, "--results-dir", str(tmp_path / "results")]
        driver = zygote.start(words, tmp_path / "log", cwd=tmp_path)
        assert driver.wait() == 0, driver.err.read_text()
        return driver.err.read_text()

    return trained


def test_a_changed_file_without_a_new_version_is_told(train, tmp_path):
    (tmp_path / "mine.py").write_text(MODEL)
    assert "other code" not in train("0")
    (tmp_path / "mine.py").write_text(MODEL + "    # changed\n")
    err = train("0-1")
    assert err.count("mine:Mine: some of these records were made with other code of it") == 1
    store = Store(tmp_path / "results")
    hashes = [json.loads(path.read_text())["where"]["plugins"] for path in sorted(store.paths())]
    assert hashes[0] != hashes[1] and set(hashes[0]) == {"mine:Mine", "tests.plugins.tiny:Parity"}
    assert hashes[1]["mine:Mine"] == hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()[:12]


def test_weights_and_replays_of_changed_code_say_so(project, train, tmp_path):
    (tmp_path / "mine.py").write_text(MODEL)
    assert "weights" in train("0", "--keep-weights")
    script = (
        "import sys; from pathlib import Path; from suite.work.weights import load_trained; from suite import run\n"
        "load_trained(next(Path('results/weights').rglob('*.pt'))).score('test')\n"
        "sys.exit(run.main(['--replay', str(next(Path('results/records').rglob('*.json')))]))"
    )

    def again():
        return subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{project}", "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip

    same = again()
    assert "changed since" not in same.stderr and "agrees" in same.stdout
    (tmp_path / "mine.py").write_text(MODEL + "    # changed\n")
    other = again().stderr
    assert "the code of mine:Mine has changed since these weights were trained" in other
    assert "the code of mine:Mine has changed since the record was made" in other


def test_its_page_begins_with_what_it_says_of_itself(train, tmp_path):
    words = '"""Keeps <everything>,\n    always.\n\n    Not this.\n    """\n\n    source = "A. Nobody & Co., 2030"'
    (tmp_path / "mine.py").write_text(MODEL.replace("pass", words))
    train("0")
    (path,) = Store(tmp_path / "results").paths()
    said = json.loads(path.read_text())["where"]["descriptions"]
    assert said["mine:Mine"] == {"summary": "Keeps <everything>, always.", "source": "A. Nobody & Co., 2030"}
    render(tmp_path / "results", tmp_path / "reports", formats=(), warn=pytest.fail)
    page = (tmp_path / "reports" / "models" / f"{wording.slug('mine:Mine')}.html").read_text()
    assert "Keeps &lt;everything&gt;, always." in page and "A. Nobody &amp; Co., 2030" in page
    assert "Keeps &lt;everything&gt;, always." in (tmp_path / "reports" / "models.html").read_text()
    page = (tmp_path / "reports" / "tasks" / f"{wording.slug('tests.plugins.tiny:Parity')}.html").read_text()
    assert said["tests.plugins.tiny:Parity"]["summary"] in page and "a test" in page


def test_records_without_words_about_it_have_a_page_all_the_same():
    found = descriptions([entry(make.record(make.run("a:B"), descriptions={"a:B": "no table", "other:C": {}}))])
    assert found == {}
    found = descriptions([entry(make.record(make.run("a:B"), descriptions={"a:B": {"summary": 3}}))])
    assert found == {"a:B": {"summary": "3", "source": ""}}


def test_a_record_says_nothing_new_of_what_the_package_knows(tmp_path):
    site = Site(tmp_path, {}, brought={name: {"summary": "wrong", "source": "wrong"} for name in ("cornn", "har2")})
    assert site.model("cornn") == content.model("cornn")
    assert site.task("har2") == content.task("har2") | {"findings": []}


@pytest.mark.parametrize(
    ("body", "summary", "source"),
    [({}, "", ""), ({"__doc__": 3, "source": None}, "", ""), ({"__doc__": " a\n b\n\nc"}, "a b", ""),
     ({"source": "\ud800 x"}, "", "? x"),
     ({"source": property(lambda self: "x")}, "", ""), ({"__doc__": "word " * 500}, "word " * 119 + "…", "")],
)  # fmt: skip
def test_odd_classes_cost_nothing(body, summary, source, monkeypatch):
    monkeypatch.setattr(odd, "Mine", type("Mine", (Leaky,), {"__module__": odd.__name__, **body}), raising=False)
    name = f"{odd.__name__}:Mine"
    assert provenance.described(make.run(name, "adding"))[name] == {"summary": summary, "source": source}


def test_a_plugin_is_called_by_its_title(train, tmp_path):
    (tmp_path / "mine.py").write_text(MODEL)
    train("0")
    (path,) = Store(tmp_path / "results").paths()
    time.sleep(1)  # records tell times in seconds, and the latest one's title counts
    (tmp_path / "mine.py").write_text(MODEL.replace("pass", 'title = "My  R&D_RNN, 50%"'))
    train("0-1")
    assert path in Store(tmp_path / "results").paths()  # the same run: not trained again
    render(tmp_path / "results", tmp_path / "reports", warn=pytest.fail)
    reports = tmp_path / "reports"
    page = (reports / "models" / f"{wording.slug('mine:Mine')}.html").read_text()
    assert "My R&amp;D_RNN, 50%</h1>" in page and "mine:Mine" in page
    (text,) = (one.read_text() for one in (reports / "tables").glob("leaderboard-*-full.tex"))
    assert r"My R\&D\_RNN, 50\%" in text and "mine" not in text
    assert any("My R&amp;D_RNN, 50%" in one.read_text() for one in (reports / "plots").glob("learning-*.svg"))
    assert wording.model_title("mine:Mine") == "mine:Mine"  # after the rendering


@pytest.mark.parametrize(
    ("titles", "names", "wanted"),
    [
        ({"a:B": "Mine", "c:D": "Other"}, (), {"a:B": "Mine", "c:D": "Other"}),
        ({"a:B": "Mine", "c:D": "mine"}, (), {"a:B": "Mine (a:B)", "c:D": "mine (c:D)"}),
        ({"a:B": "lstm", "c:D": "coRNN", "e:F": "HAR-2"}, (),
         {"a:B": "lstm (a:B)", "c:D": "coRNN (c:D)", "e:F": "HAR-2 (e:F)"}),
        ({"a:B": "gru"}, ("gru", "a:B"), {"a:B": "gru (a:B)"}),
        ({"gru": "GRU"}, ("gru",), {"gru": "GRU"}),
        ({"Lstm": "LSTM"}, ("Lstm",), {"Lstm": "LSTM (Lstm)"}),
        ({"a:B": " \n", "c:D": "__$x$\ty\0", "cornn": "mine"}, (), {"c:D": "x y"}),
        ({"a:B": "word " * 30}, (), {"a:B": "word " * 11 + "word…"}),
    ],
)  # fmt: skip
def test_titles_are_distinct_and_can_be_written(titles, names, wanted):
    assert wording.distinct(titles, names) == wanted


def test_pages_have_titles_of_models_and_tasks_alike(tmp_path):
    site = Site(tmp_path, {}, brought={name: {"summary": "s", "source": "", "title": "raw"} for name in ("a:B", "c:D")})
    with wording.titled({"a:B": "Mine", "c:D": "Its task"}):
        assert (site.model("a:B")["title"], site.task("c:D")["title"]) == ("Mine", "Its task")
        assert (site.model("cornn")["title"], site.task("har2")["title"]) == (
            content.model("cornn")["title"], content.task("har2")["title"],
        )  # fmt: skip
    assert (site.model("a:B")["title"], site.task("c:D")["title"]) == ("a:B", "c:D")


def test_the_latest_record_names_the_title_and_a_base_class_gives_none(monkeypatch):
    def said(day, **words):
        made = make.record(make.run("a:B", seed=day), descriptions={"a:B": {"summary": "", "source": "", **words}})
        made["where"]["finished"] = f"2026-01-0{day}T00:00:00Z"
        return entry(made)

    entries = [said(2, title="New"), said(1, title="Old")]
    assert titles(entries, descriptions(entries)) == {"a:B": "New"}
    entries.append(said(3))
    assert titles(entries, descriptions(entries)) == {}
    base = type("Base", (Leaky,), {"__module__": odd.__name__, "title": "Base"})
    monkeypatch.setattr(odd, "Base", base, raising=False)
    monkeypatch.setattr(odd, "Mine", type("Mine", (base,), {"__module__": odd.__name__}), raising=False)
    for name, title in (("Base", "Base"), ("Mine", None)):
        name = f"{odd.__name__}:{name}"
        assert provenance.described(make.run(name, "adding"))[name].get("title") == title


def test_a_row_of_mixed_code_is_noted():
    def noted(*codes):
        made = [make.record(make.run(seed=s), plugins={"a:B": code} if code else {}) for s, code in enumerate(codes)]
        return "different code of a plug-in" in notes.notes(sections([entry(one) for one in made])[0])

    assert noted("1", "2") and noted("", "1", "2")
    assert not noted("1", "1") and not noted("", "1") and not noted("", "")
