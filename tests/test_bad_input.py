"""Bad input to ``suite.run``: one line with what was wanted and what came, the documented exit code, no traceback."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from suite.run import main
from suite.store import Store
from tests.harness.grids import argv, planned

ROOT = Path(__file__).resolve().parent.parent
MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"
FAULT = "tests.plugins.faults"
TINY = ("--models", MODEL, "--tasks", TASK, "--epochs", "1")
ADDING = ("--models", "cornn", "--tasks", "adding", "--epochs", "1", "--set", "adding.length=8")

USAGE = [
    # names
    (("--models", "cornnn", "--tasks", "adding"), "unknown model 'cornnn': did you mean cornn"),
    (("--models", "cornn", "--tasks", "psmist"), "unknown task 'psmist': did you mean psmnist"),
    (("--models", "", "--tasks", "adding"), "--models: wanted at least one name, got ''"),
    (("--models", "no.such:Thing", "--tasks", TASK), "cannot be imported: ModuleNotFoundError"),
    (("--models", "tests.plugins.tiny:Nothing", "--tasks", TASK), "has no attribute 'Nothing'"),
    (("--models", TASK, "--tasks", TASK), "wanted a subclass of models.contract.Recurrence"),
    (("--models", ":", "--tasks", TASK), "model ':' cannot be imported"),
    (("--models", MODEL, "--tasks", f"{FAULT}:Unbuildable"), "cannot be built: ZeroDivisionError: no task today"),
    ((*TINY, "--engine", "fast"), "unknown engine 'fast'"),
    ((*ADDING, "--engine", "torch"), "engine torch: torch has no CoRNN"),
    ((*TINY, "--engine", "native"), "Leaky defines no cell"),
    ((*TINY, "--device", "tpu"), "--device: wanted auto, cpu, cuda or cuda:N, got 'tpu'"),
    ((*TINY, "--preset", "fast"), "invalid choice: 'fast'"),
    ((*TINY, "--track", "best"), "--track: wanted one of paper, matched-params"),
    ((*TINY, "--track", "tuned"), f"no [tuned.{MODEL}] in the recipe"),
    ((*TINY, "--precision", "float8"), "--precision: wanted one of float32"),
    ((*TINY, "--precision", "bf16"), "precision bf16: it is for the triton engine"),
    ((*TINY, "--rerun", "all"), "invalid choice: 'all'"),
    ((*TINY, "--mirror", "x"), "--mirror: wanted tensorboard or my.pkg:MyMirror"),
    ((*TINY, "--recipes", "no/such/folder"), "--recipes: wanted a folder of recipe files"),
    ((*ADDING, "--recipes", "docs"), "--recipes: wanted adding.toml in docs, got none of them"),
    (("--models", "coRNN", "--tasks", "adding"), "unknown model 'coRNN': did you mean cornn"),
    (("--models", "docs.examples.gru.GRU", "--tasks", "adding"), "wanted a name or my.pkg:MyClass, got no colon"),
    ((*ADDING, "--set", "epoch_steps=3"), "epoch_steps: it is of adding alone: wanted --set adding.epoch_steps=3"),
    (("--models", "cornn,lstm", "--tasks", "adding", "--set", "dt=0.5"), "of cornn alone: wanted --set cornn.dt=0.5"),
    ((*TINY, "--bogus"), "unrecognized arguments: --bogus"),
    (("--tasks", TASK), "--models: wanted at least one name, got ''"),
    (("--models", MODEL), "--tasks: wanted at least one name, got ''"),
    # keys and values
    ((*TINY, "--set", "rat=1"), "unknown key of tests.plugins.tiny:Leaky's recipe 'rat': did you mean rate"),
    ((*TINY, "--set", "rate"), "--set: wanted [NAME.]KEY=VALUE, got 'rate'"),
    ((*TINY, "--set", "rate=fast"), "rate: wanted float, got 'fast'"),
    ((*TINY, "--set", "rate=[1, 2]"), "rate: wanted float, got [1, 2]"),
    ((*TINY, "--set", "rate=1\nlr = 2"), "rate: wanted float, got '1"),
    *(((*TINY, "--set", f"rate={value}"), "rate: wanted a finite number, got") for value in ("nan", "inf", "-1e400")),
    ((*TINY, "--set", f"hidden_size=1{400 * '0'}"), "hidden_size: wanted a number that 64 bits hold"),
    ((*TINY, "--set", f"rate=1{5000 * '0'}"), "rate: wanted float, got '1000"),
    ((*TINY, "--set", "hidden_size=0"), "hidden_size: wanted >= 1, got 0"),
    ((*TINY, "--set", "hidden_size=2.5"), "hidden_size: wanted int, got 2.5"),
    ((*TINY, "--set", "batch_size=121"), "wanted batch_size <= 120 (training examples), got 121"),
    ((*TINY, "--set", "lr=0"), "lr: wanted > 0, got 0"),
    ((*TINY, "--set", "optimizer=lion"), "unknown optimizer 'lion'"),
    ((*TINY, "--set", "clip_norm=-1"), "clip_norm: wanted >= 0, got -1"),
    ((*TINY, "--set", "other.lr=1"), "wanted a model or task of this call"),
    ((*ADDING, "--set", "cornn.dt=0"), "dt: wanted > 0, got 0.0"),
    ((*ADDING, "--set", "cornn.dt=-0.1"), "dt: wanted > 0, got -0.1"),
    ((*ADDING, "--set", "adding.length=1"), "length: wanted an integer at least 2, got 1"),
    ((*ADDING, "--set", "batch_size=5001"), "wanted batch_size <= 5000 (training examples), got 5001"),
    (("--models", MODEL, "--tasks", TASK, "--epochs", "0"), "--epochs: wanted a whole number >= 1, got '0'"),
    *(((*TINY, "--seeds", seeds), "--seeds: wanted") for seeds in ("4-0", "", "x", "-1", "0-100000", 5000 * "9")),
    *(((*TINY, "--max-seconds", s), "--max-seconds: wanted > 0") for s in ("0", "nan", "-3")),
    ((*TINY, "--checkpoint-seconds", "nan"), "--checkpoint-seconds: wanted seconds >= 0, got 'nan'"),
    ((*TINY, "--executor", "processes", "--stall-seconds", "0"), "--stall-seconds: wanted > 0, got 0"),
    ((*TINY, "--executor", "inline", "--stall-seconds", "3"), "--stall-seconds: wanted --executor processes"),
    ((*TINY, "--executor", "inline", "--jobs", "2"), "--jobs: wanted 1 with --executor inline, got 2"),
    ((*TINY, "--jobs", "0"), "--jobs: wanted a whole number >= 1, got '0'"),
    ((*TINY, "--threads", "many"), "--threads: wanted a whole number >= 1, got 'many'"),
    ((*TINY, "--address", "x"), "--address: wanted --executor ray"),
    ((*TINY, "--threads", "3000000000"), "--threads: wanted at most 4096 threads"),
    ((*TINY, "--replay", "r.json"), "--replay: "),
    (("--replay", "r.json", "--dry-run", "--set", "lr=9"), "wanted nothing else, got --set, --dry-run"),
    (("--replay", "r.json", "--seeds", "3"), "wanted nothing else, got --seeds"),
    (("--replay", "no/such/record.json"), "no/such/record.json"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), USAGE, ids=[f"{k}-{s[:40]}" for k, (_, s) in enumerate(USAGE)])
def test_usage_errors_are_one_line_and_exit_code_2(words, said, tmp_path, capsys):
    executor = () if "--executor" in words or "--address" in words else ("--executor", "inline")
    assert main([*words, *executor, "--results-dir", str(tmp_path)]) == 2
    out = capsys.readouterr()
    assert said in out.err and len(out.err.strip().splitlines()) == 1, out.err
    assert not out.out and not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_without_a_gpu_cuda_is_refused(tmp_path, capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([*TINY, "--device", "cuda", "--executor", "inline", "--results-dir", str(tmp_path)]) == 2
    assert "--device cuda: wanted a GPU, got none" in capsys.readouterr().err


# ---- recipes and plug-ins --------------------------------------------------------------------------------------------

RECIPE = '[default]\nsource = "default: x"\nhidden_size = 4\nbatch_size = 10\nepochs = 1\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\nlr = = 3\n", "line 2"),
        ("[default\n", "line 1"),
        ("", "recipe"),
        ("default = 3\n", "wanted a table, got 3"),
        *((f"{key} = 3\n", f"[{key}]: wanted a table, got 3") for key in ("quick", "tuned", "search")),
        ("[default]\nlr = 3e-3\n", "wanted a source that starts with"),
        ('[default]\nsource = "guessed: x"\nlr = 3e-3\n', "wanted a source that starts with"),
        ('[default]\nsource = "default: x"\nlearning_rate = 3e-3\n', "unknown key 'learning_rate'"),
        (f'{RECIPE}lr = "fast"\n', "lr: wanted float, got 'fast'"),
        (f"{RECIPE}lr = nan\n", "lr: wanted a finite number, got nan"),
        (f'{RECIPE}lr = 1e-3\noptimizer = "x"\n', "unknown optimizer 'x'"),
        (f'{RECIPE}lr = 1e-3\nrate = "x"\n', "rate: wanted float, got 'x'"),
        ('[default]\nsource = "default: x"\nlr = 1e-3\n', "the recipe has no"),
        ("\x00\x01", "recipe"),
    ],
)
def test_a_bad_recipe_is_one_line_that_names_the_file(text, said, tmp_path, capsys):
    path = tmp_path / "adding.toml"
    path.write_text(text)
    words = ["--models", MODEL, "--tasks", "adding", "--executor", "inline", "--recipes", str(tmp_path)]
    code = main([*words, "--results-dir", str(tmp_path / "r"), "--dry-run"])
    said_ = capsys.readouterr().err
    if text == "":  # an empty file is laid over the packaged one: nothing is bad
        assert code == 0
        return
    assert code == 2 and said in said_ and len(said_.strip().splitlines()) == 1, said_
    assert str(path) in said_


@pytest.mark.parametrize(
    ("text", "words"), [("[quick]\ntask = 3\n", ["--preset", "quick"]), ("tuned = 3\n", ["--track", "tuned"])]
)
def test_a_recipe_without_its_tables_is_one_line(text, words, tmp_path, capsys):
    (tmp_path / "adding.toml").write_text(text)
    words = ["--models", "cornn", "--tasks", "adding", "--recipes", str(tmp_path), "--dry-run", *words]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "wanted a table, got 3" in said and len(said.splitlines()) == 1


def test_a_terminal_without_the_signs_gets_a_table_all_the_same(tmp_path, project):
    words = [*TINY, "--seeds", "0-1", "--executor", "inline", "--results-dir", str(tmp_path)]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "suite.run", *words], cwd=project, env=env, capture_output=True, text=True
    )
    assert (
        done.returncode == 0 and " ?" in done.stdout and ":Leaky " in done.stdout and "Traceback" not in done.stderr
    ), done.stderr


def test_a_recipe_in_a_wrong_encoding_is_one_line(tmp_path, capsys):
    (tmp_path / "adding.toml").write_bytes("[default]\n# Größe\n".encode("latin-1"))
    words = ["--models", MODEL, "--tasks", "adding", "--recipes", str(tmp_path), "--dry-run"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "adding.toml" in said and "utf-8" in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise OSError('no disk')", "OSError: no disk"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("x = (", "SyntaxError"),
        ("class MyRNN: pass", "wanted a subclass"),
        ("MyRNN = 3", "wanted a subclass"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_one_line(body, said, tmp_path, capsys, monkeypatch):
    (tmp_path / "bad_plugin.py").write_text(body + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("bad_plugin", None)
    words = ["--models", "bad_plugin:MyRNN", "--tasks", TASK, "--executor", "inline"]
    assert main([*words, "--results-dir", str(tmp_path / "r")]) == 2
    out = capsys.readouterr().err
    assert said in out and len(out.strip().splitlines()) == 1
    sys.modules.pop("bad_plugin", None)


def test_a_plugin_that_raises_fails_alone_and_the_rest_is_recorded(tmp_path, capsys):
    words = ["--models", f"tests.plugins.broken:Raises,{MODEL}", "--tasks", f"{TASK},{FAULT}:BadFacts", "--epochs", "1"]
    assert main([*words, "--executor", "inline", "--results-dir", str(tmp_path)]) == 1
    out = capsys.readouterr()
    assert "FAILED: RuntimeError: no luck (broken.py:" in out.err and "Traceback" not in out.err
    store = Store(tmp_path)
    assert len(list(store.paths())) == 1 and len(list(store.failure_paths())) == 3
    assert all(f"failed: {path}" in out.err for path in store.failure_paths())


# ---- data ------------------------------------------------------------------------------------------------------------


def data_error(words, tmp_path, capsys, *, code=4):
    assert main([*words, "--executor", "inline", "--results-dir", str(tmp_path / "r")]) == code
    out = capsys.readouterr().err
    assert "Traceback" not in out
    assert not [path for path in (tmp_path / "r").rglob("*") if path.is_file()]
    return out


def test_missing_data_without_network_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RNNBENCH_OFFLINE", "1")
    words = ("--models", "cornn", "--tasks", "psmnist,har2", "--data-dir", str(tmp_path / "d"))
    out = data_error(words, tmp_path, capsys)
    assert "rnnbench data fetch" in out and "RNNBENCH_OFFLINE is set" in out and len(out.strip().splitlines()) == 1


def test_missing_data_where_no_host_answers_names_each_mirror(tmp_path, capsys, monkeypatch):
    def nowhere(*args, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.delenv("RNNBENCH_OFFLINE", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    out = data_error(("--models", "cornn", "--tasks", "psmnist", "--data-dir", str(tmp_path / "d")), tmp_path, capsys)
    assert "no mirror delivered it" in out.splitlines()[-1] and "Name or service not known" in out


@pytest.fixture
def mnist(tmp_path):
    """A data root whose MNIST has the right names and wrong contents."""
    raw = tmp_path / "d" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, size in (("train-images-idx3-ubyte", 47_040_016), ("train-labels-idx1-ubyte", 60_008),
                       ("t10k-images-idx3-ubyte", 7_840_016), ("t10k-labels-idx1-ubyte", 10_008)):  # fmt: skip
        with (raw / name).open("wb") as file:
            file.truncate(size)
    return raw


@pytest.mark.parametrize("size", [0, 5, 60_007, 60_009])
def test_a_truncated_data_file_is_named(mnist, size, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RNNBENCH_OFFLINE", "1")
    with (mnist / "train-labels-idx1-ubyte").open("wb") as file:
        file.truncate(size)
    out = data_error(("--models", "cornn", "--tasks", "psmnist", "--data-dir", str(tmp_path / "d")), tmp_path, capsys)
    assert "mnist" in out and len(out.strip().splitlines()) == 1


def test_an_altered_data_file_is_named(mnist, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RNNBENCH_OFFLINE", "1")
    out = data_error(("--models", "cornn", "--tasks", "smnist", "--data-dir", str(tmp_path / "d")), tmp_path, capsys)
    assert "idx" in out and len(out.strip().splitlines()) == 1


def test_an_archive_in_place_of_the_data_root(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RNNBENCH_OFFLINE", "1")
    with gzip.open(tmp_path / "d", "wb") as file:
        file.write(b"data")
    out = data_error(("--models", "cornn", "--tasks", "smnist", "--data-dir", str(tmp_path / "d")), tmp_path, capsys)
    assert len(out.strip().splitlines()) == 1


# ---- the whole command -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--models", "cornnn", "--tasks", "adding"), 2, "did you mean cornn"),
        (("--models", "cornn", "--tasks", "psmnist", "--data-dir", "/dev/null/x"), 4, "mnist"),
    ],
)
def test_the_same_through_real_processes(words, code, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "suite.run", *words, "--results-dir", str(tmp_path)],
        cwd=ROOT, env=os.environ | {"RNNBENCH_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1 and not done.stdout


def test_nothing_recorded_is_lost_by_bad_input(tmp_path, capsys):
    runs = planned(MODEL, seeds=(0,))
    assert main(argv(runs, tmp_path)) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert main([*argv(runs, tmp_path), "--set", "rate=nan"]) == 2
    assert main([*argv(runs, tmp_path), "--set", "batch_size=1000"]) == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before
    capsys.readouterr()
    shutil.rmtree(tmp_path / "claims")
    assert main(argv(runs, tmp_path)) == 0 and "1 skipped" in capsys.readouterr().err
