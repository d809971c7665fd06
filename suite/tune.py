"""``python -m suite.tune``: search hyperparameters on validation data, an equal number of trials a model.

Example: python -m suite.tune --models cornn,lstm --tasks har2 --trials 16 --epochs 20 --seed 0
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import cli
from suite.errors import DONE, SOME_FAILED, UsageError

if TYPE_CHECKING:
    from suite.plan import Planned

EPILOG = """examples:
  python -m suite.tune --models cornn,lstm --tasks har2 --trials 16 --epochs 20
  python -m suite.tune --models tanh --tasks adding --trials 8 --max-seconds 60 --out my/adding.toml
  python -m suite.run --models tanh --tasks adding --track tuned --recipes my

The search space is [search.default] of the task's recipe, overlaid by
[search.<model>]. Records of the trials: <results-dir>/tuning. The same command
goes on after a kill.
exit codes: 0 done; 1 a model without a finished trial; 2 usage; 4 data missing or
corrupt; 5 results cannot be written; 130 interrupted; 143 terminated
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = cli.parser("tune", "Search hyperparameters on validation data.", EPILOG)
    what = p.add_argument_group("what to search")
    what.add_argument("--models", required=True, metavar="A,B", help="names (see suite.list) or my.pkg:MyRNN")
    what.add_argument("--tasks", required=True, metavar="A,B", help="names (see suite.list) or my.pkg:MyTask")
    what.add_argument("--trials", required=True, type=cli.positive_int, metavar="N", help="trials a model and task")
    what.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the search (default 0)")
    budget = what.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=cli.positive_int, metavar="E", help="epochs a trial (default: the recipe's)")
    budget.add_argument("--max-seconds", type=float, metavar="S", help="training seconds a trial (not repeatable)")
    what.add_argument("--preset", choices=["quick"], help="quick: small versions with recipes of their own")
    what.add_argument("--set", action="append", default=[], dest="sets", metavar="[NAME.]KEY=VALUE",
                      help="set a hyperparameter, which is then not searched, or an option of a task")  # fmt: skip
    what.add_argument("--recipes", type=Path, metavar="DIR", help="recipe files that go before the packaged ones")
    how = p.add_argument_group("how")
    how.add_argument("--out", type=Path, metavar="FILE", help="write the tuned sections there too (a folder takes "
                                                              "<task>.toml)")  # fmt: skip
    how.add_argument("--engine", default="auto", help="auto, reference, fused, native, triton, graph, torch")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    how.add_argument("--executor", default="processes", choices=["processes", "inline"])
    how.add_argument("--jobs", type=cli.positive_int, metavar="N", help="trials side by side (default: cores or GPUs)")
    how.add_argument("--threads", type=cli.threads, default=1, metavar="N", help="threads a trial (default 1)")
    how.add_argument("--json", action="store_true", help="one JSON object a study on stdout")
    cli.add_folders(p, data=True)
    # What suite.run asks for and a trial does not vary.
    p.set_defaults(
        rerun=None,
        checkpoint_seconds=60.0,
        deterministic=False,
        stall_seconds=None,
        mirror=None,
        seeds_per_run=1,
        keep_weights=False,
    )
    return p


def command(args: argparse.Namespace) -> str:
    """The command that repeats the search; other folders, engine and parallelism are left out."""
    words = ["python", "-m", "suite.tune", "--models", args.models, "--tasks", args.tasks]
    words += ["--trials", str(args.trials), "--seed", str(args.seed)]
    for name in ("epochs", "max_seconds", "preset"):
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    for text in args.sets:
        words += ["--set", text]
    if args.recipes is not None:
        words += ["--recipes", str(args.recipes)]
    return shlex.join(words)


def places(args: argparse.Namespace, tasks: tuple[str, ...]) -> dict[str, Path]:
    """Where each task's sections are written; empty without ``--out``.

    Raises:
        UsageError: one file for several tasks, or a file that holds more than tuned sections.
    """
    from suite.store import safe_name
    from suite.work.tuning.tuned import read

    if args.out is None:
        return {}
    folder = args.out.is_dir() or not args.out.suffix
    if not folder and len(tasks) > 1:
        raise UsageError(f"--out: wanted a folder for {len(tasks)} tasks, got the file {args.out}")
    found = {task: args.out / f"{safe_name(task)}.toml" if folder else args.out for task in tasks}
    for path in found.values():
        read(path)
    return found


def seen_tests(plan: Iterable[Planned]) -> list[str]:
    """A line a task whose test examples hang on the data seed: trials then train on test examples of other seeds."""
    from suite.names import resolve

    found = {one.run.task: one.run.task_options for one in plan}
    tasks = {task: resolve("task", task) for task in found}
    return [
        f"suite.tune: {task}: every seed draws its own test part, so the trials see what other seeds test on"
        for task, options in found.items()
        if tasks[task].cls.test_moves(**tasks[task].arguments(options))
    ]


def run(args: argparse.Namespace) -> int:
    """Plan, search, print."""
    from suite.plan import Request, expand, parse_set
    from suite.store import Store
    from suite.work import checks, launch
    from suite.work.driver import run_grid
    from suite.work.tuning.studies import search, studies

    if not 0 <= args.seed < 2**31:
        raise UsageError(f"--seed: wanted a number from 0 to {2**31 - 1}, got {args.seed}")
    devices = launch.devices(args.device)
    request = Request(
        models=cli.names(args.models, "--models"),
        tasks=cli.names(args.tasks, "--tasks"),
        preset=args.preset,
        sets=tuple(parse_set(text) for text in args.sets),
        epochs=args.epochs,
        max_seconds=args.max_seconds,
        device_kind=devices[0].split(":")[0],
        recipes_dir=args.recipes,
    )
    found, files = studies(request, seed=args.seed), places(args, request.tasks)
    plan = expand(request)
    checks.check(plan, args)
    for line in seen_tests(plan):
        print(line, file=sys.stderr)

    def trained(planned: Any, store: Store) -> Any:
        executor, settings = launch.executor(args, planned, store, devices)
        return run_grid(planned, store, settings, executor, launch.watcher(args, blind=True))

    stopped = search(found, Store(args.results_dir / "tuning"), trials=args.trials, run_grid=trained)
    if stopped:
        print("stopped; the same command goes on", file=sys.stderr)
        return stopped
    return _finish(found, files, args)


def _finish(found: Any, files: dict[str, Path], args: argparse.Namespace) -> int:
    """Print and write the tuned sections."""
    from suite.work.tuning import tuned

    facts: dict[str, Any] = {"seed": args.seed, "command": command(args)}
    sections = {(study.task, study.model): tuned.section(study, **facts) for study in found if study.best}
    for task, path in files.items():
        tuned.write(path, {model: text for (of, model), text in sections.items() if of == task})
    for study in found:
        if study.best is None:
            print(f"{study.model} on {study.task}: none of {len(study.trials)} trials finished", file=sys.stderr)
        elif args.json:
            print(json.dumps(_as_json(study, tuned.source(study, **facts))))
        else:
            print(sections[study.task, study.model], end="\n\n")
    return DONE if len(sections) == len(found) else SOME_FAILED


def _as_json(study: Any, source: str) -> dict[str, Any]:
    return {
        "model": study.model, "task": study.task, "metric": study.metric, "valid": study.best.valid,
        "trial": study.best.number, "values": dict(study.best.values), "source": source,
        "trials": [{"values": dict(t.values), "valid": t.valid, "id": t.planned.run.id} for t in study.trials],
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return cli.guarded(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
