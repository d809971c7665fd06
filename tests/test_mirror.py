"""Mirrors: curves reach TensorBoard, a broken mirror stops nothing, a missing package is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from suite.errors import UsageError
from suite.plan import Request, expand
from suite.record import load
from suite.store import Store
from suite.work.driver import run_grid
from suite.work.executors.inline import InlineExecutor
from suite.work.job import Progress, Settings
from suite.work.mirror import TensorBoardMirror, Together, build

MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"


class Notes:
    """A mirror as a user would write it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.told = folder, []

    def begin(self, waiting, held):
        self.told.append(("begin", len(waiting), len(held)))

    def progress(self, event):
        self.told.append((event.kind, event.epoch))

    def record(self, record):
        self.told.append(("record", record["status"]))

    def end(self):
        self.told.append(("end",))


class Failing(Notes):
    def end(self):
        raise RuntimeError("mine")


def planned(**changes):
    request = {"models": (MODEL,), "tasks": (TASK,), "epochs": 3, "sets": ((None, "hidden_size", 4),), **changes}
    return expand(Request(**request))


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = accumulator.EventAccumulator(str(folder))
    reader.Reload()
    return {tag: {e.step: e.value for e in reader.Scalars(tag)} for tag in reader.Tags()["scalars"]}


def test_tensorboard_holds_what_the_record_holds(tmp_path):
    grid, notes = planned(seeds=(0, 1)), Notes(tmp_path)
    mirror = TensorBoardMirror(tmp_path / "tb")
    outcome = run_grid(grid, Store(tmp_path), Settings(), InlineExecutor(), Together([notes, mirror]))
    assert outcome.counts["done"] == 2
    for one, record in zip(grid, map(load, outcome.paths)):
        folder = next((tmp_path / "tb").glob(f"*/*/seed{one.run.seed}-{one.run.id}"))
        found = scalars(folder)
        for name in ("train_loss", "valid", "test", "lr"):
            assert found[name] == pytest.approx({row["epoch"]: row[name] for row in record["curve"]}, rel=1e-6)
        assert found["grad_norm/median"][3] == pytest.approx(record["curve"][2]["grad_norm"][2], rel=1e-6)
        assert found["result/test"] == pytest.approx({record["metrics"]["best_epoch"]: record["metrics"]["test"]})
    assert notes.told[0] == ("begin", 2, 0) and notes.told[-1] == ("end",)
    assert [kind for kind, *_ in notes.told if kind != "step"] == [
        "begin", *(["start", "epoch", "epoch", "epoch", "record"] * 2), "end",
    ]  # fmt: skip


def test_a_resumed_run_replaces_the_epochs_it_trains_again(tmp_path):
    (one,) = planned()
    row = {"train_loss": 1.0, "valid": 0.5, "valid_loss": 1.0, "test": None, "test_loss": None, "seconds": 1.0,
           "lr": 0.1, "diagnostics": {"eta": 0.25}, "grad_norm": []}  # fmt: skip
    for resumed, epochs, valid in ((0, (1, 2, 3), 0.1), (1, (2, 3), 0.9)):
        mirror = TensorBoardMirror(tmp_path)
        mirror.begin([one], [])
        mirror.progress(Progress(one.run.id, "start", resumed + 1, 3, resumed_from=resumed))
        for epoch in epochs:
            mirror.progress(Progress(one.run.id, "epoch", epoch, 3, row={**row, "epoch": epoch, "valid": valid}))
        mirror.end()
    found = scalars(next(tmp_path.glob(f"*/*/seed0-{one.run.id}")))
    assert found["valid"] == pytest.approx({1: 0.1, 2: 0.9, 3: 0.9})
    assert found["diagnostics/eta"][3] == 0.25 and "test" not in found


def test_a_folder_that_cannot_be_written_ends_the_mirror_alone(tmp_path, capsys):
    (tmp_path / "tb").write_text("a file stands where the folder should")
    outcome = run_grid(planned(), Store(tmp_path), Settings(), InlineExecutor(), TensorBoardMirror(tmp_path / "tb"))
    assert outcome.counts["done"] == 1 and outcome.exit_code == 0
    lines = capsys.readouterr().err.splitlines()
    assert sum("TensorBoard mirror" in line for line in lines) == 1


def test_end_reaches_every_watcher_and_the_first_error_comes_out():
    last = Notes(Path())
    with pytest.raises(RuntimeError, match="mine"):
        Together([Failing(Path()), last]).end()
    assert last.told == [("end",)]


def test_a_mirror_of_ones_own_is_called_with_its_folder(tmp_path):
    assert build("pathlib:PurePath", tmp_path) == tmp_path / "mirror"  # any callable of one folder


@pytest.mark.parametrize(
    ("name", "said"),
    [("wandb", "wanted tensorboard or my.pkg:MyMirror"), ("no.such:Mirror", "No module"), ("sys:nothing", "nothing")],
)
def test_an_unknown_mirror_is_one_line(tmp_path, name, said):
    with pytest.raises(UsageError, match=said):
        build(name, tmp_path)


def test_without_tensorboard_one_line_and_exit_code_2(tmp_path, project):
    code = f"""
import sys
sys.modules["tensorboard"] = None
from suite.run import main
sys.exit(main(["--models", "{MODEL}", "--tasks", "{TASK}", "--mirror", "tensorboard",
               "--results-dir", r"{tmp_path}", "--executor", "inline"]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project, check=False)
    assert out.returncode == 2, out.stderr
    assert "pip install 'rnnbench[tensorboard]'" in out.stderr and "Traceback" not in out.stderr
    assert len(out.stderr.strip().splitlines()) == 1
