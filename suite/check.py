"""``python -m suite.check``: whether models and tasks of one's own keep the contract.

Example: python -m suite.check --models my.pkg:MyRNN --tasks my.pkg:MyTask
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite import cli
from suite.errors import DONE, SOME_FAILED, UsageError

EPILOG = """examples:
  python -m suite.check --models my.pkg:MyRNN
  python -m suite.check --models my.pkg:MyRNN --set my.pkg:MyRNN.rate=0.5 --tasks my.pkg:MyTask

A model is asked small and on the CPU: shapes, causality, gradients, reloading, every engine that
runs it here; a task with all its batches. ok: kept; note: allowed, and worth knowing; FAULT: with
what was wanted and what came.
exit codes: 0 no fault; 1 some; 2 usage; 4 data missing; 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = cli.parser("check", "Ask models and tasks whether they keep the contract.", EPILOG)
    p.add_argument("--models", default="", metavar="A,B", help="names, or my.pkg:MyRNN")
    p.add_argument("--tasks", default="", metavar="A,B", help="names, or my.pkg:MyTask")
    p.add_argument("--set", dest="sets", action="append", default=[], metavar="NAME.KEY=VALUE",
                   help="another value than the class's default; repeatable")  # fmt: skip
    p.add_argument(
        "--hidden-size", type=cli.positive_int, default=8, metavar="H", help="of the model asked (default 8)"
    )
    p.add_argument("--input-size", type=cli.positive_int, default=3, metavar="I", help="of the model asked (default 3)")
    p.add_argument("--precision", choices=("float32", "float64"), default="float32", help="of the model asked")
    p.add_argument("--json", action="store_true", help="one JSON object a promise on stdout")
    p.add_argument("--data-dir", type=Path, metavar="D", help="raw data (default: $RNNBENCH_DATA, else the cache)")
    return p


def _options(sets: list[str], names: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What ``--set`` changes, by the name of the model or task.

    Raises:
        UsageError: a value for none of the names.
    """
    from suite.plan import parse_set

    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for text in sets:
        name, key, value = parse_set(text)
        if name not in found:
            raise UsageError(f"--set {text}: wanted NAME.KEY=VALUE with one of {', '.join(found)}")
        found[name][key] = value
    return found


def _line(finding: Any) -> str:
    """One finding; on a terminal its text goes on below itself."""
    start = f"  {finding.state:6}{finding.promise:20}"
    if not sys.stdout.isatty():
        return start + str(finding.text)
    columns = max(60, shutil.get_terminal_size().columns)
    return textwrap.fill(finding.text, columns, initial_indent=start, subsequent_indent=" " * len(start))


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    from suite.names import resolve
    from suite.work import checks
    from suite.work.conformance.models import Sizes, check_model
    from suite.work.conformance.tasks import check_task

    models = cli.names(args.models, "--models") if args.models else ()
    tasks = cli.names(args.tasks, "--tasks") if args.tasks else ()
    if not models and not tasks:
        raise UsageError("wanted --models or --tasks, got none")
    plugins = {name: resolve("model", name) for name in models} | {name: resolve("task", name) for name in tasks}
    options = _options(args.sets, plugins)
    for name, plugin in plugins.items():
        options[name] = {**plugin.fixed, **plugin.options(options[name])}
    checks.fetch_for([(one, options[name]) for name, one in plugins.items() if one.kind == "task"], args.data_dir)
    bad, sizes = 0, Sizes(args.input_size, args.hidden_size, args.precision)
    for name, plugin in plugins.items():
        if not args.json:
            print(f"{plugin.kind} {name}")
        asked = check_model if plugin.kind == "model" else check_task
        more = (sizes,) if plugin.kind == "model" else (args.data_dir,)
        for finding in asked(plugin, options[name], *more):  # type: ignore[operator]
            bad += finding.state == "FAULT"
            if args.json:
                print(json.dumps({"kind": plugin.kind, "name": name, **vars(finding)}), flush=True)
            else:
                print(_line(finding), flush=True)
    if not args.json:
        print(f"{bad} fault{'' if bad == 1 else 's'}")
    return SOME_FAILED if bad else DONE


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return cli.guarded(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
