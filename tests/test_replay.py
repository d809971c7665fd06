"""Same result twice: replays of records, and what a record says about where it was made."""

from __future__ import annotations

import json

import pytest
import torch

from suite.record import dumps, validate
from suite.run import main
from suite.store import Store
from tests.harness.grids import argv, planned

LEAKY = "tests.plugins.tiny:Leaky"


def made(tmp_path, *words, model=LEAKY, **changes):
    """A record made by the command, and its path."""
    runs = planned(model, seeds=(0,), **changes)
    assert main([*argv(runs, tmp_path / "r"), *words]) == 0
    (path,) = Store(tmp_path / "r").paths()
    return json.loads(path.read_text()), path


def replayed(path, capsys, *words) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["--replay", str(path), *words])
    out = capsys.readouterr()
    assert "Traceback" not in out.err
    return code, out.out


def test_a_replay_agrees_and_leaves_the_results_alone(tmp_path, capsys):
    _, path = made(tmp_path)
    before = sorted((tmp_path / "r").rglob("*"))
    code, said = replayed(path, capsys, "--results-dir", str(tmp_path / "r"))
    assert code == 0 and "4 epochs compared" in said and "agrees: every figure" in said
    assert sorted((tmp_path / "r").rglob("*")) == before


def test_a_replay_of_a_cell_uses_the_recorded_engine_and_compares_profiles(tmp_path, capsys):
    record, path = made(tmp_path, "--engine", "fused", model="cornn", epochs=2)
    assert record["where"]["engine"] == "fused" and record["profiles"]
    assert replayed(path, capsys)[0] == 0
    record["profiles"][1]["norms"][0][2] *= 1.5
    path.write_text(dumps(record))
    code, said = replayed(path, capsys)
    assert code == 1 and "departs at epoch 1: profile[0][2] was" in said and "largest relative difference 0.33" in said


def test_a_replay_says_from_where_a_curve_departs(tmp_path, capsys):
    record, path = made(tmp_path)
    record["curve"][2]["valid_loss"] += 1e-6
    record["curve"][3]["train_loss"] *= 2
    path.write_text(dumps(record))
    code, said = replayed(path, capsys, "--json")
    found = json.loads(said)
    assert code == 1 and not found["agrees"] and found["epochs"] == 4
    assert (found["departs"]["epoch"], found["departs"]["field"]) == (3, "valid_loss")
    assert (found["largest"]["epoch"], found["largest"]["field"]) == (4, "train_loss")
    assert found["largest"]["difference"] == pytest.approx(0.5)


def test_another_engine_or_library_is_told(tmp_path, capsys):
    record, path = made(tmp_path, "--engine", "fused", model="lstm", epochs=1)
    record["where"]["libraries"]["torch"] = "0.1"
    path.write_text(dumps(record))
    _, said = replayed(path, capsys, "--engine", "reference")
    assert "engine: was fused, is reference" in said and "'torch': '0.1'" in said


def test_a_run_cut_by_its_time_is_replayed_by_its_whole_epochs(tmp_path, capsys):
    record, path = made(tmp_path, "--max-seconds", "0.5", epochs=10_000)
    assert record["stop_reason"] == "max_seconds"
    code, said = replayed(path, capsys)
    assert code == 0 and f"{len(record['curve']) - 1} epochs compared" in said


def test_a_run_cut_by_its_time_while_its_rate_fell_is_none_to_replay(tmp_path, capsys):
    record, path = made(tmp_path, "--max-seconds", "0.5", "--set", "lr_decay=cosine", epochs=10_000)
    assert record["stop_reason"] == "max_seconds" and capsys.readouterr()
    assert main(["--replay", str(path)]) == 2
    said = capsys.readouterr().err
    assert "got one that time cut short while its rate fell" in said and len(said.splitlines()) == 1


def test_a_diverged_run_is_replayed_too(tmp_path, capsys):
    runs = planned("tests.plugins.faults:NotFinite", seeds=(0,))
    assert main(argv(runs, tmp_path)) == 1
    (path,) = Store(tmp_path).paths()
    assert replayed(path, capsys)[0] == 0


def test_what_cannot_be_replayed_is_one_line(tmp_path, capsys):
    record, path = made(tmp_path)
    run = {**record["run"], "model_version": 0}
    from suite.runs import Run

    path.write_text(dumps({**record, "run": run, "id": Run.from_identity(run).id}))
    assert main(["--replay", str(path)]) == 2
    assert "the record is of version 0 of model" in capsys.readouterr().err
    assert main(argv(planned("tests.plugins.broken:Raises", seeds=(0,)), tmp_path / "f")) == 1
    capsys.readouterr()
    (failed,) = Store(tmp_path / "f").failure_paths()
    assert main(["--replay", str(failed)]) == 2
    said = capsys.readouterr().err
    assert "wanted a record of a whole epoch, got one failed" in said and len(said.splitlines()) == 1


def test_deterministic_is_asked_of_torch_recorded_and_replayed(tmp_path, capsys):
    try:
        record, path = made(tmp_path, "--deterministic")
        assert torch.are_deterministic_algorithms_enabled() and record["where"]["deterministic"] is True
        plain, _ = made(tmp_path / "plain")
        assert not torch.are_deterministic_algorithms_enabled() and plain["where"]["deterministic"] is False
        assert replayed(path, capsys)[0] == 0
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_deterministic_debug_mode("default")


def test_a_record_names_what_made_it(tmp_path):
    where = validate(made(tmp_path)[0])["where"]
    assert set(where["libraries"]) >= {"python", "torch", "numpy", "rnnbench"}
    assert where["capability"] and isinstance(where["features"], list) and where["threads"] == 1
    assert where["gpu"] is where["driver"] is where["cuda"] is None
    assert where["commit"] is None or len(where["commit"]) == 40
