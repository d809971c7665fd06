"""``python -m suite.run``: train models on tasks, one record a run.

Example: python -m suite.run --models cornn,exprnn --tasks psmnist --seeds 0-4
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import cli
from suite.errors import DONE, UsageError

if TYPE_CHECKING:
    from suite.plan import Request

EPILOG = """examples:
  python -m suite.run --models cornn,exprnn --tasks psmnist --preset quick
  python -m suite.run --models cornn --tasks har2 --seeds 0-4 --set cornn.dt=0.05
  python -m suite.run --models my.pkg:MyRNN,lstm --tasks adding --max-seconds 600

exit codes: 0 all done; 1 some run failed or diverged; 2 usage; 4 data missing or
corrupt; 5 results cannot be written; 130 interrupted; 143 terminated
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = cli.parser("run", "Train models on tasks; every run leaves one record.", EPILOG)
    what = p.add_argument_group("what to run")
    what.add_argument("--models", default="", metavar="A,B", help="names (see suite.list) or my.pkg:MyRNN")
    what.add_argument("--tasks", default="", metavar="A,B", help="names (see suite.list) or my.pkg:MyTask")
    what.add_argument("--seeds", default="0", metavar="0-4", help="seeds: numbers and ranges (default 0)")
    what.add_argument("--preset", choices=["quick"], help="quick: small versions with recipes of their own")
    what.add_argument("--track", default="paper", metavar="T", help="paper, matched-params, matched-time, tuned")
    what.add_argument("--set", action="append", default=[], dest="sets", metavar="[NAME.]KEY=VALUE",
                      help="set a model's hyperparameter (all models' without NAME) or a task's option")  # fmt: skip
    what.add_argument("--epochs", type=cli.positive_int, metavar="N", help="epochs in place of the recipe's")
    what.add_argument("--max-seconds", type=float, metavar="S", help="training seconds a run at most")
    what.add_argument("--precision", default="float32", help="float32, float64; tf32, bf16 on the triton engine")
    what.add_argument("--recipes", type=Path, metavar="DIR", help="recipe files that go before the packaged ones")
    what.add_argument("--replay", type=Path, metavar="RECORD",
                      help="repeat a record and say whether the curve agrees (0) or departs (1)")  # fmt: skip
    how = p.add_argument_group("how to run it")
    how.add_argument("--engine", default="auto", help="auto, reference, fused, native, triton, graph, torch")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    how.add_argument("--executor", default="processes", choices=["processes", "inline", "ray"])
    how.add_argument("--address", metavar="A", help="address of a Ray cluster (--executor ray)")
    how.add_argument("--jobs", type=cli.positive_int, metavar="N", help="runs side by side (default: cores or GPUs)")
    how.add_argument("--threads", type=cli.threads, metavar="N", help="threads a run (default: cores / jobs)")
    how.add_argument("--seeds-per-run", type=cli.positive_int, default=1, metavar="K",
                     help="train K seeds of a run side by side in one process")  # fmt: skip
    how.add_argument("--rerun", choices=["failed"], help="failed: try failed runs again")
    how.add_argument("--keep-weights", action="store_true", help="keep each run's weights of its best epoch")
    how.add_argument("--checkpoint-seconds", type=cli.seconds, default=60.0, metavar="S", help="default 60")
    how.add_argument("--stall-seconds", type=cli.seconds, metavar="S", help="end a run that shows no life for so long")
    how.add_argument("--deterministic", action="store_true", help="deterministic algorithms (slower on a GPU)")
    how.add_argument("--mirror", metavar="M", help="write curves there too: tensorboard, or my.pkg:MyMirror")
    how.add_argument("--dry-run", action="store_true", help="show the runs, their state and an estimate")
    how.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    cli.add_folders(p, data=True)
    return p


def request(args: argparse.Namespace, device_kind: str) -> Request:
    """The plan's request from the arguments."""
    from suite.plan import Request, parse_seeds, parse_set

    if args.seeds_per_run > 1 and args.max_seconds is not None:
        raise UsageError("--seeds-per-run: wanted 1 with --max-seconds, since seeds side by side share the time")
    return Request(
        models=cli.names(args.models, "--models"),
        tasks=cli.names(args.tasks, "--tasks"),
        seeds=parse_seeds(args.seeds),
        preset=args.preset,
        track=args.track,
        sets=tuple(parse_set(text) for text in args.sets),
        epochs=args.epochs,
        max_seconds=args.max_seconds,
        device_kind=device_kind,
        precision=args.precision,
        recipes_dir=args.recipes,
    )


def run(args: argparse.Namespace) -> int:
    """Plan, check, run, print."""
    if args.replay is not None:
        from suite.work.replay import replay

        _check_replay(args)
        return replay(args)
    if args.executor == "processes" and not args.dry_run:
        from suite.work.executors import forkserver

        forkserver.start()  # loads torch beside this process, which does so below
    from suite.plan import expand
    from suite.store import Store
    from suite.work import checks, launch
    from suite.work.estimates.matched import Matched

    on_cluster = args.executor == "ray" and not args.dry_run
    devices = launch.cluster_devices(args) if on_cluster else launch.devices(args.device)
    match = Matched(args.data_dir, fetch=not args.dry_run)
    planned = expand(request(args, devices[0].split(":")[0]), match=match)
    store = Store(args.results_dir)
    if args.dry_run:
        from suite.work.estimates.estimate import dry_run

        launch.check_options(args)
        checks.check(planned, args, store=store, dry=True)
        return dry_run(planned, store, args)
    if not on_cluster:  # there each node is checked
        checks.check(planned, args, store=store)
    executor, settings = launch.executor(args, planned, store, devices)
    from suite.work.driver import run_grid

    outcome = run_grid(planned, store, settings, executor, launch.watcher(args), rerun_failed=args.rerun == "failed")
    return _print(outcome, args)


def _check_replay(args: argparse.Namespace) -> None:
    """Refuse what a replay would ignore: the record says what to run.

    Raises:
        UsageError: an option beside those that say how to run it.
    """
    kept = {"replay", "engine", "device", "threads", "checkpoint_seconds", "deterministic", "json", "data_dir"}
    kept |= {"results_dir"}  # which a replay leaves alone
    kept |= {"executor"} if args.executor == "inline" else set()  # as a replay runs
    default = parser().get_default
    given = [name for name, value in vars(args).items() if name not in kept and value != default(name)]
    if given:
        words = ", ".join("--" + {"sets": "set"}.get(name, name).replace("_", "-") for name in given)
        raise UsageError(f"--replay: the record says what to run: wanted nothing else, got {words}")


def _print(outcome: Any, args: argparse.Namespace) -> int:
    from suite.work.failures import again
    from suite.work.telling import silence, tell

    try:
        if args.json:
            _print_json(outcome)
        elif outcome.outlines:
            from suite.report.summary import table

            print(table(outcome.outlines))
        sys.stdout.flush()
    except BrokenPipeError:  # its reader left; the exit code still says how the grid went
        silence(sys.stdout)
    for line in outcome.earlier:
        tell(line)
    words = ", ".join(f"{count} {name}" for name, count in sorted(outcome.counts.items()) if count)
    weights = f"; weights in {args.results_dir / 'weights'}" if args.keep_weights else ""
    if outcome.counts["stopped"] or outcome.counts["not started"]:
        words += "; the same command goes on"
    tell(f"{words or 'nothing to do'}; records in {args.results_dir / 'records'}{weights}")
    for failure in outcome.failures:
        tell(f"failed: {failure['path']}")
    if outcome.failures and not outcome.earlier:
        tell(again(len(outcome.failures)))
    if outcome.exit_code == DONE and not args.json:
        command = ["python", "-m", "suite.report"]
        if args.results_dir != Path("results"):  # a report of its own, and not over that of ./results
            command += ["--results-dir", str(args.results_dir), "--reports-dir", str(args.results_dir / "reports")]
        tell(f"report: {shlex.join(command)}")
    return int(outcome.exit_code)


def _print_json(outcome: Any) -> None:
    """Each record whole, from its file."""
    from suite.record import RecordError, load
    from suite.work.telling import tell

    paths = [*map(str, outcome.paths), *(failure["path"] for failure in outcome.failures)]
    for path in paths:
        try:
            record = load(Path(path))
        except RecordError as error:  # somebody took it away, or broke it, since the grid's end
            tell(f"not printed: {error}")
        else:
            print(json.dumps({**record, "path": path} if record["status"] == "failed" else record))


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from suite.work.stopping import leave, terminable

    with terminable():
        return leave(cli.guarded(parser(), run, argv))


if __name__ == "__main__":
    sys.exit(main())
