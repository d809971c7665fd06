"""What must be said to matplotlib before its first import, so that it has nothing to say itself."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path


def quiet_matplotlib() -> None:
    """Give matplotlib folders that it may write where the user's own cannot be: else it warns at import."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    if "MPLCONFIGDIR" in os.environ:
        return
    try:
        for variable, usual in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
            folder = Path(os.environ.get(variable) or Path.home() / usual) / "matplotlib"
            folder.mkdir(parents=True, exist_ok=True)  # as matplotlib itself would
            if not os.access(folder, os.W_OK):
                raise PermissionError(folder)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="rnnbench-matplotlib-")
        atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
