"""``python -m suite.report``: records -> tables, statistics, figures and a static site.

Example: python -m suite.report --results-dir results --reports-dir reports
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suite import cli
from suite.errors import DONE, UsageError

if TYPE_CHECKING:
    from suite.report.render import Rendered

FORMATS = ("md", "csv", "tex", "json")
KINDS = ("pdf", "png")  # of figures
_EXAMPLE = "python -m suite.run --models cornn,exprnn --tasks psmnist --preset quick"
EPILOG = """examples:
  python -m suite.report
  python -m suite.report --results-dir build/quick --reports-dir build/quick/reports --format md,csv
  python -m suite.report --readme README.md
  python -m suite.report --models my.pkg:MyRNN,lstm --tasks har2 --reports-dir mine
  python -m suite.report --against my.pkg:MyRNN --reports-dir mine

exit codes: 0 rendered (a record that cannot be used is named on stderr and left out);
2 usage, or not one record to render; 5 the reports cannot be written; 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = cli.parser("report", "Render records as tables, figures and a static site that needs no network.", EPILOG)
    p.add_argument(
        "--format",
        default=",".join(FORMATS),
        metavar="F,...",
        help=f"files of each table: {', '.join(FORMATS)}, or none (default: all)",
    )
    p.add_argument(
        "--figures",
        default="",
        metavar="F,...",
        help=f"files of each figure beside the SVG that the pages show: {', '.join(KINDS)} (default: none)",
    )
    p.add_argument(
        "--readme",
        type=Path,
        metavar="FILE",
        help="also put the summary of all results into this Markdown file, between its two marks",
    )
    p.add_argument("--models", default="", metavar="A,B", help="only records of these models (default: all)")
    p.add_argument("--tasks", default="", metavar="A,B", help="only records of these tasks (default: all)")
    p.add_argument(
        "--against",
        metavar="MODEL",
        help="compare each model with this one alone: fewer pairs to correct for, so fewer seeds tell them apart",
    )
    p.add_argument("--json", action="store_true", help="print one JSON object in place of the paths")
    cli.add_folders(p, reports=True)
    return p


def formats(text: str, known: Sequence[str] = FORMATS, option: str = "--format") -> tuple[str, ...]:
    """The formats asked for, of tables or (``KINDS``) of figures.

    Raises:
        UsageError: an unknown one.
    """
    names = [] if text == "none" else [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in known:
            raise UsageError(f"{option}: wanted some of {', '.join(known)}, or none; got {name!r}")
    return tuple(name for name in known if name in names)


def _warn(line: str) -> None:
    print(f"left out: {line}", file=sys.stderr)


def report(args: argparse.Namespace) -> int:
    """Render, then print where things are."""
    chosen, kinds = formats(args.format), formats(args.figures, KINDS, "--figures")
    from suite.report.quiet import quiet_matplotlib

    quiet_matplotlib()
    from suite.report.render import Choice, render
    from suite.report.sharing import processes
    from suite.report.site.readme import insert

    models, tasks = (
        cli.names(text, option) if text else () for text, option in ((args.models, "--models"), (args.tasks, "--tasks"))
    )
    choice = Choice(models, tasks, args.against)
    if args.readme and choice != Choice():
        raise UsageError("--readme: wanted the summary of all results, so no --models, --tasks or --against")
    made = render(
        args.results_dir, args.reports_dir, formats=chosen, warn=_warn, choice=choice, processes=processes(),
        kinds=kinds,
    )  # fmt: skip
    if made is None:
        raise UsageError(f"no records to render under {args.results_dir / 'records'}: make some with {_EXAMPLE}")
    if args.readme:
        insert(args.readme, made.digest)
    if args.json:
        print(json.dumps(_values(made)))
        return DONE
    print(f"leaderboard: {made.leaderboard}")
    print(f"site:        {made.index}")
    print(f"tables:      {args.reports_dir / 'tables'} ({len(made.tables)} files)")
    print(f"plots:       {args.reports_dir / 'plots'} ({len(made.plots)} files)")
    return DONE


def _values(made: Rendered) -> dict[str, object]:
    return {
        "records": made.records,
        "left_out": made.left_out,
        "leaderboard": str(made.leaderboard),
        "index": str(made.index),
        "pages": [str(path) for path in made.pages],
        "plots": [str(path) for path in made.plots],
        "tables": [str(path) for path in made.tables],
    }


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return cli.guarded(parser(), report, argv)


if __name__ == "__main__":
    sys.exit(main())
