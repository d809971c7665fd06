"""``python -m suite.merge``: bring records of other machines, and weights beside them, together in one results folder.

Copying folders does the same, but where two machines trained the same run, a copy keeps one record and this keeps both.

Example: python -m suite.merge node1/results node2/results --results-dir results
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import cli
from suite.errors import DONE, SOME_FAILED, UsageError

FIGURES = {"same": "the same", "other": "other"}

if TYPE_CHECKING:
    from suite.store import Store

EPILOG = """examples:
  python -m suite.merge node1/results node2/results --results-dir results

a second record of one run is kept under conflicts/ and told; weights come with
their records, findings (findings/TASK.toml) with them all
exit codes: 0 done; 1 some file is no valid record (the rest is merged);
2 usage; 5 results cannot be written
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = cli.parser("merge", "Bring records of other results folders together in one.", EPILOG)
    p.add_argument("sources", nargs="+", type=Path, metavar="FROM", help="results folders; they are only read")
    p.add_argument("--json", action="store_true", help="one JSON object a file on stdout")
    cli.add_folders(p)
    return p


def merge(source: Path, target: Path) -> Iterator[dict[str, Any]]:
    """Take over every record, failure and conflict of a results folder, and weights that stand beside records.

    Args:
        source: a results folder.
        target: the results folder that takes them.

    Yields:
        For each file: ``result`` (new, same, conflict or broken), ``source``, ``path``, ``reason``; of a conflict
        ``figures``: the same as those of the record that was there, other, or unknown where that cannot be read.

    Raises:
        UsageError: ``source`` is no results folder.
        CannotWrite: read-only folder, full disk.
    """
    from suite.record import RecordError
    from suite.store import Store

    theirs, ours = Store(source), Store(target)
    if not any((source / kind).is_dir() for kind in ("records", "failures")):
        raise UsageError(f"{source}: wanted a results folder, with records/ or failures/ in it")
    records = set(theirs.paths())
    for path in [*sorted(records), *theirs.failure_paths(), *theirs.conflict_paths()]:
        try:
            place, new = ours.merge(path)
        except RecordError as error:
            yield {"result": "broken", "source": str(path), "path": None, "reason": str(error)}
            continue
        conflict = (target / "conflicts") in place.parents
        result = "same" if not new else "conflict" if conflict else "new"
        row = {"result": result, "source": str(path), "path": str(place), "reason": None}
        yield row | {"figures": _figures_of(place, ours)} if result == "conflict" else row
        if path in records:
            try:
                ours.merge_weights(path)
            except RecordError as error:
                yield {"result": "broken", "source": str(path), "path": None, "reason": str(error)}


def _figures_of(conflict: Path, store: Store) -> str:
    """Whether a second record says the same as the first: all but times, machine and versions."""
    from suite.record import RecordError, load
    from suite.runs import Run

    def plain(record: Mapping[str, Any]) -> Any:
        curve = [{key: value for key, value in row.items() if key != "seconds"} for row in record["curve"]]
        return record["status"], record["metrics"], record["profiles"], curve

    there = load(conflict)
    try:
        here = load(store.path(Run.from_identity(there["run"])))
    except RecordError:
        return "unknown"
    return "same" if plain(there) == plain(here) else "other"


def _quoted(text: str) -> str:
    """A string of TOML, which takes JSON's but for one letter."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def findings(source: Path, target: Path) -> list[str]:
    """Take over what was found about the records of a folder: files that are new, else sentences that are.

    Returns:
        Names of the files that changed.

    Raises:
        CannotWrite: read-only folder, full disk.
    """
    from suite.report.evidence import inputs
    from suite.store import write_atomic

    def warn(line: str) -> None:
        print(f"left out: {line}", file=sys.stderr)

    theirs, ours = (inputs.findings(folder / "findings", warn) for folder in (source, target))
    changed = []
    for task, texts in theirs.items():
        place = target / "findings" / f"{task}.toml"
        new = [text for text in texts if text not in ours.get(task, [])]
        if not new or (task not in ours and place.exists()):  # one that cannot be read is left alone
            continue
        lines = [f"  {_quoted(text)},\n" for text in [*ours.get(task, []), *new]]
        write_atomic(place, f"findings = [\n{''.join(lines)}]\n".encode())
        changed.append(place.name)
    return changed


def run(args: argparse.Namespace) -> int:
    """Merge and say what came."""
    from suite.store import Store

    Store(args.results_dir).check_writable()
    counts: Counter[str] = Counter()
    for source in args.sources:
        for row in merge(source, args.results_dir):
            counts[row["result"]] += 1
            if args.json:
                print(json.dumps(row))
            elif row["result"] == "conflict":
                said = "" if row["figures"] == "unknown" else f", with {FIGURES[row['figures']]} figures"
                print(f"conflict: {row['source']} is a second record of its run{said}: kept as {row['path']}")
            elif row["result"] == "broken":
                print(f"left out: {row['reason']}", file=sys.stderr)
        told = findings(source, args.results_dir)
        if told:
            print(f"findings of {source} taken over: {', '.join(told)}", file=sys.stderr)
    words = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
    print(f"{words or 'nothing found'}; records in {args.results_dir / 'records'}", file=sys.stderr)
    return SOME_FAILED if counts["broken"] else DONE


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return cli.guarded(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
