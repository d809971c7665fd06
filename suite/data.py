"""``python -m suite.data``: what data there is, where it lies, and how to get it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from suite import cli
from suite.errors import DATA, DONE

if TYPE_CHECKING:
    from tasks.sources import Source, State

_EPILOG = """\
names are data sets (mnist, cifar10, uci_har, imdb, glove, digits5k) or tasks.
exit codes: 0 all good, 2 usage, 4 data missing or altered, 5 cannot write.
RNNBENCH_OFFLINE=1 never opens a connection.
"""


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data-dir", type=Path, metavar="D", help="default $RNNBENCH_DATA or the cache folder")
    common.add_argument("--json", action="store_true", help="one JSON object a line on stdout")
    p = cli.parser("data", "List, fetch, verify and import the raw data sets.", _EPILOG)
    sub = p.add_subparsers(dest="action", required=True, metavar="list|fetch|verify|import|where")
    what = {
        "list": "what there is; with names: mirrors, checksums, licence, citation",
        "fetch": "download what is missing (without names: all but glove)",
        "verify": "hash every file anew (without names: all that is there)",
        "where": "the folder of the data; with names: the files",
    }
    for action, text in what.items():
        one = sub.add_parser(action, help=text, description=text, parents=[common], allow_abbrev=False)
        one.add_argument("names", nargs="*", metavar="NAME")
    text = "import a folder or archive with official layouts (tar, tar.gz, tar.xz, zip, .gz, .xz)"
    one = sub.add_parser("import", help=text, description=text, parents=[common], allow_abbrev=False)
    one.add_argument("path", type=Path, metavar="PATH")
    one.add_argument("--no-parse", action="store_true", help="leave parsing into the cache to the first start")
    return p


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _data_names(names: Sequence[str], otherwise: Iterable[str]) -> list[str]:
    """Data sets by name, or by the name of a task that needs them; without names ``otherwise``."""
    from tasks.sources import SOURCES, source

    if not names:
        return list(otherwise)
    found: list[str] = []
    for name in names:
        if name not in SOURCES:
            from tasks import TASKS, load

            if name not in TASKS:
                source(name)  # raises, with the near names
            cls, fixed = load(name)
            needed = cls.requires(**fixed)
            if not needed:
                _log(f"{name} needs no files")
            found.extend(needed)
        else:
            found.append(name)
    return list(dict.fromkeys(found))


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count else "-"


def _show_states(states: Iterable[State], as_json: bool) -> int:
    """One line a data set; 4 if any is not usable."""
    code = DONE
    for found in states:
        code = code if found.usable else DATA
        if as_json:
            print(json.dumps({**asdict(found), "usable": found.usable}))
        else:
            print(found.message)
            for line in found.problems[1:] if found.status == "altered" else ():
                print(f"  {line}")
    return code


def _details(name: str, known: Source, found: State) -> None:
    print(f"{name}: {known.title}\n  state     {found.message}\n  licence   {known.licence}")
    print(f"  cite      {known.citation}\n  page      {known.homepage}")
    for raw in known.files:
        print(f"  file      {raw.path}\n            sha256 {raw.sha256 or '(official one not known)'}")
    for download in known.downloads:
        print(f"  download  {download.file}, {_size(download.bytes or 0)}, sha256 {download.sha256 or '(not known)'}")
        for mirror in download.mirrors:
            print(f"            {mirror.url}{'' if mirror.tried else ' (never tried)'}")


def _list(args: argparse.Namespace) -> int:
    from tasks.sources import SOURCES, state

    names = _data_names(args.names, SOURCES)
    states = {name: state(name, args.data_dir) for name in names}
    if args.json:
        for name, found in states.items():
            print(json.dumps({**asdict(found), **asdict(SOURCES[name])}))
    elif args.names:
        for name, found in states.items():
            _details(name, SOURCES[name], found)
    else:
        print(f"{'name':9} {'state':10} {'size':>9}  what")
        for name, found in states.items():
            print(f"{name:9} {found.status:10} {_size(found.bytes):>9}  {SOURCES[name].title}")
    return DONE


def _fetch(args: argparse.Namespace) -> int:
    from tasks.preparing import prepare
    from tasks.sources import SOURCES, data_root, ensure

    names = _data_names(args.names, (name for name in SOURCES if name != "glove"))
    states = [ensure(name, args.data_dir, log=_log) for name in names]
    for found in states:
        prepare(found, data_root(args.data_dir), log=_log)
    return _show_states(states, args.json)


def _verify(args: argparse.Namespace) -> int:
    from tasks.sources import SOURCES, verify

    states = [verify(name, args.data_dir) for name in _data_names(args.names, SOURCES)]
    if not args.names:
        states = [found for found in states if found.status != "missing"]
    return _show_states(states, args.json)


def _import(args: argparse.Namespace) -> int:
    from tasks.preparing import prepare
    from tasks.sources import data_root, import_path

    states = import_path(args.path, args.data_dir, log=_log)
    if not args.no_parse:
        for found in states.values():
            prepare(found, data_root(args.data_dir), log=_log)
    return _show_states(states.values(), args.json)


def _where(args: argparse.Namespace) -> int:
    from tasks.sources import SOURCES, data_root

    root = data_root(args.data_dir).absolute()
    files = {name: [str(root / raw.path) for raw in SOURCES[name].files] for name in _data_names(args.names, ())}
    if args.json:
        print(json.dumps({"root": str(root), "files": files}))
    else:
        for path in [path for paths in files.values() for path in paths] if args.names else [root]:
            print(path)
    return DONE


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    actions = {"list": _list, "fetch": _fetch, "verify": _verify, "import": _import, "where": _where}
    return cli.guarded(_parser(), lambda args: actions[args.action](args), argv)


if __name__ == "__main__":
    sys.exit(main())
