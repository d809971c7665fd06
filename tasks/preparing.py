"""Parsing raw data into the cache ahead of the first start of a task."""

from __future__ import annotations

from pathlib import Path

from tasks.source_types import Log, State


def prepare(state: State, root: Path, *, log: Log) -> None:
    """Parse a data set into the cache, where its task keeps one.

    Args:
        state: of a data set that is present in ``root``.
        root: the data root.
        log: called with a line before what takes long.

    Raises:
        DataError: the raw data is damaged.
        DataNotWritten: no cache can be written.
    """
    if state.name == "mnist":
        from tasks.pixels import mnist_arrays

        mnist_arrays(root, state.key)
    elif state.name == "uci_har":
        from tasks.har2 import har_arrays

        har_arrays(root, state.key)
    elif state.name == "imdb":
        from tasks.text import read_tokens

        log("imdb: splitting 50,000 reviews into words, once (about a minute)")
        read_tokens(root, state.key)
