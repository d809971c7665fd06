"""What stands in a data root: present, missing, incomplete or altered.

A manifest (``manifests/NAME.json``) remembers size, time and checksum of every file, as git's index does: a file
is hashed again only where its size or time changed. ``verify`` hashes all.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tasks.catalogue import source
from tasks.errors import DataError
from tasks.files import git_sha1, sha256, write_atomic
from tasks.source_types import RawFile, Source, State


def _manifest(root: Path, name: str) -> Path:
    return root / "manifests" / f"{name}.json"


def _remembered(root: Path, name: str) -> dict[str, Any]:
    """The manifest's files, or nothing where it is missing or damaged: then every file is hashed anew."""
    try:
        files = json.loads(_manifest(root, name).read_text(encoding="utf-8"))["files"]
        return {str(path): dict(entry) for path, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _digests(path: Path, raw: RawFile) -> dict[str, str]:
    if raw.content == "reviews":
        from tasks.reviews import content_digest

        return {"sha256": content_digest(path)}
    found = {"sha256": sha256(path)}
    if raw.git_sha1:
        found["git_sha1"] = git_sha1(path)
    return found


def look(path: Path, raw: RawFile, old: dict[str, Any] | None, deep: bool) -> dict[str, Any]:
    """Size, time and checksums of a file, the latter from ``old`` where size and time are unchanged."""
    stat = path.stat()
    stamp = {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    needed = ("sha256", "git_sha1") if raw.git_sha1 else ("sha256",)
    unchanged = old is not None and all(old.get(key) == value for key, value in stamp.items())
    if old is not None and unchanged and not deep and all(key in old for key in needed):
        return old
    return {**stamp, **_digests(path, raw)}


def judge(raw: RawFile, entry: dict[str, Any]) -> str:
    """What a file's checksums say: official, copy, unknown (no official checksum is known) or altered."""
    if raw.sha256 and entry["sha256"] == raw.sha256:
        return "official"
    if raw.git_sha1 and entry.get("git_sha1") == raw.git_sha1:
        return "official"
    if entry["sha256"] in raw.copies:
        return "copy"
    return "altered" if raw.sha256 or raw.git_sha1 or raw.copies else "unknown"


def altered_line(where: Path | str, raw: RawFile, entry: dict[str, Any]) -> str:
    """One line on a file whose size or checksum is not a known one."""
    if raw.bytes is not None and entry["bytes"] != raw.bytes:
        return f"{where} has {entry['bytes']:,} bytes, wanted {raw.bytes:,}"
    kind = "git_sha1" if raw.git_sha1 and not raw.sha256 else "sha256"
    wanted = (raw.git_sha1 if kind == "git_sha1" else raw.sha256) or raw.copies[0]
    return f"{where} has {kind} {entry[kind][:12]}…, wanted {wanted[:12]}…"


def _variant(name: str, verdicts: dict[str, str], known: Source) -> str:
    """For the record: which data, and how its files relate to the official ones."""
    required = [verdicts[raw.path] for raw in known.files if raw.required]
    total, official = len(required), required.count("official")
    if official == total:
        return f"{name} (official files)"
    parts = []
    if copies := required.count("copy"):
        parts.append(f"{copies} of {total} files not byte-identical to the official ones")
    if unknown := required.count("unknown"):
        parts.append(f"{unknown} of {total} files without a known official checksum")
    return f"{name} (complete; {', '.join(parts)})"


def _look(root: Path, known: Source, old: dict[str, Any], deep: bool) -> tuple[dict, dict, list[str], list[str]]:
    """Entries, verdicts, missing paths and problem lines of a data set's files."""
    entries: dict[str, dict[str, Any]] = {}
    verdicts: dict[str, str] = {}
    missing: list[str] = []
    problems: list[str] = []
    for raw in known.files:
        path = root / raw.path
        if not path.is_file():
            if raw.required:
                missing.append(raw.path)
            continue
        try:
            size = path.stat().st_size
            if raw.bytes is not None and size != raw.bytes:
                problems.append(altered_line(path, raw, {"bytes": size}))
                continue
            entry = entries[raw.path] = look(path, raw, old.get(raw.path), deep)
        except (DataError, OSError) as error:
            problems.append(str(error))
            continue
        verdicts[raw.path] = judge(raw, entry)
        if verdicts[raw.path] == "altered":
            problems.append(altered_line(path, raw, entry))
    return entries, verdicts, missing, problems


def _remember(root: Path, name: str, entries: dict[str, Any]) -> None:
    text = json.dumps({"name": name, "files": entries}, indent=1, sort_keys=True)
    try:
        write_atomic(_manifest(root, name), lambda file: file.write(text.encode()))
    except DataError:
        return  # a read-only data root: files are hashed at every start


def inspect(name: str, root: Path, *, deep: bool) -> State:
    """Look at a data set in the data root.

    Args:
        name: key of ``tasks.sources.SOURCES``.
        root: the data root.
        deep: hash every file, whatever the manifest says.

    Raises:
        TaskError: the name is unknown.
    """
    known = source(name)
    if known.bundled:
        return State(name, "bundled", f"{name}: bundled with a Python package", variant=name, key=name)
    old = _remembered(root, name)
    entries, verdicts, missing, problems = _look(root, known, old, deep)
    size = sum(entry["bytes"] for entry in entries.values())
    remedy = f"run 'rnnbench data fetch {name}' or 'rnnbench data import PATH'"
    if problems:
        message = f"{name}: {problems[0]}: delete it, then {remedy}"
        return State(name, "altered", message, bytes=size, problems=tuple(problems))
    if missing:
        status = "incomplete" if entries else "missing"
        what = f"lacks {missing[0]} in {root}" if entries else f"not in {root}"
        lines = tuple(f"{root / path} is missing" for path in missing)
        return State(name, status, f"{name}: {what}: {remedy}", bytes=size, problems=lines)
    if entries != old:
        _remember(root, name, entries)
    sums = "".join(entries[raw.path]["sha256"] for raw in known.files if raw.required)
    variant = _variant(name, verdicts, known)
    key = hashlib.sha256(sums.encode()).hexdigest()
    return State(name, "present", f"{variant}, {size:,} bytes", variant=variant, bytes=size, key=key)
