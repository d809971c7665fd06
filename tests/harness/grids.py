"""A small grid, what it gives when nothing disturbs it, and the check that a disturbed one gave the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite.plan import Planned, Request, expand
from suite.record import load
from suite.store import Store
from suite.work.job import Finished, Job, Settings
from suite.work.training.group import run_job

TASK = "tests.plugins.tiny:Parity"
SLOW = "tests.plugins.faults:Slow"


class Silent:
    """A watcher that says nothing."""

    def begin(self, waiting: Any, held: Any) -> None: ...
    def progress(self, event: Any) -> None: ...
    def record(self, record: Any) -> None: ...
    def end(self) -> None: ...


def planned(
    model: str = SLOW, *, seeds: Sequence[int] = (0, 1), epochs: int = 4, task: str = TASK, **sets: Any
) -> list[Planned]:
    """Runs of the small grid; keyword arguments are recipe keys."""
    values = {"hidden_size": 4, "batch_size": 16, **sets}
    return expand(
        Request(models=(model,), tasks=(task,), seeds=tuple(seeds), epochs=epochs,
                sets=tuple((None, key, value) for key, value in values.items()))
    )  # fmt: skip


def argv(runs: Sequence[Planned], root: Path, *words: str, executor: str = "inline") -> list[str]:
    """The arguments of ``suite.run`` that plan these runs."""
    run = runs[0].run
    keys = [key for key, source in runs[0].sources.items() if source.startswith("set:") and key != "epochs"]
    sets = [word for key in keys for word in ("--set", f"{key}={run.recipe[key]}")]
    return ["--models", run.model, "--tasks", run.task, "--seeds", ",".join(str(one.run.seed) for one in runs),
            "--epochs", str(run.budget.epochs), *sets, "--results-dir", str(root), "--executor", executor,
            "--threads", "1", "--checkpoint-seconds", "0.05", *words]  # fmt: skip


def without_times(curve: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in curve]


def undisturbed(runs: Sequence[Planned], folder: Path) -> dict[str, dict[str, Any]]:
    """Each run's record, by id, trained here and now."""
    found: dict[str, dict[str, Any]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for one in runs:
        events: list[Any] = []
        run_job(Job((one.run,), one.sources, Settings(), (str(folder / "none.pt"),)), events.append)
        found |= {event.record["id"]: event.record for event in events if isinstance(event, Finished)}
    assert len(found) == len(runs)
    return found


def assert_same_results(record: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert without_times(record["curve"]) == without_times(wanted["curve"])
    assert record["metrics"] == wanted["metrics"]
    assert record["profiles"] == wanted["profiles"]


def assert_complete(root: Path, runs: Sequence[Planned], wanted: dict[str, dict[str, Any]]) -> None:
    """Every run has one sound record with the undisturbed curve, and nothing else is left."""
    store = Store(root)
    assert {path.name for path in store.paths()} == {store.path(one.run).name for one in runs}
    for one in runs:
        assert_same_results(load(store.path(one.run)), wanted[one.run.id])
    assert_tidy(root)
    assert not list(store.failure_paths()) and not list(store.conflict_paths())


def assert_tidy(root: Path) -> None:
    """No checkpoint, claim or temporary file is left."""
    store = Store(root)
    store.sweep(grace=0.0)
    kinds = ("records", "failures", "conflicts", "checkpoints", "claims")
    left = [path for kind in kinds for path in (root / kind).rglob("*") if path.is_file() and path.suffix != ".json"]
    assert not left, left
