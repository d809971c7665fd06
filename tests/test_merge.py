"""Records, weights and findings of several results folders brought together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from suite import merge
from suite.record import dumps, load
from suite.report.evidence import inputs
from suite.store import Store
from suite.work.job import Job, Settings
from suite.work.training.records import failure
from tests.harness.grids import planned, undisturbed


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    runs = planned("tests.plugins.tiny:Leaky", seeds=(0,), epochs=2)
    return undisturbed(runs, tmp_path_factory.mktemp("whole"))[runs[0].run.id]


def results(root: Path, record: dict, **changes) -> Store:
    store = Store(root)
    store.put({**record, **changes})
    return store


def test_merge_takes_records_over_byte_for_byte(tmp_path, record, capsys):
    source = results(tmp_path / "a", record)
    (path,) = source.paths()
    path.write_text(path.read_text() + "\n")  # written by another version, say
    assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / "b")]) == 0
    assert "1 new" in capsys.readouterr().err
    (copy,) = Store(tmp_path / "b").paths()
    assert copy.read_bytes() == path.read_bytes()
    assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / "b")]) == 0
    assert "1 same" in capsys.readouterr().err


def test_merge_keeps_both_of_a_conflict_and_tells(tmp_path, record, capsys):
    results(tmp_path / "a", record, seconds={**record["seconds"], "train": 5.0})
    ours = results(tmp_path / "b", record)
    for result in ("conflict", "same"):
        assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / "b"), "--json"]) == 0
        (row,) = map(json.loads, capsys.readouterr().out.splitlines())
        assert row["result"] == result and "conflicts" in row["path"]
        assert row.get("figures") == {"conflict": "same", "same": None}[result]  # only a time differs
    (kept,) = ours.conflict_paths()
    assert load(kept)["seconds"]["train"] == 5.0 and load(next(ours.paths())) == record
    assert merge.main([str(tmp_path / "b"), "--results-dir", str(tmp_path / "c")]) == 0  # conflicts travel on
    assert "1 conflict, 1 new" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["metrics", "curve"])
def test_merge_says_whether_the_figures_of_a_conflict_are_the_same(what, tmp_path, record, capsys):
    results(tmp_path / "b", record)
    results(tmp_path / "a", record, seconds={**record["seconds"], "train": 5.0})
    other = json.loads(json.dumps(record))
    (other["metrics"] if what == "metrics" else other["curve"][-1])["valid"] = 0.25
    results(tmp_path / "c", other)
    said = {"a": "with the same figures: kept as", "c": "with other figures: kept as"}
    for source, words in said.items():
        assert merge.main([str(tmp_path / source), "--results-dir", str(tmp_path / "b")]) == 0
        assert words in capsys.readouterr().out


def test_merge_goes_on_where_a_record_of_its_own_cannot_be_read(tmp_path, record, capsys):
    (path,) = results(tmp_path / "b", record).paths()
    path.write_text("{")
    results(tmp_path / "a", record)
    assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / "b")]) == 0
    seen = capsys.readouterr()
    assert "is a second record of its run: kept as" in seen.out and "1 conflict" in seen.err


def test_merge_takes_findings_over_once(tmp_path, record, capsys):
    for folder, texts in (("a", '["One \\"é\\" \\u007f.", "Two."]'), ("b", '["Two.", "Three."]')):
        results(tmp_path / folder, record)
        (tmp_path / folder / "findings").mkdir()
        (tmp_path / folder / "findings" / "psmnist.toml").write_text(f"findings = {texts}\n")
    for target in ("b", "new"):
        assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / target)]) == 0
        assert f"findings of {tmp_path / 'a'} taken over: psmnist.toml\n" in capsys.readouterr().err
        assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / target)]) == 0
        assert "taken over" not in capsys.readouterr().err
    read = {name: inputs.findings(tmp_path / name / "findings", pytest.fail)["psmnist"] for name in ("b", "new")}
    assert read == {"b": ["Two.", "Three.", 'One "é" \x7f.'], "new": ['One "é" \x7f.', "Two."]}
    (tmp_path / "new" / "findings" / "psmnist.toml").write_text("not toml")
    assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / "new")]) == 0
    assert "wanted" in (said := capsys.readouterr().err) or "Expected" in said
    assert (tmp_path / "new" / "findings" / "psmnist.toml").read_text() == "not toml"


def test_merge_leaves_out_what_is_no_record_and_says_so(tmp_path, record, capsys):
    source = results(tmp_path / "a", record)
    (path,) = source.paths()
    path.with_name("seed1-000000000000.json").write_text("{")
    assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / "b")]) == 1
    said = capsys.readouterr().err
    assert f"left out: {path.with_name('seed1-000000000000.json')}" in said and "1 broken, 1 new" in said


def test_merge_takes_failures_too(tmp_path):
    (one,) = planned(seeds=(0,))
    job = Job((one.run,), one.sources, Settings(), ("none",))
    for text in ("first", "second"):
        Store(tmp_path / "a").put(failure(one.run, job, text, "now"))
    assert merge.main([str(tmp_path / "a"), "--results-dir", str(tmp_path / "b")]) == 0
    assert [load(p)["error"]["message"] for p in Store(tmp_path / "b").failures(one.run)] == ["first", "second"]
    assert Store(tmp_path / "b").state(one.run) == "failed"


@pytest.mark.parametrize("name", ["..", "../../../etc", "/abs", "a/../../b", ".hidden"])
def test_merge_writes_nothing_outside(tmp_path, record, name):
    run = replace(planned("tests.plugins.tiny:Leaky", seeds=(0,))[0].run, model=name, task=name)
    source = tmp_path / "in" / "a" / "records" / "m" / "t" / "seed0-x.json"
    source.parent.mkdir(parents=True)
    source.write_text(dumps({**record, "run": run.identity(), "id": run.id}))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert merge.main([str(tmp_path / "in" / "a"), "--results-dir", str(tmp_path / "out" / "b")]) == 0
    (new,) = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert new.resolve().is_relative_to(tmp_path / "out" / "b" / "records") and new.name == f"seed0-{run.id}.json"


def test_merge_wants_a_results_folder(tmp_path, capsys):
    assert merge.main([str(tmp_path), "--results-dir", str(tmp_path / "b")]) == 2
    said = capsys.readouterr().err
    assert "wanted a results folder" in said and len(said.splitlines()) == 1
    (tmp_path / "records").mkdir()
    (tmp_path / "file").write_text("")
    assert merge.main([str(tmp_path), "--results-dir", str(tmp_path / "file")]) == 5
