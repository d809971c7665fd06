"""``python -m suite.theory``: numerical checks of the coRNN paper's propositions, one JSON file a figure.

Example: python -m suite.theory --checks energy,plateau
"""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from suite import cli
from suite.errors import DONE, UsageError, unknown
from suite.work.theory import CHECKS

TASKS = "adding,smnist,psmnist,noisy_cifar,har2,imdb"
MODELS = "cornn,tanh,lstm"
COMPARES_MODELS = "plateau"  # the others check coRNN's propositions, on coRNN


def _epilog() -> str:
    lines = ["checks:", *(f"  {name:16}{what}" for name, (_, what) in CHECKS.items())]
    return "\n".join([
        *lines, "",
        "Files: <results-dir>/theory/*.json; python -m suite.report shows them.",
        "A task whose data is missing is left out and named.",
        "exit codes: 0 done; 2 usage; 5 results cannot be written; 130 interrupted",
    ])  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = cli.parser("theory", "Check the coRNN theory numerically.", _epilog())
    what = p.add_argument_group("what to check")
    what.add_argument("--checks", default=",".join(CHECKS), metavar="A,B", help="default: all of those below")
    what.add_argument("--models", default=MODELS, metavar="A,B", help=f"models of the plateau check (default {MODELS})")
    what.add_argument(
        "--tasks", default=TASKS, metavar="A,B", help=f"tasks whose recipes are checked (default {TASKS})"
    )
    what.add_argument("--untrained", action="store_true", help="no training: checks at initialisation alone")
    what.add_argument("--steps", type=cli.positive_int, default=60, metavar="N", help="training steps (default 60)")
    what.add_argument("--seeds", type=cli.positive_int, default=10, metavar="N", help="initialisations (default 10)")
    how = p.add_argument_group("how")
    how.add_argument("--threads", type=cli.threads, default=1, metavar="N", help="threads (default 1)")
    how.add_argument("--json", action="store_true", help="one JSON object a figure on stdout: title, finding, path")
    cli.add_folders(p, data=True)
    return p


def command(args: argparse.Namespace, check: str) -> str:
    """The command that repeats one check."""
    words = ["python", "-m", "suite.theory", "--checks", check]
    default = parser().parse_args([])
    for name in ("models", "tasks", "steps", "seeds"):
        if name == "models" and check != COMPARES_MODELS:
            continue
        if getattr(args, name) != getattr(default, name):
            words += [f"--{name}", str(getattr(args, name))]
    return shlex.join([*words, "--untrained"] if args.untrained else words)


def charts(args: argparse.Namespace) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Run the checks and yield (check, chart, ids of the recipes that it used) as they come.

    Raises:
        UsageError: an unknown check, model or task; models for checks that are of coRNN alone.
    """
    from suite.names import resolve
    from suite.work.job import Settings
    from suite.work.theory.setting import Setting
    from suite.work.training.group import prepare_process

    names = cli.names(args.checks, "--checks")
    for name in names:
        if name not in CHECKS:
            raise UsageError(unknown("check", name, CHECKS))
    if args.models != MODELS and COMPARES_MODELS not in names:
        raise UsageError(f"--models: {COMPARES_MODELS} alone compares models; the checks asked for are of coRNN")
    models, tasks = cli.names(args.models, "--models"), cli.names(args.tasks, "--tasks")
    for kind, given in (("model", models), ("task", tasks)):
        for name in given:
            resolve(kind, name)  # type: ignore[arg-type]
    prepare_process(Settings(threads=args.threads))
    setting = Setting(
        models=models, tasks=tasks, data_dir=args.data_dir, steps=0 if args.untrained else args.steps, seeds=args.seeds
    )
    for name in names:
        module, _, function = CHECKS[name][0].partition(":")
        setting.used.clear()
        for chart in getattr(importlib.import_module(module), function)(setting):
            yield name, chart, dict(setting.used)


def run(args: argparse.Namespace) -> int:
    """Check, write, print."""
    from suite.store import write_atomic
    from suite.work.theory.chart import machine

    folder: Path = args.results_dir / "theory"
    for name, chart, runs in charts(args):
        path = folder / f"{chart.stem}.json"
        facts = {"command": command(args, name), "date": date.today().isoformat(), "machine": machine(args.threads)}
        write_atomic(path, chart.text(**facts, runs=runs))
        if args.json:
            print(
                json.dumps({"check": name, "title": chart.title, "finding": chart.finding, "path": str(path)}),
                flush=True,
            )
        else:
            print(f"{chart.title}\n  {chart.finding}\n  {path}\n", flush=True)
    return DONE


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return cli.guarded(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
