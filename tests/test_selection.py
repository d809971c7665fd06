"""What a record's headline is: the test score at the best validation score, whatever else would look better."""

from __future__ import annotations

import pytest

from suite.plan import Request, expand
from suite.work.building import build_task
from suite.work.job import Finished, Job, Settings
from suite.work.training import train
from suite.work.training.group import run_job
from tests.plugins.tiny import Parity

MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"
VALID, TEST = (0.5, 0.9, 0.6, 0.7), (0.4, 0.55, 0.95, 0.65)


@pytest.mark.parametrize("higher", [True, False])
def test_the_headline_is_the_test_score_of_the_best_validation_epoch(higher, tmp_path, monkeypatch):
    """Neither the best test score, nor the last, nor the best of the wrong direction."""
    calls = {"valid": 0, "test": 0}

    def scripted(model, task, split, **options):
        scores = (VALID if split == "valid" else TEST)[calls[split]]
        calls[split] += 1
        return (scores if higher else 1 - scores), 0.1 * calls[split]

    monkeypatch.setattr(train, "evaluate", scripted)
    init = Parity.__init__

    def turned(self, **options):
        init(self, **options)
        object.__setattr__(self.spec, "higher_is_better", higher)

    monkeypatch.setattr(Parity, "__init__", turned)
    (one,) = expand(Request(models=(MODEL,), tasks=(TASK,), epochs=4, sets=((None, "hidden_size", 4),)))
    seen: list = []
    run_job(Job((one.run,), one.sources, Settings(), (str(tmp_path / "c.pt"),)), seen.append)
    metrics = next(event for event in seen if isinstance(event, Finished)).record["metrics"]
    assert metrics["best_epoch"] == 2
    shown = [score if higher else 1 - score for score in (0.9, 0.55, 0.65)]
    assert [metrics[key] for key in ("valid", "test", "test_last")] == pytest.approx(shown)
    assert metrics["test_loss"] == pytest.approx(0.2)


def test_models_of_one_task_and_seed_share_their_data():
    runs = expand(Request(models=("cornn", "lstm"), tasks=(TASK,), seeds=(3,)))
    first, second = (build_task(one.run, None) for one in runs)
    for split in ("train", "valid", "test"):
        assert all(
            a.x.equal(b.x) for a, b in zip(first.batches(split, 50, 1), second.batches(split, 50, 1), strict=True)
        )
