"""asv's benchmarks: they run as they are, and the tool itself takes them (slow)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import steps
from models import MODELS
from suite.benchmark.shapes import SHAPES

ROOT = Path(__file__).resolve().parent.parent
TIMED = [name for name in vars(steps.Steps) if name.startswith("time_")]


def test_every_model_and_task_shape_is_tracked():
    models, shapes, devices = steps.Steps.params
    assert set(models) == set(MODELS) and shapes == list(SHAPES)
    assert devices == ["cpu"]  # no test but those marked gpu sees one
    assert set(steps.EVERY_MODEL) <= set(shapes)


def test_sizes_that_one_model_has_are_left_out_for_the_others():
    with pytest.raises(NotImplementedError):
        steps.Steps().setup("tanh", "adding-2000", "cpu")
    steps.Steps().setup("cornn", "psmnist-256", "cpu")


@pytest.mark.gpu
def test_a_gpu_is_a_device_of_its_own_and_waited_for():
    assert steps.Steps.params[2] == ["cpu", "cuda"]
    bench = steps.Steps()
    bench.setup("cornn", "har2", "cuda")
    bench.time_training_step("cornn", "har2", "cuda")
    assert torch.cuda.current_stream().query()  # nothing is left to do
    ratio = steps.Ratio()
    ratio.setup("cornn", "har2", "cuda")
    assert 0.0 < ratio.track_share_of_the_loop("cornn", "har2", "cuda") < 2.0


def test_versions_are_set_by_hand():
    functions = [getattr(steps.Steps, name) for name in TIMED] + [steps.Ratio.track_share_of_the_loop]
    assert len(functions) == 4
    assert all(function.version.isdecimal() for function in functions)


@pytest.mark.parametrize("model", MODELS)
def test_every_benchmark_runs(model):
    bench = steps.Steps()
    bench.setup(model, "har2", "cpu")
    for name in TIMED:
        getattr(bench, name)(model, "har2", "cpu")


def test_the_ratio_is_a_share_of_the_loop():
    ratio = steps.Ratio()
    ratio.setup("cornn", "har2", "cpu")
    assert 0.0 < ratio.track_share_of_the_loop("cornn", "har2", "cpu") < 2.0


@pytest.mark.slow
def test_asv_takes_them(tmp_path):
    """``asv check``, a quick run of one shape and the pages, in a home and folders of their own."""
    config = json.loads((ROOT / "asv.conf.json").read_text())
    config |= {
        "repo": str(ROOT), "benchmark_dir": str(ROOT / "benchmarks"),
        "results_dir": str(tmp_path / "results"), "html_dir": str(tmp_path / "html"), "env_dir": str(tmp_path / "env"),
    }  # fmt: skip
    path = tmp_path / "asv.conf.json"
    path.write_text(json.dumps(config))
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(Path.home() / ".cache")}

    def asv(command: str, *options: str) -> str:
        words = [sys.executable, "-m", "asv", command, "--config", str(path), *options]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    asv("machine", "--yes")
    asv("check", "-E", "existing:same")
    out = asv(
        "run", "--quick", "-E", "existing:same", "--set-commit-hash", head.stdout.strip(),
        "--bench", r"\('cornn', 'har2', 'cpu'\)", "--show-stderr",
    )  # fmt: skip
    assert "failed" not in out
    asv("publish")
    assert (tmp_path / "html" / "index.html").is_file()
