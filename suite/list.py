"""``python -m suite.list``: what there is: models, tasks, engines, recipes, records, and the record's schema.

Names come from tables and need no torch; ``--sources``, ``--engines`` and ``--recipes TASK`` import what they describe.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from suite import cli
from suite.errors import DONE, UsageError
from suite.runs import TRACKS, is_set

EPILOG = """examples:
  python -m suite.list
  python -m suite.list --models --sources
  python -m suite.list --recipes har2
  python -m suite.list --recipes har2 --recipes-dir my --models my.pkg:MyRNN --track tuned
  python -m suite.list --records --json

--recipes TASK: the values of every model, of plug-ins that have a section, and
below them tuned ones; --track tuned: a whole recipe as that track trains it
without an option: models and tasks; a terminal gets lines cut to its width, a pipe whole ones
exit codes: 0 done; 2 usage
"""
Row = dict[str, Any]


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = cli.parser("list", "List models, tasks, engines, recipes, records.", EPILOG)
    what = p.add_argument_group("what to list")
    what.add_argument("--models", nargs="?", const="", metavar="A,B", help="names of models and their classes; with "
                      "A,B (names or my.pkg:MyRNN) these alone, of recipes and records too")  # fmt: skip
    what.add_argument("--tasks", action="store_true", help="names of tasks and their classes")
    what.add_argument("--engines", action="store_true", help="engines: which run on this machine, why not the rest")
    what.add_argument("--recipes", nargs="?", const="", metavar="TASK", help="recipe files; with TASK, every value")
    what.add_argument("--records", action="store_true", help="records in the results folder, with their status")
    what.add_argument("--schema", action="store_true", help="the fields of a record")
    how = p.add_argument_group("how")
    how.add_argument("--sources", action="store_true", help="models and tasks: with source and options (imports them)")
    how.add_argument("--track", choices=TRACKS, metavar="T", help=f"recipes or records of one: {', '.join(TRACKS)}")
    how.add_argument("--preset", choices=["quick"], help="recipes of this preset")
    how.add_argument("--recipes-dir", type=Path, metavar="DIR", help="recipe files that go before the packaged ones")
    how.add_argument("--json", action="store_true", help="one JSON object a line")
    cli.add_folders(p)
    return p


def plugins(kind: str, *, sources: bool, chosen: Sequence[str] = ()) -> Iterator[Row]:
    """Rows of the model or task table, entry points among them, or of those chosen; ``sources`` imports each class."""
    from suite.names import resolve, table

    rows = table(kind)  # type: ignore[arg-type]
    for name in chosen:
        if name not in rows:
            resolve(kind, name)  # type: ignore[arg-type]
    for name, (target, fixed) in {name: rows.get(name, (name, {})) for name in chosen or rows}.items():
        row: Row = {"kind": kind, "name": name, "class": target, "fixed": dict(fixed)}
        if sources:
            try:
                plugin = resolve(kind, name)  # type: ignore[arg-type]
            except UsageError as error:  # an installed plug-in that cannot be imported hides no other
                row["error"] = str(error)
            else:
                row |= {"source": plugin.cls.source, "version": plugin.version, "options": plugin.options({})}
        yield row


def engines() -> Iterator[Row]:
    """Every engine and device: available, or why not."""
    import torch

    from models.scan.engines import NAMES, unavailable

    for device in ("cpu", "cuda"):
        none = "no GPU is visible to torch" if device == "cuda" and not torch.cuda.is_available() else None
        for name in NAMES:
            reason = none or unavailable(name, device)
            yield {"kind": "engine", "name": name, "device": device, "available": reason is None, "reason": reason}


def records(root: Path, *, models: Sequence[str] = (), track: str | None = None) -> Iterator[Row]:
    """Every record and failure, or those of these models and this track; a broken one says why, whatever it is of."""
    from suite.record import RecordError, load, share
    from suite.store import Store

    store = Store(root)
    for path in [*store.paths(), *store.failure_paths()]:
        try:
            record = load(path)
        except RecordError as error:
            yield {"kind": "record", "status": "broken", "path": str(path), "reason": str(error)}
            continue
        run, metrics = record["run"], record["metrics"]
        if (models and run["model"] not in models) or track not in (None, run["track"]):
            continue
        yield {
            "kind": "record", "status": record["status"], "id": record["id"], "model": run["model"],
            "task": run["task"], "seed": run["seed"], "track": run["track"], "preset": record["where"]["preset"],
            "epochs": len(record["curve"]), "metric": metrics["name"], "test": metrics["test"],
            "settings": _settings(record), "task_options": run["task_options"],
            "seconds": share(record, "train"), "path": str(path),
        }  # fmt: skip


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a run from others of its model and task: track, preset, units, numbers set by hand."""
    run, sources = record["run"], record["sources"]
    found = {"H": run["recipe"]["hidden_size"]}
    found |= {"track": run["track"]} if run["track"] != "paper" else {}
    found |= {"preset": record["where"]["preset"]} if record["where"]["preset"] else {}
    hand = [key for key, text in sources.items() if is_set(text) and key in run["recipe"]]
    return found | {key: run["recipe"][key] for key in sorted(hand) if key != "hidden_size"}


def _name_options(rows: Sequence[Row]) -> None:
    """Add to the settings the task options in which records of one task differ."""
    seen: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for key, value in row.get("task_options", {}).items():
            seen.setdefault((row["task"], key), set()).add(json.dumps(value, sort_keys=True))
    for row in rows:
        options = row.get("task_options", {})
        row.get("settings", {}).update({k: v for k, v in options.items() if len(seen[row["task"], k]) > 1})


def schema() -> Iterator[Row]:
    """The record's fields, those of the curve's entries, of the profiles and of the provenance."""
    from suite import fields

    parts = {"": fields.FIELDS, "curve[].": fields.CURVE, "profiles[].": fields.PROFILE, "where.": fields.WHERE}
    for prefix, part in parts.items():
        for name, one in part.items():
            kinds = one.type if isinstance(one.type, tuple) else (one.type,)
            yield {"kind": "field", "name": prefix + name, "type": _type_name(kinds), "null": one.null,
                   "sentence": one.sentence}  # fmt: skip


def _type_name(kinds: tuple[type, ...]) -> str:
    names = {int: "integer", float: "number", str: "text", bool: "true/false", dict: "object", list: "list"}
    return "number" if float in kinds else "/".join(names[kind] for kind in kinds)


# ---- showing -----------------------------------------------------------------------------------------------------


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as aligned columns, the last one as long as it is."""
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows))]
    return "\n".join("  ".join([*(text.ljust(w) for text, w in zip(row, widths)), row[-1]]).rstrip() for row in rows)


def _options(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _shown(row: Row) -> list[str]:
    """A row as columns of text."""
    kind = row["kind"]
    if kind == "engine":
        return [row["name"], row["device"], "yes" if row["available"] else "no", row["reason"] or ""]
    if kind == "recipes":
        return [row["task"], f"cannot be used: {row['error']}" if "error" in row else ", ".join(row["sections"])]
    if kind == "recipe":
        if "error" in row:
            return [row["model"], "-", "-", f"cannot be used: {row['error']}"]
        name = row["model"] + (" (tuned)" if row["track"] == "tuned" else "")
        return [name, row["key"], str(row["value"]), row["source"]]
    if kind == "field":
        return [row["name"], row["type"] + (" or null" if row["null"] else ""), row["sentence"]]
    if kind == "record":
        return _shown_record(row)
    return [row["name"], row["class"], _options(row["fixed"])]


def _shown_record(row: Row) -> list[str]:
    if row["status"] == "broken":
        return ["broken", "-", "-", "-", "-", "-", row["reason"]]
    done = [row["status"], row["model"], row["task"], str(row["seed"]), f"{row['epochs']}"]
    return [*done, cli.score(row["test"], row["metric"]), f"{row['id']} {_options(row['settings'])}"]


def _described(row: Row) -> str:
    """A model or task with its source and options, on several lines."""
    lines = [f"{row['name']}  {row['class']}  {_options(row['fixed'])}".rstrip()]
    if "error" in row:
        return "\n".join([*lines, f"  cannot be used: {row['error']}"])
    return "\n".join([*lines, f"  source: {row['source']}", f"  options: {_options(row['options']) or 'none'}"])


def _print(title: str, rows: list[Row], args: argparse.Namespace) -> None:
    if args.json:
        for row in rows:
            print(json.dumps(row))
        return
    print(f"{title}{'' if rows else ': none'}")
    if rows and "source" in rows[0] and rows[0]["kind"] in ("model", "task"):
        text = "\n".join(_described(row) for row in rows)
    else:
        text = columns([_shown(row) for row in rows]) if rows else ""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None  # a pipe gets every word
    for line in text.splitlines():
        line = f"  {line}"
        print(line if width is None or len(line) <= width else line[: width - 1] + "…")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for."""
    if args.recipes_dir is not None and not args.recipes_dir.is_dir():
        raise UsageError(f"--recipes-dir: wanted a folder of recipe files, got {args.recipes_dir}")
    models = cli.names(args.models, "--models") if args.models else ()
    chooses = bool(models) and (args.recipes is not None or args.records)
    if args.track and not (args.recipes or args.records):
        raise UsageError("--track: chooses recipes or records: wanted with --recipes TASK or --records")
    nothing = not (args.engines or args.recipes is not None or args.records or args.schema)
    if (args.models is not None and not chooses) or (nothing and not args.tasks):
        _print("models", list(plugins("model", sources=args.sources, chosen=models)), args)
    if args.tasks or (nothing and args.models is None):
        _print("tasks", list(plugins("task", sources=args.sources)), args)
    if args.engines:
        _print("engines: name, device, runs here", list(engines()), args)
    if args.recipes is not None:
        from suite import recipe_rows as of

        extra = args.recipes_dir
    if args.recipes == "":
        _print("recipes: task, sections", list(of.recipe_files(extra, models)), args)
    elif args.recipes is not None:
        values = of.recipe_values(args.recipes, preset=args.preset, extra=extra, models=models, track=args.track)
        _print(f"recipes on {args.recipes}: model, key, value, source", list(values), args)
    if args.records:
        rows = list(records(args.results_dir, models=models, track=args.track))
        _name_options(rows)
        _print("records: status, model, task, seed, epochs, test, id, settings", rows, args)
    if args.schema:
        _print("record: field, type, meaning", list(schema()), args)
    return DONE


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return cli.guarded(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
