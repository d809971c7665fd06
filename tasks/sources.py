"""The raw data sets of the table, and what is done with them: look, verify, fetch, import.

This module imports neither torch nor numpy, so listing data is instant.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tasks.catalogue import SOURCES, source
from tasks.checksums import HAR_FOLDER, HAR_SIGNALS
from tasks.errors import DataError
from tasks.source_types import Log, RawFile, Source, State
from tasks.verifying import inspect

__all__ = [
    "HAR_FOLDER", "HAR_SIGNALS", "SOURCES", "Log", "RawFile", "Source", "State", "check", "data_root", "ensure",
    "import_path", "source", "state", "verify",
]  # fmt: skip


def data_root(explicit: Path | str | None = None) -> Path:
    """The folder of the raw data: ``explicit``, else ``RNNBENCH_DATA``, else the platform's cache folder."""
    if explicit is not None:
        return Path(explicit).expanduser()
    if os.environ.get("RNNBENCH_DATA"):
        return Path(os.environ["RNNBENCH_DATA"]).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("rnnbench"))


def state(name: str, data_dir: Path | str | None = None) -> State:
    """What is in the data root; files are hashed only where size or time changed since the last look."""
    return inspect(name, data_root(data_dir), deep=False)


def verify(name: str, data_dir: Path | str | None = None) -> State:
    """As ``state``, hashing every file anew."""
    return inspect(name, data_root(data_dir), deep=True)


def check(names: Iterable[str], data_dir: Path | str | None = None) -> dict[str, State]:
    """Look at several data sets before anything starts.

    Raises:
        DataError: one line over all that is missing or altered, with the remedy.
    """
    states = {name: state(name, data_dir) for name in dict.fromkeys(names)}
    bad = [found.message for found in states.values() if not found.usable]
    if bad:
        raise DataError("; ".join(bad))
    return states


def ensure(name: str, data_dir: Path | str | None = None, *, log: Log = print) -> State:
    """Fetch a data set unless it is there.

    Raises:
        DataError: it is altered, or missing with ``RNNBENCH_OFFLINE`` set, or no mirror delivered it.
    """
    found = state(name, data_dir)
    if found.usable:
        return found
    from tasks.fetching import fetch, offline

    if offline():
        raise DataError(f"{found.message} (RNNBENCH_OFFLINE is set: nothing is downloaded)")
    fetch(name, data_root(data_dir), log=log)
    found = state(name, data_dir)
    if not found.usable:
        raise DataError(found.message)
    return found


def import_path(path: Path | str, data_dir: Path | str | None = None, *, log: Log = print) -> dict[str, State]:
    """Import the data sets found in a folder or archive into the data root. See ``tasks.importing``."""
    from tasks.importing import import_path as run

    return run(Path(path), data_root(data_dir), log=log)
