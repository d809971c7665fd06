"""suite.speed: what it measures is equal, the table, the stored file, the gate."""

from __future__ import annotations

import json
import math

import pytest
import torch

from suite import speed
from suite.benchmark import overhead, session, table
from suite.benchmark.contenders import Contender
from suite.benchmark.shapes import SHAPES, Shape, batch
from suite.benchmark.timing import Timing
from suite.report.evidence import inputs
from suite.work.training import train

CPU = torch.device("cpu")
SMALL = ["--shapes", "har2", "--models", "tanh", "--engines", "loop,fused", "--threads", "1", "--seconds", "0.2"]


def test_shapes_are_those_of_the_tasks():
    wanted = {
        "psmnist": (784, 120, 1, 128), "psmnist-256": (784, 120, 1, 256), "adding": (500, 50, 2, 128),
        "adding-2000": (2000, 50, 2, 128), "har2": (128, 64, 9, 64), "imdb": (1100, 64, 100, 128),
        "noisy_cifar": (1000, 100, 96, 128),
    }  # fmt: skip
    assert {name: (s.T, s.B, s.I, s.H) for name, s in SHAPES.items()} == wanted
    x, _ = batch(SHAPES["imdb"].small(), CPU)
    assert x.requires_grad and x.shape == (64, 137, 100)


def test_a_ratio_of_several_seeds_is_over_as_many_steps_of_the_loop():
    step, loop = Timing(20.0, 19.0, 21.0, 7), Timing(40.0, 39.0, 41.0, 7)
    row = session.row(SHAPES["psmnist"], "cornn", Contender("triton", "tf32", 16), 1, step, loop, None)
    assert (row["engine"], row["precision"], row["seeds"]) == ("triton-tf32-x16", "tf32", 16)
    assert row["ratio_to_loop"] == 32.0


@pytest.mark.parametrize(
    ("host", "note", "wanted"),
    [
        (None, "x", "x"),
        (0.3, "", ""),
        (0.97, "", "launching takes 97% of it"),
        (1.0, "x", "x; launching takes 100% of it"),
    ],
)
def test_a_row_says_where_the_host_sets_the_pace(host, note, wanted):
    step = Timing(20.0, 19.0, 21.0, 7, host)
    assert session.row(SHAPES["har2"], "lstm", Contender("triton"), 1, step, None, None, note)["note"] == wanted


def test_the_most_exact_precision_comes_first():
    args = speed._parser().parse_args(["--precision", "bf16,float32,tf32", "--engines", "fused", "--shapes", "har2"])
    assert speed.wanted(args).names == ("fused", "fused-tf32", "fused-bf16")


def test_help_fits_into_80_columns(capsys):
    assert speed.main(["--help"]) == 0
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())


def test_precisions_and_seeds_are_contenders_of_their_own(tmp_path, capsys):
    options = [*SMALL, "--results-dir", str(tmp_path), "--precision", "float32,tf32", "--seeds", "1,2"]
    assert speed.main(options) == 0
    seen = capsys.readouterr()
    assert "left out: har2 tanh fused-tf32: precision tf32 is for the triton engine alone" in seen.err
    (path,) = (tmp_path / "speed").glob("*.json")
    assert [row["engine"] for row in json.loads(path.read_text())["rows"]] == ["loop", "fused", "fused-x2"]
    warnings: list[str] = []
    ((_, values),) = inputs.read(tmp_path / "speed", inputs.speed, warnings.append)
    assert not warnings and len(values["rows"]) == 3


def rows(**ratios) -> list[table.Row]:
    step = Timing(10.0, 9.0, 12.5, 7)
    out = [session.row(SHAPES["psmnist-256"], "antisymmetric-gated", Contender(e), 1, step, step, step) for e in ratios]
    return [{**row, "ratio_to_loop": ratio} for row, ratio in zip(out, ratios.values())]


def test_the_table_is_at_most_80_columns_wide():
    wide = [{**row, "step_ms": Timing(12345.6, 11111.1, 22222.2, 5).plain()} for row in rows(reference=12.34)]
    noted = [{**row, "note": "a runner's step " * 9} for row in rows(runner=None)]
    assert all(len(line) <= 80 for line in table.lines(rows(fused=2.0, native=None) + wide + noted))


def test_the_table_ends_a_group_with_its_products_and_tells_notes():
    other = [{**row, "threads": 2, "gemm_ms": None, "note": "+0.4% over a bare step"} for row in rows(runner=None)]
    lines = list(table.lines([{**row, "gemm_ms": 5.0} for row in rows(fused=2.0, native=4.0)] + other))
    assert [line.split()[2] for line in lines[1:3]] == ["fused", "native"]
    assert lines[3].split()[2:] == [
        "products",
        "alone",
        "1",
        "5.0",
        "8.00",
    ]  # 4 times the loop in 10 ms: the loop has 40
    assert lines[4] == "" and lines[5].split()[2] == "runner" and lines[6] == "  +0.4% over a bare step"
    assert len(lines) == 7


def test_only_ratios_at_one_thread_are_gated():
    before = rows(fused=2.0, native=3.0)
    assert table.regressions(rows(fused=1.7, native=2.5), before, tolerance=0.2) == {}
    (line,) = table.regressions(rows(fused=1.5, native=2.5), before, tolerance=0.2).values()
    assert line.startswith("psmnist-256 antisymmetric-gated fused: 1.50 times the loop")
    two = [{**row, "threads": 2} for row in rows(fused=0.1)]
    assert table.regressions(two, [{**row, "threads": 2} for row in before], tolerance=0.2) == {}
    assert table.compared(rows(fused=1.0, other=1.0), before) == 1


def test_a_run_stores_what_the_report_reads_and_the_gate_compares_with_it(tmp_path, capsys):
    folder = ["--results-dir", str(tmp_path)]
    assert speed.main([*SMALL, *folder, "--gate"]) == 2
    assert "no baseline for this processor" in capsys.readouterr().err
    assert speed.main([*SMALL, *folder, "--save-baseline"]) == 0
    out = capsys.readouterr().out
    assert "har2" in out and "fused" in out and all(len(line) <= 80 for line in out.splitlines())
    warnings: list[str] = []
    assert len(inputs.read(tmp_path / "speed", inputs.speed, warnings.append)) == 1 and not warnings
    (baseline,) = (tmp_path / "speed" / "baselines").glob("*.json")
    content = json.loads(baseline.read_text())
    assert [row["engine"] for row in content["rows"]] == ["loop", "fused"]
    assert content["rows"][1]["ratio_to_loop"] > 0 and content["rows"][1]["gemm_ms"] > 0
    assert content["rows"][1]["step_ms"]["n"] >= 5

    content["rows"][1]["ratio_to_loop"] /= 10
    baseline.write_text(json.dumps(content))
    assert speed.main([*SMALL, *folder, "--gate", "--json"]) == 0
    done = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["engine"] for row in done] == ["loop", "fused"]

    content["rows"][1]["ratio_to_loop"] *= 1000
    baseline.write_text(json.dumps(content))
    assert speed.main([*SMALL, *folder, "--gate"]) == 3
    assert "regression: har2 tanh fused" in capsys.readouterr().err
    assert speed.main([*SMALL, *folder, "--gate", "--save-baseline"]) == 3
    assert json.loads(baseline.read_text()) == content  # what fell is no new baseline


def test_the_gate_misses_an_engine_that_no_longer_runs(tmp_path, capsys):
    folder = ["--results-dir", str(tmp_path)]
    assert speed.main([*SMALL, *folder, "--save-baseline"]) == 0
    (baseline,) = (tmp_path / "speed" / "baselines").glob("*.json")
    content = json.loads(baseline.read_text())
    content["rows"].append(content["rows"][1] | {"engine": "torch", "hidden": 9999})
    baseline.write_text(json.dumps(content))
    options = [*SMALL, *folder, "--tolerance", "0.99", "--gate"]
    assert speed.main(options) == 0  # torch was not asked for
    options[options.index("loop,fused")] = "loop,torch,fused"
    assert speed.main(options) == 3
    assert "regression: har2 tanh torch: not measured" in capsys.readouterr().err


def test_a_baseline_is_compared_under_its_own_clock_and_never_cut_short(tmp_path, capsys):
    folder = ["--results-dir", str(tmp_path)]
    assert speed.main([*SMALL, *folder, "--save-baseline"]) == 0
    assert speed.main([*SMALL, *folder, "--gate", "--clock", "cpu"]) == 2
    assert "--clock wall" in capsys.readouterr().err
    part = [word.replace("loop,fused", "loop") for word in SMALL]
    assert speed.main([*part, *folder, "--save-baseline"]) == 2
    assert "has 1 rows that this would not measure" in capsys.readouterr().err


def test_a_baseline_of_one_thread_is_not_replaced_by_one_of_two(tmp_path, capsys):
    folder = ["--results-dir", str(tmp_path)]
    assert speed.main([*SMALL, *folder, "--save-baseline"]) == 0
    two = [*SMALL, *folder, "--save-baseline"]
    two[two.index("--threads") + 1 : two.index("--threads") + 2] = ["2"]
    assert speed.main(two) == 2
    assert "rows that this would not measure" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": [{"engine": "loop"}]}'])
def test_a_damaged_baseline_is_one_line(text, tmp_path, capsys):
    folder = ["--results-dir", str(tmp_path)]
    assert speed.main([*SMALL, *folder, "--save-baseline"]) == 0
    (baseline,) = (tmp_path / "speed" / "baselines").glob("*.json")
    baseline.write_text(text)
    capsys.readouterr()
    assert speed.main([*SMALL, *folder, "--gate"]) == 2
    said = capsys.readouterr().err
    assert "no baseline that can be read" in said and len(said.splitlines()) == 1


def test_what_was_measured_before_an_error_is_stored(tmp_path, monkeypatch):
    def broken(**_):
        raise RuntimeError("no step of the runner was timed")

    monkeypatch.setattr(overhead, "overhead_row", broken)
    with pytest.raises(RuntimeError):
        speed.main([*SMALL, "--results-dir", str(tmp_path), "--overhead"])
    (stored,) = (tmp_path / "speed").glob("*.json")
    assert [row["engine"] for row in json.loads(stored.read_text())["rows"]] == ["loop", "fused"]


def test_every_row_is_stored_as_it_comes(tmp_path, monkeypatch):
    """A process that is killed keeps what it measured."""
    kept = []
    original = speed._store

    def watched(path, content):
        original(path, content)
        kept.append(len(json.loads(path.read_text())["rows"]))

    monkeypatch.setattr(speed, "_store", watched)
    assert speed.main([*SMALL, "--results-dir", str(tmp_path)]) == 0
    assert kept == [1, 2]


def test_the_runners_share_is_measured_where_losses_are_read_seldom(monkeypatch):
    """As on a GPU, where the trainer asks whether to stop after every 25th step alone."""
    monkeypatch.setitem(train.FLUSH, "cpu", 25)
    monkeypatch.setattr(overhead, "SHAPE", Shape("psmnist", "psmnist", 784, 120, 1, 8, 10, "classes"))
    row = overhead.overhead_row(seconds=7.0, say=lambda _: None)
    assert row["step_ms"]["n"] > 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shapes", "hra2"], "did you mean har2"),
        (["--models", "cornnn"], "did you mean cornn"),
        (["--engines", "natve"], "did you mean native"),
        (["--threads", "0"], "--threads: wanted whole numbers from 1 to 4096"),
        (["--device", "tpu"], "--device: wanted auto, cpu, cuda or cuda:N, got 'tpu'"),
        (["--device", "cuda:x"], "--device: wanted auto, cpu, cuda or cuda:N, got 'cuda:x'"),
        (["--precision", "tf23"], "did you mean tf32"),
        (["--seeds", "0"], "--seeds: wanted whole numbers from 1 to 1024"),
        (["--clock", "cpu", "--threads", "2"], "--clock cpu: processor time"),
        (["--tolerance", "2"], r"--tolerance: wanted a fraction"),
        (["--engines", "torch", "--models", "cornn", "--shapes", "har2"], "nothing was measured"),
    ],
)
def test_bad_input_is_one_line(options, message, capsys, tmp_path):
    assert speed.main([*options, "--results-dir", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message.replace("\\", "") in lines[-1]


def test_the_runners_share_is_measured_in_pairs(monkeypatch):
    monkeypatch.setattr(overhead, "SHAPE", Shape("psmnist", "psmnist", 784, 120, 1, 8, 10, "classes"))
    row = overhead.overhead_row(seconds=7.0, say=lambda _: None)
    assert row["engine"] == "runner" and row["threads"] == 1
    assert row["step_ms"]["n"] == row["bare_ms"]["n"] >= 20
    assert math.isfinite(row["runner_overhead"])  # its size is a measurement, not a test's: the machine may be busy
    assert "median of" in row["note"]


def test_a_plugin_that_fell_is_measured_again(tmp_path, capsys):
    """Its name holds the colon that a line has behind the name."""
    options = [*SMALL, "--results-dir", str(tmp_path)]
    options[options.index("tanh")] = "tests.plugins.tiny:Leaky"
    options[options.index("loop,fused")] = "loop,reference"
    assert speed.main([*options, "--save-baseline"]) == 0
    (baseline,) = (tmp_path / "speed" / "baselines").glob("*.json")
    content = json.loads(baseline.read_text())
    content["rows"][1]["ratio_to_loop"] *= 1000
    baseline.write_text(json.dumps(content))
    capsys.readouterr()
    assert speed.main([*options, "--gate"]) == 3
    said = capsys.readouterr().err
    assert "measuring again" in said and "regression: har2 tests.plugins.tiny:Leaky" in said
