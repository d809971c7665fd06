"""Records in memory: the small fields as they are, curves and profiles as arrays.

Ten thousand records of two hundred numbers an epoch would take gigabytes as Python lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.record import PERFECT, RecordError, load, share
from suite.runs import Run
from suite.store import Store

Array = NDArray[np.float64]
_CURVE_NUMBERS = (
    "epoch",
    "steps",
    "train_loss",
    "valid",
    "valid_loss",
    "test",
    "test_loss",
    "seconds",
    "lr",
)
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)  # of the gradient norm, in the order of curve[].grad_norm


@dataclass(frozen=True)
class Profile:
    """Norms of dL/d(state_t) after an epoch.

    Attributes:
        epoch: 0 is the untrained model.
        t: (n,) time steps.
        norms: (N, n), a row a state block; row 0 is h.
    """

    epoch: int
    t: Array
    norms: Array


@dataclass(frozen=True)
class Entry:
    """One record.

    Attributes:
        record: the record without ``curve`` and ``profiles``.
        run: its run.
        curve: a column a number of the curve, each (E,); NaN where the record says null.
        grad_norm: (E, 5) quantiles of the total gradient norm.
        diagnostics: a column a diagnostic, each (E,); NaN where an epoch lacks it.
        profiles: in order of epoch.
        overlapped: whether another record's run was under way on the same host's CPU at some time of this one.
    """

    record: dict[str, Any]
    run: Run
    curve: dict[str, Array]
    grad_norm: Array
    diagnostics: dict[str, Array]
    profiles: tuple[Profile, ...]
    overlapped: bool = False

    @property
    def status(self) -> str:
        """done, diverged or failed."""
        return str(self.record["status"])

    @property
    def score(self) -> float | None:
        """The headline: the test metric at the best validation epoch; None unless the run finished."""
        value = self.record["metrics"]["test"]
        return float(value) if self.status == "done" and value is not None else None

    @property
    def fell(self) -> bool:
        """Whether it finished and lost, by its last epoch, over half of what its best one was better than chance.

        On validation data, where the best possible is an accuracy of 1 or an error of 0 (of other metrics it is not
        known). A best epoch that went less than a fifth of the way from chance to there had nothing to lose.
        """
        metrics, valid = self.record["metrics"], self.curve["valid"]
        if self.score is None or metrics["chance"] is None or metrics["valid"] is None or not valid.size:
            return False
        way = PERFECT.get(metrics["name"], metrics["chance"]) - metrics["chance"]
        if way == 0 or np.isnan(valid[-1]):
            return False
        best, last = ((value - metrics["chance"]) / way for value in (metrics["valid"], valid[-1]))
        return bool(best > 0.2 and last < best / 2)

    @property
    def shared(self) -> bool:
        """Whether its times are upper bounds: other runs or work had a part of the machine, or nobody can say."""
        return bool(self.record["where"]["shared_device"]) or self.overlapped or self._starved

    @property
    def together(self) -> int:
        """Seeds that were trained side by side with it, itself counted."""
        return int(self.record["where"].get("seeds_together", 1))

    @property
    def engine(self) -> str:
        """The engine; of seeds side by side with their number, as ``suite.speed`` names it: ``native-x8``."""
        name = str(self.record["where"]["engine"])
        return name if self.together == 1 else f"{name}-x{self.together}"

    def seconds(self, name: str) -> float | None:
        """One of the record's training times, its share of it (``suite.record.share``)."""
        return share(self.record, name)

    @property
    def clock(self) -> Array:
        """Training seconds at the end of each epoch (E,), its share of them."""
        return self.curve["seconds"] / self.together

    @property
    def mixed(self) -> bool:
        """Whether parts of it were trained on another machine, engine or number of threads, or beside other seeds."""
        return bool(self.record["where"].get("legs"))

    @property
    def _starved(self) -> bool:
        """Whether other work had its cores for more than 5 % of the time, or the times that would tell are missing.

        A thread that stood ready says so; of one thread its processor time, which knows of a virtual host too.
        """
        seconds, where = self.record["seconds"], self.record["where"]
        if where["gpu"]:
            return False
        waited = seconds.get("train_waited")
        processor = seconds.get("train_processor") if where["threads"] == 1 else None
        if waited is None and processor is None:
            return True
        slow = processor is not None and processor < 0.95 * seconds["train"]
        return bool(slow or (waited is not None and waited > 0.05 * seconds["train"]))

    @cached_property
    def machine(self) -> str:
        """What computed the run, in words."""
        where = self.record["where"]
        legs = [where, *where.get("legs", [])]
        if len({(leg["cpu"], leg["gpu"]) for leg in legs}) > 1:
            return "several machines"
        if where["gpu"] and self.run.device_kind != "cpu":
            return str(where["gpu"])
        threads = sorted({int(leg["threads"]) for leg in legs})
        return f"{where['cpu']}, {' and '.join(map(str, threads))} {'thread' if threads == [1] else 'threads'}"


def _array(values: Iterable[Any]) -> Array:
    return np.array(list(values), dtype=np.float64)  # numpy reads None as NaN


def _grad_norms(curve: list[dict[str, Any]]) -> Array:
    rows = [row["grad_norm"] if len(row["grad_norm"]) == 5 else [None] * 5 for row in curve]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 5)


def _profile(values: dict[str, Any]) -> Profile:
    t = _array(values["t"])
    rows = [_array(row) for row in values["norms"]]
    if not rows or any(row.shape != t.shape for row in rows):
        raise RecordError(f"field profiles: wanted {t.size} norms a block, got {[row.size for row in rows]}")
    return Profile(int(values["epoch"]), t, np.array(rows))


def entry(record: dict[str, Any]) -> Entry:
    """A valid record as an ``Entry``.

    Raises:
        RecordError: where lists inside the curve or the profiles do not fit together.
    """
    curve = record["curve"]
    names = sorted({name for row in curve for name in row["diagnostics"]})
    try:
        return Entry(
            record={key: value for key, value in record.items() if key not in ("curve", "profiles")},
            run=Run.from_identity(record["run"]),
            curve={name: _array(row[name] for row in curve) for name in _CURVE_NUMBERS},
            grad_norm=_grad_norms(curve),
            diagnostics={name: _array(row["diagnostics"].get(name) for row in curve) for name in names},
            profiles=tuple(sorted(map(_profile, record["profiles"]), key=lambda profile: profile.epoch)),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise RecordError(str(error)) from error


def read(results_dir: Path | str = "results", *, warn: Callable[[str], object] | None = None) -> list[Entry]:
    """Every valid record under ``results_dir/records``, in order of path.

    Args:
        results_dir: the results folder.
        warn: called with one line for each record that cannot be used, which is left out. Without it the first
            such record raises.

    Raises:
        RecordError: see ``warn``.
    """
    return _read(Store(Path(results_dir)).paths(), warn, once=True)


def read_failures(results_dir: Path | str = "results", *, warn: Callable[[str], object] | None = None) -> list[Entry]:
    """Every valid record of a failed run under ``results_dir/failures``, in order of path; see ``read``."""
    return _read(Store(Path(results_dir)).failure_paths(), warn, once=False)  # a run may fail more than once


def _read(paths: Iterable[Path], warn: Callable[[str], object] | None, *, once: bool) -> list[Entry]:
    found: list[Entry] = []
    known: dict[str, Path] = {}
    for path in paths:
        try:
            record = load(path)
            try:
                made = entry(record)
            except RecordError as error:
                raise RecordError(f"{path}: {error}") from error
            if known.setdefault(made.run.id, path) != path and once:  # a copy must not count as another seed
                raise RecordError(f"{path}: the run of {known[made.run.id]} once more: one of the two files is a copy")
            found.append(made)
        except RecordError as error:
            if warn is None:
                raise
            warn(str(error))
    beside = _overlapped(found)
    return [replace(made, overlapped=True) if made.run.id in beside else made for made in found]


def _overlapped(entries: Iterable[Entry]) -> set[str]:
    """Ids of runs on a CPU during which another such run was under way on the same host (times are whole seconds)."""
    hosts: dict[str, list[tuple[str, str, str]]] = {}
    for made in (made for made in entries if made.run.device_kind == "cpu"):
        where = made.record["where"]
        hosts.setdefault(where["host"], []).append((where["started"], where["finished"], made.run.id))
    found: set[str] = set()
    for times in hosts.values():
        last = ("", "")  # the latest end so far, and whose it is
        for started, finished, name in sorted(times):
            if started < last[0]:
                found |= {name, last[1]}
            last = max(last, (finished, name))
    return found
