"""``suite.run --replay RECORD``: do again what a record says was done, and compare the curves."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from suite.errors import DONE, SOME_FAILED, UsageError
from suite.names import resolve
from suite.plan import Planned
from suite.record import RecordError, finite, load
from suite.runs import Run
from suite.store import Store
from suite.work import checks, launch
from suite.work.building import trainer_recipe
from suite.work.driver import run_grid
from suite.work.executors.inline import InlineExecutor
from suite.work.failures import changed
from suite.work.job import Settings
from suite.work.telling import tell
from suite.work.terminal import Terminal

SURROUNDINGS = ("cpu", "capability", "features", "gpu", "driver", "cuda", "threads", "engine", "deterministic",
                "libraries", "commit", "data")  # fmt: skip


@dataclass
class Comparison:
    """How a replayed curve stands to the recorded one.

    Attributes:
        epochs: epochs that both have.
        departs: the first figure that differs: ``epoch``, ``field``, ``was``, ``is``; None where all agree.
        largest: largest relative difference of a figure, with its epoch and field; infinite where one is missing.
        surroundings: what differs between there and here: name -> (was, is).
    """

    epochs: int = 0
    departs: dict[str, Any] | None = None
    largest: dict[str, Any] | None = None
    surroundings: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def _figures(record: Mapping[str, Any]) -> Iterator[tuple[int, str, Any]]:
    """Every figure of curve and profiles that does not measure time: epoch, field, value."""
    rows = {row["epoch"]: dict(row) for row in record["curve"]}
    for profile in record["profiles"]:
        rows.setdefault(profile["epoch"], {"epoch": profile["epoch"]})["profile"] = profile["norms"]
    for epoch in sorted(rows):
        for name, value in _flat(rows[epoch]):
            if name not in ("epoch", "seconds"):
                yield epoch, name, value


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for k, item in enumerate(value):
            yield from _flat(item, f"{name}[{k}]")
    else:
        yield name, value


def _difference(was: Any, now: Any) -> float:
    """Relative difference of two figures; infinite where one of them is no number."""
    if was == now:
        return 0.0
    if not isinstance(was, (int, float)) or not isinstance(now, (int, float)):
        return math.inf
    return abs(was - now) / max(abs(was), abs(now))


def compare(there: Mapping[str, Any], here: Mapping[str, Any], *, epochs: int) -> Comparison:
    """Compare the curve and profiles of two records of one run.

    Args:
        there: the record.
        here: the replay.
        epochs: the last epoch that is compared.
    """
    found = Comparison(epochs=min(epochs, len(here["curve"])))
    mine = {(epoch, name): value for epoch, name, value in _figures(here)}
    worst = -1.0
    for epoch, name, was in _figures(there):
        if epoch > epochs or (was is None and name in ("test", "test_loss")):
            continue  # a run that was cut by its time is not tested where its replay ends
        now = mine.get((epoch, name))
        difference = _difference(was, now)
        if difference and found.departs is None:
            found.departs = {"epoch": epoch, "field": name, "was": was, "is": now}
        if difference > max(worst, 0.0):
            worst = difference
            found.largest = {"difference": difference, "epoch": epoch, "field": name}
    found.surroundings = {
        name: (there["where"].get(name), here["where"].get(name))
        for name in SURROUNDINGS
        if there["where"].get(name) != here["where"].get(name)
    }
    return found


def _run_of(record: Mapping[str, Any]) -> Run:
    """The run to do: bounded by epochs, since time would cut it elsewhere.

    Raises:
        UsageError: a failure, a run without a whole epoch, another version of the model or task.
    """
    run = Run.from_identity(record["run"])
    epochs = len(record["curve"])
    if record["stop_reason"] == "max_seconds":
        epochs -= 1  # its last epoch was cut
    if record["status"] == "failed" or epochs < 1:
        raise UsageError(f"--replay: wanted a record of a whole epoch, got one {record['status']} with {epochs}")
    for kind, name, version in (("model", run.model, run.model_version), ("task", run.task, run.task_version)):
        now = resolve(kind, name).version  # type: ignore[arg-type]
        if now != version:
            raise UsageError(f"--replay: the record is of version {version} of {kind} {name}, here is version {now}")
    if record["stop_reason"] != "max_seconds":
        epochs = min(run.budget.epochs, epochs) if record["status"] == "done" else run.budget.epochs
    elif trainer_recipe(run)["lr_decay"] != "none" and epochs < run.budget.epochs:
        raise UsageError("--replay: wanted a run that used its epochs, got one that time cut short while its rate fell")
    return replace(run, budget=replace(run.budget, epochs=epochs, max_seconds=None))


def _settings(record: Mapping[str, Any], args: argparse.Namespace) -> Settings:
    """Engine, threads and determinism of the record, where the command line says nothing else."""
    where = record["where"]
    device = launch.devices(record["run"]["device_kind"] if args.device == "auto" else args.device)[0]
    return Settings(
        engine=where["engine"] if args.engine == "auto" else args.engine,
        device=device,
        threads=args.threads or where["threads"],
        data_dir=None if args.data_dir is None else str(args.data_dir.absolute()),
        checkpoint_seconds=args.checkpoint_seconds,
        deterministic=args.deterministic or where.get("deterministic", False),
        preset=where["preset"],
    )


def replay(args: argparse.Namespace) -> int:
    """Repeat ``args.replay`` and say whether the curve agrees; nothing is written into the results folder.

    Returns:
        0 where every figure agrees, 1 where one departs or the run fails, 130 or 143 where it was stopped.

    Raises:
        UsageError: no record, or one that cannot be repeated here.
    """
    try:
        record = load(args.replay)
    except RecordError as error:
        raise UsageError(f"--replay: {error}") from error
    run, settings = _run_of(record), _settings(record, args)
    for name in sorted(changed(run, record)):
        tell(f"the code of {name} has changed since the record was made")
    planned = [Planned(run, record["sources"], settings.preset)]
    checks.check(planned, argparse.Namespace(**{**vars(args), "engine": settings.engine}))
    with tempfile.TemporaryDirectory(prefix="rnnbench-replay-") as folder:
        outcome = run_grid(planned, Store(Path(folder)), settings, InlineExecutor(), Terminal())
        if not outcome.paths:
            for failure in outcome.failures:
                tell(f"the replay failed: {failure['error']['message'].splitlines()[0]}")
            return outcome.exit_code
        found = compare(record, load(outcome.paths[0]), epochs=run.budget.epochs)
    _say(record, found, as_json=args.json)
    return DONE if found.departs is None else SOME_FAILED


def _say(record: Mapping[str, Any], found: Comparison, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(finite({"id": record["id"], "agrees": found.departs is None, **asdict(found)})))
        return
    run = record["run"]
    print(f"{run['model']} {run['task']} seed {run['seed']}, record {record['id']}, {found.epochs} epochs compared")
    for name, (was, now) in found.surroundings.items():
        print(f"  {name}: was {was}, is {now}")
    together = record["where"].get("seeds_together", 1)
    if together > 1:
        print(f"  it was trained side by side with {together - 1} other seeds: equal up to rounding alone")
    if found.departs is None:
        print("agrees: every figure of the curve and of the profiles")
        return
    first, largest = found.departs, found.largest or {}
    print(f"departs at epoch {first['epoch']}: {first['field']} was {first['was']}, is {first['is']}")
    print(
        f"largest relative difference {largest['difference']:.2g}: {largest['field']} at epoch {largest['epoch']}"
    )  # fmt: skip
