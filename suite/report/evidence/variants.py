"""Task variants: what must be equal before scores may be compared."""

from __future__ import annotations

from dataclasses import dataclass

from suite.runs import Run, canonical


@dataclass(frozen=True)
class Variant:
    """A task with a value for every option: what must be equal before scores may be compared."""

    task: str
    version: int
    options: str  # canonical JSON

    @classmethod
    def of(cls, run: Run) -> Variant:
        """The variant that a run was on."""
        return cls(run.task, run.task_version, canonical(dict(run.task_options)))
