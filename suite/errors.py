"""The exit codes, and the one exception that commands turn into a clear line and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

DONE = 0
SOME_FAILED = 1
USAGE = 2
REGRESSION = 3
DATA = 4
CANNOT_WRITE = 5
INTERRUPTED = 130
TERMINATED = 143


class SuiteError(Exception):
    """A problem that a person can mend: one line saying what was wanted, what came and what to do.

    Attributes:
        exit_code: what the command returns (DESIGN section 9).
    """

    exit_code = USAGE

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(SuiteError):
    """A bad argument, recipe or plug-in (exit code 2)."""


class BadDefault(UsageError):
    """A default of a plug-in's class that its annotation does not allow: no recipe is to blame."""


class DataMissing(SuiteError):
    """Raw data is missing, truncated or altered (exit code 4)."""

    exit_code = DATA


class CannotWrite(SuiteError):
    """A result could not be written: read-only folder or full disk (exit code 5)."""

    exit_code = CANNOT_WRITE


def words(error: BaseException | None) -> str:
    """An error in one short line."""
    if error is None:
        return "it ended without a word"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else ''}"


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The one line for a name nobody knows: what it was, the near ones, all of them."""
    names = sorted(known)
    plain = {one.casefold(): one for one in names}
    near = [plain[one] for one in difflib.get_close_matches(name.casefold(), plain, n=3, cutoff=0.5)]
    hint = f": did you mean {' or '.join(near)}?" if near else "."
    if not near and "." in name and ":" not in name and what in ("model", "task"):
        hint = ": wanted a name or my.pkg:MyClass, got no colon."
    return f"unknown {what} {name!r}{hint} Known: {', '.join(names) or 'none'}"
