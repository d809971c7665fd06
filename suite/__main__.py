"""``rnnbench COMMAND ...``: the same commands as ``python -m suite.COMMAND``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from suite.errors import USAGE

COMMANDS = {
    "run": "train models on tasks",
    "list": "models, tasks, engines, recipes, records",
    "data": "fetch, import and verify data sets",
    "merge": "bring results of other machines together",
    "check": "whether a model or task of one's own keeps the contract",
    "report": "tables, plots and pages from records",
    "speed": "measure engines against the plain loop",
    "tune": "search hyperparameters on validation data",
    "theory": "numerical checks of the coRNN theory",
}


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script; puts the current folder on the path, for ``my.pkg:MyRNN``."""
    argv = sys.argv[1:] if argv is None else argv
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that a folder called `models` hides nothing
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: rnnbench COMMAND ...\n")
        for name, what in COMMANDS.items():
            print(f"  {name:8} {what}")
        print("\nrnnbench COMMAND --help tells more; rnnbench --version")
        return 0
    if argv[0] == "--version":
        argv = ["list", "--version"]
    if argv[0] not in COMMANDS:
        print(f"rnnbench: unknown command {argv[0]!r}: wanted one of {', '.join(COMMANDS)}", file=sys.stderr)
        return USAGE
    module = "suite.report.__main__" if argv[0] == "report" else f"suite.{argv[0]}"
    return int(importlib.import_module(module).main(argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
