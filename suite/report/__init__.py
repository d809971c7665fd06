"""From records to evidence: tables, statistics, plots and a static site. No torch, no training code.

``load_runs``, ``load_curves`` and ``load_profiles`` give what was measured as pandas tables, ``load_scores``,
``load_pairs`` and ``load_targets`` what the leaderboard makes of it; ``python -m suite.report`` renders everything.
The heavy libraries load at first use, so that importing this package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.report.evidence.frames import load_curves, load_profiles, load_runs
    from suite.report.tables.computed import load_pairs, load_scores, load_targets

__all__ = ["load_curves", "load_pairs", "load_profiles", "load_runs", "load_scores", "load_targets"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "evidence.frames" if name in ("load_curves", "load_profiles", "load_runs") else "tables.computed"
    return getattr(import_module(f"{__name__}.{home}"), name)
