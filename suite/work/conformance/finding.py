"""One answer of a check, and what turns an exception into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from suite.errors import words

State = Literal["ok", "note", "FAULT"]


@dataclass(frozen=True)
class Finding:
    """What became of one promise.

    Attributes:
        state: ``ok``, ``FAULT``, or ``note``: allowed, and worth knowing.
        promise: in a few words.
        text: what was seen.
    """

    state: State
    promise: str
    text: str


class Broken(Exception):
    """A promise that is not kept; the message says what was wanted and what came."""


class Noted(Exception):
    """Something that is allowed, and worth knowing."""


def asked(promise: str, question: Callable[[], str]) -> Finding:
    """Ask; whatever a plug-in raises is a fault."""
    try:
        return Finding("ok", promise, question())
    except Broken as error:
        return Finding("FAULT", promise, str(error))
    except Noted as error:
        return Finding("note", promise, str(error))
    except (Exception, SystemExit) as error:  # a plug-in may raise anything
        return Finding("FAULT", promise, words(error))


Findings = Iterator[Finding]
