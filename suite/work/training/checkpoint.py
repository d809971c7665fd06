"""Mid-run checkpoints: weights, optimiser, counters, random state; versioned, atomic, loaded with ``weights_only``.

A file is one line of text, the sha256 of the rest, and the rest as torch saves it. (torch itself takes a file whose
numbers were altered for a good one: it leaves the archive's own checksums unread.)
"""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from suite.store import write_atomic

VERSION = 2
_HEAD = f"rnnbench checkpoint {VERSION}\n".encode()
_DIGEST = 64


def save(path: Path, run_id: str, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Raises:
        CannotWrite: read-only folder or full disk.
    """
    buffer = io.BytesIO()
    torch.save({"version": VERSION, "id": run_id, **_own(state)}, buffer)
    body = buffer.getvalue()
    write_atomic(path, b"".join((_HEAD, hashlib.sha256(body).hexdigest().encode(), body)))


def _own(value: Any) -> Any:
    """The same with memory of its own for each tensor that is a part of a longer one.

    torch saves the whole of that one: of seeds side by side each checkpoint would hold all of them.
    """
    if isinstance(value, torch.Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    return [_own(item) for item in value] if isinstance(value, list) else value


def load(path: Path, run_id: str) -> tuple[dict[str, Any] | None, str]:
    """Read a checkpoint.

    Returns:
        The state, or None with the reason why the run starts anew: no file, another version or run, a damaged file.
    """
    anew = "the run starts anew"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"checkpoint {path.name} cannot be read ({error.strerror}): {anew}"
    digest, body = data[len(_HEAD) : len(_HEAD) + _DIGEST], data[len(_HEAD) + _DIGEST :]
    if not data.startswith(_HEAD):
        return None, f"checkpoint {path.name} is of another version, or damaged: {anew}"
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None, f"checkpoint {path.name} is truncated or altered: {anew}"
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds; with the right checksum it is another torch that wrote it
        return None, f"checkpoint {path.name} cannot be read ({type(error).__name__}): {anew}"
    if not isinstance(state, dict) or state.get("id") != run_id:
        return None, f"checkpoint {path.name} is of another run: {anew}"
    return state, ""


def remove(path: Path) -> None:
    """Remove a checkpoint once its record is safe; one that cannot be removed now goes with the next sweep."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
