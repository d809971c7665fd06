"""``python -m suite.speed``: training steps of every engine beside the plain loop, interleaved in one process."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import cli
from suite.errors import DONE, REGRESSION, SOME_FAILED, UsageError, unknown

if TYPE_CHECKING:
    from suite.benchmark.session import Wanted

_EPILOG = """\
engines: loop (as published coRNN code writes it), torch (torch.nn.LSTM, RNN),
reference, fused, native, triton, graph. The table's last column is the ratio of
medians, loop over engine. With --precision float32,tf32 --seeds 1,16 there is
a triton-tf32 too, and a triton-tf32-x16: 16 seeds in one step, whose ratio is
over 16 steps of the loop (always float32). --gate compares ratios, never
seconds, with the baseline that --save-baseline stored for this processor; one
thread alone. An engine of the baseline that runs no more is a regression.
exit codes: 0 measured, 1 something was not timed (its engines differ, memory
ran out, or it raised), 2 usage, 3 regression, 5 cannot write.
"""
ALWAYS = ("psmnist", "har2")  # every model is measured at these; coRNN at every shape
MOST_SEEDS = 1024
TOLERANCE = 0.2  # two shared cores are noisy: a ratio may be this much below its baseline, measured twice


def _parser() -> argparse.ArgumentParser:
    p = cli.parser("speed", "Measure training steps of the engines against the plain loop.", _EPILOG)
    what = p.add_argument_group("what is measured")
    what.add_argument(
        "--models",
        metavar="A,B",
        help="names, or my.pkg:MyRNN (default: cornn at every shape, all at psmnist and har2)",
    )
    what.add_argument(
        "--shapes", metavar="A,B", help="psmnist, psmnist-256, adding, adding-2000, har2, imdb, noisy_cifar"
    )
    what.add_argument("--engines", metavar="A,B", help="default: every one that runs here, but for reference and graph")
    what.add_argument("--threads", metavar="1,2", default="1,2", help="numbers of threads on a CPU, default 1,2")
    what.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu (default), cuda, cuda:1, auto")
    what.add_argument("--precision", metavar="A,B", default="float32", help="float32 (default), tf32, bf16")
    what.add_argument("--seeds", metavar="1,16", default="1", help="numbers of seeds side by side, default 1")
    what.add_argument("--overhead", action="store_true", help="measure the runner's own share of a step as well")
    how = p.add_argument_group("how")
    how.add_argument("--seconds", type=cli.seconds, default=20.0, metavar="S", help="a shape, model and thread count")
    how.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, one thread alone")
    how.add_argument("--quick", action="store_true", help="a short look: har2, cornn and lstm, one thread, 2 s each")
    how.add_argument("--gate", action="store_true", help="exit 3 where a ratio fell below the baseline")
    how.add_argument("--save-baseline", action="store_true", help="store the ratios as this processor's baseline")
    how.add_argument("--tolerance", type=float, default=TOLERANCE, metavar="F", help=f"of --gate, default {TOLERANCE}")
    how.add_argument("--json", action="store_true", help="one JSON object a row on stdout")
    cli.add_folders(p)
    return p


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _known(text: str, option: str, known: tuple[str, ...]) -> tuple[str, ...]:
    found = cli.names(text, option)
    for name in found:
        if name not in known:
            raise UsageError(f"{option}: {unknown(option.removeprefix('--').removesuffix('s'), name, known)}")
    return found


def _numbers(text: str, option: str, most: int) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        found = ()
    if not found or not 1 <= min(found) <= max(found) <= most:
        raise UsageError(f"{option}: wanted whole numbers from 1 to {most}, got {text!r}")
    return found


def wanted(args: argparse.Namespace) -> Wanted:
    """What the options ask for.

    Raises:
        UsageError: an unknown name, or a device that is not there.
    """
    import torch

    from models import MODELS
    from suite.benchmark.contenders import LOOP, ORDER, Contender
    from suite.benchmark.judge import CLOSE
    from suite.benchmark.session import Wanted
    from suite.benchmark.shapes import SHAPES
    from suite.names import resolve
    from suite.work import launch

    quick = args.quick
    models = cli.names(args.models, "--models") if args.models else ("cornn", "lstm") if quick else None
    for name in models or ():
        resolve("model", name)
    shapes = _known(args.shapes, "--shapes", tuple(SHAPES)) if args.shapes else ("har2",) if quick else None
    default = tuple(e for e in ORDER if e not in ("reference", "graph"))
    engines = _known(args.engines, "--engines", ORDER) if args.engines else default
    if not 0 <= args.tolerance < 1:
        raise UsageError(f"--tolerance: wanted a fraction in [0, 1), got {args.tolerance}")
    device = torch.device(launch.devices(args.device)[0])
    rounding = _known(args.precision, "--precision", tuple(CLOSE))
    precisions = [name for name in CLOSE if name in rounding]  # the most exact first: the others are compared with it
    seeds = _numbers(args.seeds, "--seeds", MOST_SEEDS)
    pairs = tuple(
        (SHAPES[s], m)
        for s in shapes or SHAPES
        for m in models or MODELS
        if m == "cornn" or models is not None or shapes is not None or s in ALWAYS
    )
    alone = (quick or args.clock == "cpu") and args.threads == "1,2"
    threads = (1,) if alone else _numbers(args.threads, "--threads", cli.MOST_THREADS)
    if args.clock == "cpu" and (threads != (1,) or device.type != "cpu"):
        raise UsageError("--clock cpu: processor time compares steps of one thread on a cpu: add --threads 1")
    seconds = min(2.0, args.seconds) if quick else args.seconds
    contenders = [Contender(LOOP)] if LOOP in engines else []
    contenders += [
        Contender(engine, precision, many)
        for engine in ORDER if engine in engines and engine != LOOP
        for precision in precisions for many in seeds
    ]  # fmt: skip
    return Wanted(pairs, tuple(contenders), threads, device, seconds, 3 if quick else 5, args.clock)


def _machine(device: Any) -> dict[str, Any]:
    import torch

    from suite.work import provenance

    gpu = provenance.gpu_name(device)
    head, dirty = provenance.commit()
    return {
        "cpu": provenance.processor(),
        "capability": provenance.capability(),
        "features": provenance.features(),
        "gpu": gpu,
        "driver": provenance.gpu_driver() if gpu else None,
        "cuda": torch.version.cuda if gpu else None,
        "libraries": provenance.libraries(),
        "commit": head,
        "dirty": dirty,
    }


def _slug(machine: dict[str, Any]) -> str:
    """A processor's (or GPU's) name as a file name; instruction sets tell virtual machines apart."""
    words = machine["gpu"] or " ".join((machine["cpu"], *machine["features"][-2:]))
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _store(path: Path, content: dict[str, Any]) -> None:
    from suite.files import write_atomic

    write_atomic(path, json.dumps(content, indent=1) + "\n")


def _gate(rows: list[dict[str, Any]], baseline: Path, args: argparse.Namespace, asked: Wanted, wrong: list[str]) -> int:
    """Compare with the baseline; what fell is measured once more before it counts."""
    from dataclasses import replace

    from suite.benchmark import session, table

    stored = _read(baseline)["rows"]
    lost = table.missing(rows, stored, pairs=[(s.name, m) for s, m in asked.pairs], engines=asked.names)
    if not lost and not wrong and not table.compared(rows, stored):
        raise UsageError(f"--gate: {baseline} has no ratio for what was measured (one thread, with the loop)")
    fallen = table.regressions(rows, stored, tolerance=args.tolerance)
    if fallen:
        _say("measuring again what fell below the baseline")
        names = {(row["shape"], row["model"]) for row in rows if table.key(row) in fallen}
        pairs = tuple((s, m) for s, m in asked.pairs if (s.name, m) in names)
        again = list(session.measure(replace(asked, pairs=pairs, threads=(1,)), _say, wrong))
        told = {table.key(row) for row in again if row["ratio_to_loop"]}  # what was not measured again stays fallen
        held = told - set(table.regressions(again, stored, tolerance=args.tolerance))
        fallen = {key: line for key, line in fallen.items() if key not in held}
    for line in (*lost, *fallen.values()):
        _say(f"regression: {line}")
    if not lost and not fallen:
        _say(f"no regression: {table.compared(rows, stored)} ratios within {args.tolerance:.0%} of {baseline}")
    return REGRESSION if lost or fallen else DONE


def _read(baseline: Path) -> dict[str, Any]:
    """A stored baseline.

    Raises:
        UsageError: it is damaged.
    """
    from suite.benchmark import table

    try:
        stored = dict(json.loads(baseline.read_text(encoding="utf-8")))
        for row in stored["rows"]:
            if row["engine"] != "runner":
                table.key(row), row["ratio_to_loop"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{baseline}: no baseline that can be read ({error}): remove it, store a new one") from error
    return stored


def _check_baseline(baseline: Path, args: argparse.Namespace, asked: Wanted) -> None:
    """Before anything is measured: the baseline is there to compare with, and is not replaced by a part of itself.

    Raises:
        UsageError: it is not.
    """
    if not baseline.is_file():
        if args.gate:
            raise UsageError(f"--gate: no baseline for this processor ({baseline}): store one with --save-baseline")
        return
    stored = _read(baseline)
    clock = stored.get("clock", "wall")
    if args.gate and clock != args.clock:
        raise UsageError(f"--gate: {baseline} was measured with --clock {clock}: measure with the same one")
    pairs = {(shape.name, model) for shape, model in asked.pairs}
    kept = [
        row
        for row in stored["rows"]
        if row["engine"] in asked.names and (row["shape"], row["model"]) in pairs and row["threads"] in asked.threads
    ]
    gone = sum(row["engine"] != "runner" for row in stored["rows"]) - len(kept)
    if args.save_baseline and gone:
        raise UsageError(f"--save-baseline: {baseline} has {gone} rows that this would not measure: remove it first")


def _measured(args: argparse.Namespace, asked: Wanted, wrong: list[str]) -> Iterator[dict[str, Any]]:
    from suite.benchmark import session

    yield from session.measure(asked, _say, wrong)
    if args.overhead:
        from suite.benchmark.overhead import overhead_row

        yield overhead_row(seconds=args.seconds, say=_say, clock=args.clock, device=asked.device)


def _run(args: argparse.Namespace) -> int:
    from suite.benchmark import table
    from suite.work import provenance

    asked = wanted(args)
    machine, folder = _machine(asked.device), args.results_dir / "speed"
    baseline = folder / "baselines" / f"{_slug(machine)}.json"
    _check_baseline(baseline, args, asked)
    date, rows = provenance.now(), list[dict[str, Any]]()
    command = " ".join(("python -m suite.speed", *args.argv))
    content = {"schema": 1, "date": date, "machine": machine, "command": command, "clock": args.clock, "rows": rows}
    path, wrong = folder / f"{_slug(machine)}-{re.sub('[^0-9]', '', date)}.json", list[str]()
    try:
        for row in _measured(args, asked, wrong):
            rows.append(row)
            _store(path, content)  # at every row: nothing measured is lost, whatever ends this
            if args.json:
                print(json.dumps(row), flush=True)
    finally:
        if rows:
            _say(f"stored {path}")
    if not rows and not wrong:
        raise UsageError("nothing was measured: none of these engines runs these models here")
    if not args.json:
        for line in table.lines(rows):
            print(line)
    code = _gate(rows, baseline, args, asked, wrong) if args.gate else DONE
    code = code or (SOME_FAILED if wrong else DONE)
    if args.save_baseline and code == DONE:
        if baseline.is_file() and (gone := table.unmeasured(_read(baseline)["rows"], rows)):
            raise UsageError(f"--save-baseline: {baseline} has {gone} rows that were not measured now: remove it first")
        _store(baseline, content)
        _say(f"stored {baseline}")
    elif args.save_baseline:
        _say("no baseline is stored: see above")
    return code


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    p = _parser()
    p.set_defaults(argv=list(sys.argv[1:] if argv is None else argv))
    return cli.guarded(p, _run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
