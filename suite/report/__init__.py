"""From records to evidence: tables, statistics, plots and a static site. No torch, no training code.

``load_runs``, ``load_curves`` and ``load_profiles`` give pandas tables; ``python -m suite.report`` renders
everything. The heavy libraries load at first use, so that importing this package stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.report.evidence.frames import load_curves, load_profiles, load_runs

__all__ = ["load_curves", "load_profiles", "load_runs"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from suite.report.evidence import frames

        return getattr(frames, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
