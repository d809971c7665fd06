"""docs/new-task.md: its example keeps the contract, and a grid trains on it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch

from suite.run import main
from tasks.contract import SPLITS, Task
from tests.test_new_architecture import DOCS

NAME = "docs.examples.recall:Recall"


def recall(**options):
    from docs.examples.recall import Recall

    return Recall(seed=options.pop("seed", 3), **options)


def everything(task, split, epoch=1, size=64):
    parts = list(task.batches(split, size, epoch))
    return torch.cat([b.x for b in parts]), torch.cat([b.y for b in parts])


def test_the_page_names_all_that_the_contract_has():
    page = (DOCS / "new-task.md").read_text()
    own = {name for name in vars(Task) if not name.startswith("_")} | set(Task.__annotations__)
    assert own <= set(re.findall(r"`(\w+)", page)), own - set(re.findall(r"`(\w+)", page))


def test_batches_keep_the_promises():
    task = recall(length=7, symbols=3)
    for split in SPLITS:
        x, y = everything(task, split)
        assert x.shape == (task.sizes[split], 7, 3) and x.dtype == torch.float32
        assert torch.equal(x.argmax(-1)[:, 0], y)
        again, _ = everything(recall(length=7, symbols=3), split)
        other, _ = everything(recall(length=7, symbols=3, seed=4), split)
        later, _ = everything(task, split, epoch=2)
        assert torch.equal(x, again) and not torch.equal(x, other)
        assert torch.equal(x, later) is (split != "train")


def test_a_grid_trains_on_it(tmp_path):
    words = ["--models", "lstm", "--tasks", NAME, "--epochs", "3", "--executor", "inline", "--threads", "1"]
    sets = ["--set", f"{NAME}.length=5", "--set", "hidden_size=16", "--set", "lr=0.01"]
    assert main([*words, *sets, "--results-dir", str(tmp_path)]) == 0
    (path,) = Path(tmp_path / "records").rglob("*.json")
    record = json.loads(path.read_text())
    assert record["run"]["task"] == NAME and record["run"]["task_options"] == {"length": 5, "symbols": 4}
    assert record["metrics"]["chance"] == 0.25 and record["metrics"]["test"] > 0.9
