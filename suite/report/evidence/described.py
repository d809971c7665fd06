"""What third-party models and tasks say of themselves in their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from suite.report import wording
from suite.report.evidence.entries import Entry


def descriptions(entries: Sequence[Entry]) -> dict[str, dict[str, str]]:
    """What third-party models and tasks say of themselves: the words of the latest record."""
    found: dict[str, dict[str, str]] = {}
    for entry in sorted(entries, key=lambda entry: (str(entry.record["where"]["finished"]), entry.run.id)):
        for name, said in entry.record["where"].get("descriptions", {}).items():
            if name in (entry.run.model, entry.run.task) and isinstance(said, dict):
                found[name] = {key: str(said.get(key, "")) for key in ("summary", "source")}
                found[name] |= {"title": str(said["title"])} if "title" in said else {}
    return found


def titles(entries: Sequence[Entry], brought: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The titles that third-party models and tasks gave themselves, no two alike."""
    names = {name for entry in entries for name in (entry.run.model, entry.run.task)}
    return wording.distinct({name: said["title"] for name, said in brought.items() if "title" in said}, names)
