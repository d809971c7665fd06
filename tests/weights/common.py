"""What the tests of kept weights share."""

from __future__ import annotations

import torch

from suite.plan import Request, expand
from suite.work.job import Finished, Job, Progress, Settings, Stopped
from suite.work.training.group import run_job
from suite.work.training.measure import evaluate, evaluation_batch
from suite.work.weights import load_trained

PARITY, WORDS = "tests.plugins.tiny:Parity", "tests.plugins.tiny:Words"
LEAKY = "tests.plugins.tiny:Leaky"
KEEP = Settings(keep_weights=True)
EPOCHS = 6


def planned(model=LEAKY, task=PARITY, seeds=(0,), **changes):
    sets = ((None, "hidden_size", 8), (None, "batch_size", 16), (None, "lr", 0.1))
    return expand(Request(models=(model,), tasks=(task,), seeds=seeds, epochs=EPOCHS, sets=sets, **changes))


def train(runs, folder, *, settings=KEEP, stop_after=None):
    """The ends of the runs; ``stop_after`` so many epochs of all of them together."""
    seen = []
    paths = tuple(str(folder / f"{one.run.seed}.pt") for one in runs)

    def stop():
        return stop_after is not None and sum(isinstance(e, Progress) and e.kind == "epoch" for e in seen) >= stop_after

    run_job(Job(tuple(one.run for one in runs), runs[0].sources, settings, paths), seen.append, stop)
    return [event for event in seen if isinstance(event, (Finished, Stopped))]


def anew(one, folder):
    """Forget the run's checkpoint."""
    (folder / f"{one.run.seed}.pt").unlink(missing_ok=True)


def score_of(trained):
    """The test metric of a model on its run's own task."""
    task = trained.task()
    batch = evaluation_batch(task, trained.run.recipe)
    return evaluate(trained.model, task, "test", batch_size=batch, device=torch.device("cpu"))[0]


def assert_of_the_record(event, run, folder):
    """The weights give the record's test score; the loaded model."""
    path = folder / f"{run.id}.pt"
    path.write_bytes(event.weights)
    trained = load_trained(path)
    assert not trained.model.training
    assert trained.run == run and trained.epoch == event.record["metrics"]["best_epoch"]
    assert score_of(trained) == event.record["metrics"]["test"]
    return trained.model
