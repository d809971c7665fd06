"""For the fork server alone, which imports this before anything else: importing it ties the process to its parent.

The server would notice the end of its driver by itself, but not while it still loads torch. No other process may import
this: a driver must outlive the shell that started it.
"""

from __future__ import annotations

from suite.work.executors.tied import tie

tie()
