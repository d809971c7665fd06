"""For the fork server alone, which imports this: its workers have OpenMP whole, because the server computes nothing.

A process that computes and forks leaves its child without OpenMP's threads, and `native` then starts its own there.
"""

from __future__ import annotations

from models.scan import native

native.only_imports()
