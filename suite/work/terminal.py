"""What a person sees while a grid runs, on stderr: live lines on a terminal, a plain line an epoch elsewhere."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from suite.cli import score, short
from suite.plan import Planned
from suite.work.failures import reason
from suite.work.job import Progress

QUIET = 60.0  # seconds after which a step is told where no live line shows it


class _Life:
    """What is known of one run in training."""

    def __init__(self, label: str, max_seconds: float | None = None) -> None:
        self.label, self.max_seconds = label, max_seconds
        self.event: Progress | None = None
        self.first: tuple[float, float] | None = None
        self.row: Mapping[str, Any] = {}
        self.metric = ""
        self.told = time.monotonic()

    def take(self, event: Progress) -> None:
        self.event = event
        self.metric = event.metric or self.metric
        share = self.share()
        if event.kind != "start" and self.first is None:
            self.first = (time.monotonic(), share)
        if event.row:
            self.row = event.row

    def share(self) -> float:
        """How much of the budget, epochs or seconds, is done, in [0,1]."""
        event = self.event
        if event is None:
            return 0.0
        inside = 1.0 if event.kind == "epoch" else event.step / max(1, event.steps)
        epochs = (event.epoch - 1 + inside) / max(1, event.epochs)
        return epochs if self.max_seconds is None else min(1.0, max(epochs, event.seconds / self.max_seconds))

    def left(self) -> float | None:
        """Seconds to go at the present pace."""
        if self.first is None:
            return None
        passed, done = time.monotonic() - self.first[0], self.share() - self.first[1]
        return passed * (1 - self.share()) / done if done > 1e-4 and passed > 1 else None


def _label(one: Planned) -> str:
    """Model, task and seed; of a trial of ``suite.tune`` its number and the values tried."""
    name, tried = f"{one.run.model} {one.run.task}", dict[str, Any]()
    number = ""
    for key, source in one.sources.items():
        found = re.fullmatch(r"set: trial (\d+) of suite.tune", source)
        if found is not None:
            number, tried[key] = found[1], one.run.recipe.get(key)
    if not tried:
        return f"{name} seed {one.run.seed}"
    return f"{name} trial {number} ({', '.join(f'{key}={value}' for key, value in tried.items())})"


class Terminal:
    """Watches a grid.

    Args:
        stream: where to write.
        live: redraw in place; by default where the stream is a terminal.
        blind: tell a finished run's validation score in place of its test score, as a search does.
    """

    def __init__(self, *, stream: TextIO | None = None, live: bool | None = None, blind: bool = False) -> None:
        self.stream, self.blind = stream or sys.stderr, blind
        self.live_wanted = self.stream.isatty() and os.environ.get("TERM") != "dumb" if live is None else live
        self.lives: dict[str, _Life] = {}
        self.running: dict[str, _Life] = {}
        self.total = self.finished = 0
        self.shown: Any = None
        self.started = time.monotonic()

    def begin(self, waiting: Sequence[Planned], held: Sequence[Planned]) -> None:
        """Say what there is to do."""
        self.started = time.monotonic()
        self.total = len(waiting)
        for one in waiting:
            self.lives[one.run.id] = _Life(_label(one), one.run.budget.max_seconds)
        self._say(f"{len(waiting)} run{'' if len(waiting) == 1 else 's'} to do, {len(held)} already there")
        if self.live_wanted and waiting:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self.stream, no_color=bool(os.environ.get("NO_COLOR")) or None)
            self.shown = Live(console=console, refresh_per_second=4, get_renderable=self._table, transient=True)
            self.shown.start()

    def progress(self, event: Progress) -> None:
        """One sign of life."""
        life = self.running.setdefault(event.id, self.lives.get(event.id) or _Life(event.id))
        life.take(event)
        if event.kind == "start":
            resumed = f", going on from epoch {event.resumed_from}" if event.resumed_from else ""
            self._say(f"{life.label}: starts on engine {event.engine}{resumed}")
        elif event.kind == "epoch" and not self.live_wanted:
            self._say(self._line(life))
        elif event.kind == "step" and not self.live_wanted and time.monotonic() - life.told > QUIET:
            left = life.left()
            words = f"epoch {event.epoch}/{event.epochs}  step {event.step}/{event.steps}"
            self._say(f"{life.label}: {words}" + (f"  left {short(left)}" if left is not None else ""))
        else:
            return
        life.told = time.monotonic()

    def record(self, record: Mapping[str, Any]) -> None:
        """One record written."""
        life = self.running.pop(record["id"], None) or self.lives.get(record["id"]) or _Life(record["id"])
        self.finished += 1
        metrics, status = record["metrics"], record["status"]
        if status == "failed":
            words = f"FAILED: {reason(record['error'])}"
        elif status == "diverged":
            epoch, steps = len(record["curve"]), record["curve"][-1]["steps"] if record["curve"] else 0
            many = f"{steps} step{'' if steps == 1 else 's'}"
            words = f"diverged in epoch {epoch}, after {many}: loss or gradient norm not finite"
            words += f" (best epoch before: {metrics['best_epoch']})" if metrics["best_epoch"] else ""
        else:
            which = "valid" if self.blind else "test"
            value, best = score(metrics[which], metrics["name"]), metrics["best_epoch"]
            words = f"{status}, {which} {value} at epoch {best}, {short(record['seconds']['train'])}"
        self._say(f"{life.label}: {words} ({self.finished}/{self.total})")

    def end(self) -> None:
        """Leave the screen as it was."""
        if self.shown is not None:
            self.shown.stop()
            self.shown = None

    def _say(self, text: str) -> None:
        if self.shown is not None:
            self.shown.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def _line(self, life: _Life) -> str:
        row, event, left = life.row, life.event, life.left()
        assert event is not None
        metric = life.metric
        parts = [
            f"{life.label}: epoch {event.epoch}/{event.epochs}",
            f"valid {score(row.get('valid'), metric)} best {score(event.best, metric)}",
            f"loss {score(row.get('train_loss'))}",
        ]
        return "  ".join(parts) + (f"  left {short(left)}" if left is not None else "")

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=False, show_footer=False)
        table.add_column("run", no_wrap=True, overflow="ellipsis")
        for name in ("epoch", "valid", "best", "ms/step", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        for life in list(self.running.values()):
            event, left = life.event, life.left()
            if event is None:
                continue
            metric = life.metric
            done = (event.epoch - 1) * event.steps + (event.steps if event.kind == "epoch" else event.step)
            pace = f"{1000 * event.seconds / done:.1f}" if done and event.steps else "-"
            table.add_row(
                Text(life.label), f"{event.epoch}/{event.epochs}", score(life.row.get("valid"), metric),
                score(event.best, metric), pace, "-" if left is None else short(left),
            )  # fmt: skip
        table.add_row(Text(f"{self.finished} of {self.total} runs done"), "", "", "", "", self._grid_left())
        return table

    def _grid_left(self) -> str:
        done = self.finished + sum(life.share() for life in self.running.values())
        passed = time.monotonic() - self.started
        return short(passed * (self.total - done) / done) if done > 0.01 and passed > 2 else "-"
