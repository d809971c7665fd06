"""Tying a process to its parent: when the parent dies, however it dies, Linux kills this one too."""

from __future__ import annotations

import ctypes
import signal
import sys


def tie() -> None:
    """Ask Linux for a SIGKILL when the parent dies; nothing elsewhere, where pipes alone tell."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
