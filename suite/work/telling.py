"""Words on stderr that never stop a grid: the terminal may have gone away while it runs."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def tell(text: str) -> None:
    """One line on stderr; where nobody reads it any more, nothing."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Send a stream nowhere: what is still in its buffer would fail again when Python ends, and spoil the exit code."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # a stream without a file, as in tests
        return
