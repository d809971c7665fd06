"""Parsed data, kept as uncompressed ``.npz`` files under ``cache/`` of the data root.

The name of a file holds a key over the raw files' checksums and the parser's version, so a changed input or parser
never meets an old cache; the archive's own CRCs show damage, and a damaged file is parsed anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tasks.files import DAMAGED_ARRAYS, cannot_write, locked, write_atomic

Arrays = dict[str, np.ndarray]


def _read(path: Path, names: tuple[str, ...]) -> Arrays | None:
    """The stored arrays, or None where the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except DAMAGED_ARRAYS:
        return None


def _folder(root: Path) -> Path:
    """Where caches lie: below the data root, or, where that cannot be written, in the platform's cache folder."""
    try:
        (root / "cache").mkdir(parents=True, exist_ok=True)
        with locked(root / "cache" / ".writable"):
            return root / "cache"
    except OSError:
        import platformdirs

        return Path(platformdirs.user_cache_dir("rnnbench")) / "cache"


def cached(
    root: Path, name: str, words: tuple[object, ...], names: tuple[str, ...], parse: Callable[[], Arrays]
) -> Arrays:
    """Arrays from the cache, or parsed and stored. Of several processes one parses, the others wait.

    Args:
        root: the data root.
        name: start of the file's name.
        words: what the contents depend on: checksums, versions, options.
        names: names of the arrays.
        parse: makes them.

    Raises:
        DataError: ``parse`` found the raw data damaged.
        DataNotWritten: neither the data root nor the platform's cache folder can be written.
    """
    key = hashlib.sha256("\x1f".join(map(str, words)).encode()).hexdigest()[:16]
    stored = _read(root / "cache" / f"{name}-{key}.npz", names)
    if stored is not None:
        return stored
    folder = _folder(root)
    path = folder / f"{name}-{key}.npz"
    try:
        with locked(folder / f".{name}.lock"):
            stored = _read(path, names)  # another process may have made it meanwhile
            if stored is None:
                stored = parse()
                write_atomic(path, lambda file: np.savez(file, allow_pickle=False, **stored))
    except OSError as error:
        raise cannot_write(path, error) from error
    return stored
