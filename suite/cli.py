"""What all commands share: parsing, numbers for people, and the one place where errors become an exit code."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

from suite.errors import CANNOT_WRITE, DATA, DONE, INTERRUPTED, USAGE, SuiteError, UsageError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """One line, exit code 2."""
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(USAGE)


class _Version(argparse.Action):
    """Prints the version; looked up only where it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"rnnbench {version('rnnbench')}")
        parser.exit(DONE)


def parser(command: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """A parser for ``python -m suite.<command>``."""
    made = _Parser(
        prog=f"python -m suite.{command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print the version and stop"
    )
    return made


def add_folders(p: argparse.ArgumentParser, *, data: bool = False, reports: bool = False) -> None:
    """``--results-dir`` and, where asked for, ``--data-dir`` and ``--reports-dir``."""
    group = p.add_argument_group("folders")
    group.add_argument("--results-dir", type=Path, default=Path("results"), metavar="D", help="default ./results")
    if reports:
        group.add_argument("--reports-dir", type=Path, default=Path("reports"), metavar="D", help="default ./reports")
    if data:
        group.add_argument("--data-dir", type=Path, metavar="D", help="default $RNNBENCH_DATA or the cache folder")


def positive_int(text: str) -> int:
    """An argument that is a whole number >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number >= 1, got {text!r}")
    return int(text)


MOST_THREADS = 4096  # more than any machine has cores; the limit keeps torch from asking for the impossible


def threads(text: str) -> int:
    """An argument that is a number of threads, from 1 to 4096."""
    if positive_int(text) > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"wanted at most {MOST_THREADS} threads, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """An argument that is a finite number of seconds >= 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"wanted seconds >= 0, got {text!r}")
    return value


def names(text: str, option: str) -> tuple[str, ...]:
    """A comma-separated list without empty names.

    Raises:
        UsageError: no name.
    """
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise UsageError(f"{option}: wanted at least one name, got {text!r}")
    return found


def guarded(
    p: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int], argv: list[str] | None
) -> int:  # fmt: skip
    """Parse and run a command; problems a person can mend become one line on stderr and their exit code."""
    try:
        from suite.names import check_shadowing

        args = p.parse_args(argv)
        check_shadowing()
        for stream in (sys.stdout, sys.stderr):  # one that cannot write "±" writes "?"
            if hasattr(stream, "reconfigure") and stream.encoding.lower() not in ("utf-8", "utf8"):
                stream.reconfigure(errors="replace")
        code = command(args)
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else DONE if stop.code is None else USAGE
    except SuiteError as error:
        return _say(p, error, error.exit_code)
    except KeyboardInterrupt:
        return _say(p, "interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of stdout left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        return _say(p, error, CANNOT_WRITE)
    except Exception as error:
        known = {
            "TaskError": USAGE,
            "ModelError": USAGE,
            "EngineError": USAGE,
            "DataNotWritten": CANNOT_WRITE,
            "DataError": DATA,
        }
        for kind in type(error).__mro__:
            if kind.__name__ in known:
                return _say(p, error, known[kind.__name__])
        raise


def _say(p: argparse.ArgumentParser, error: object, code: int) -> int:
    text = " ".join(str(error).split())
    print(f"{p.prog}: {text}", file=sys.stderr)
    return code


def short(seconds: float) -> str:
    """Seconds as 12s, 3m05s or 2h07m."""
    total = round(max(0.0, seconds))
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m{total % 60:02d}s"
    return f"{total // 3600}h{total % 3600 // 60:02d}m"


def score(value: float | None, metric: str = "") -> str:
    """A metric for people: accuracies in percent, errors with four digits."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if metric == "accuracy" else f"{value:.4g}"
