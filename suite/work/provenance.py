"""Where a run ran: processor, GPU, versions, commit. None of it is part of the run's id."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import platform
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch

from suite.errors import UsageError, words
from suite.names import resolve
from suite.runs import Run
from suite.work.job import Settings

_DRIVERS = tuple(map(Path, ("/sys/module/nvidia/version", "/proc/driver/nvidia/version", "/sys/module/amdgpu/version")))
SUMMARY = 600  # characters of a description that a record keeps
_VERSION = re.compile(r"\d+(\.\d+)+")
_FEATURES = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")


def now() -> str:
    """UTC time, ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@functools.cache
def processor() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this code runs from, and whether it has uncommitted changes to code."""
    home = Path(__file__).resolve().parent.parent.parent
    if not (home / ".git").exists():
        return None, None
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=home, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        status = subprocess.run(
            ["git", "status", "--porcelain", "--", "models", "tasks", "suite"],
            cwd=home, capture_output=True, text=True, timeout=10, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None, None
    return head, bool(status.strip())


def libraries() -> dict[str, str]:
    """Versions of python, torch, numpy and this package; on a GPU of Triton and cuDNN as well."""
    found = {"python": platform.python_version()}
    gpu = torch.cuda.is_initialized()
    for name in ("torch", "numpy", "rnnbench", *(("triton",) if gpu else ())):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found | ({"cudnn": _cudnn()} if gpu else {})


def _cudnn() -> str:
    """Version of cuDNN, or why torch cannot use the one that the system found."""
    try:
        return str(torch.backends.cudnn.version())
    except RuntimeError as error:
        return words(error)


def capability() -> str:
    """What the processor offers, as torch sees it: AVX2, AVX512, ..."""
    return str(torch.backends.cpu.get_cpu_capability())


@functools.cache
def features() -> list[str]:
    """The processor's instruction sets that change the last bits of results."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    flags = next(
        (line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))), []
    )
    return [name for name in _FEATURES if name in flags]


def gpu_driver() -> str | None:
    """Version of the GPU's kernel driver; None where it cannot be read."""
    for path in _DRIVERS:
        if path.exists():
            found = _VERSION.search(path.read_text(errors="replace"))
            if found is not None:
                return found[0]
    return None


def gpu_name(device: torch.device) -> str | None:
    """The GPU's name; None on a CPU, and where no GPU answers (a record of that failure is still written)."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    try:
        return torch.cuda.get_device_name(device)
    except RuntimeError:
        return None


def plugins(run: Run) -> dict[str, str]:
    """Name -> hash of the file that holds its class, for a model and task that are not of this project.

    The commit does not tell of them. What that file imports in turn is not hashed.
    """
    modules = {run.model: _module("model", run.model), run.task: _module("task", run.task)}
    return {name: found for name, module in modules.items() if (found := _hash(module)) is not None}


def changed(run: Run, then: Mapping[str, str] | None) -> set[str]:
    """Names of the run's plug-ins whose file is another than it was ``then`` (``plugins`` of that time)."""
    if not then:
        return set()
    try:
        now = plugins(run)
    except UsageError:  # the class is gone, and what was made is good without it
        return set()
    return {name for name in then if name in now and now[name] != then[name]}


def described(run: Run) -> dict[str, dict[str, str]]:
    """Name -> what its class says of itself, for the names of ``plugins``.

    ``summary`` (the docstring's first paragraph), ``source``, and ``title`` where it has one.

    A report knows no more of them: it imports neither. What the class inherits is not said of it.
    """
    classes = {run.model: resolve("model", run.model).cls, run.task: resolve("task", run.task).cls}
    found = {}
    for name in plugins(run):
        summary, source, title = (vars(classes[name]).get(key) for key in ("__doc__", "source", "title"))
        first = inspect.cleandoc(summary).partition("\n\n")[0] if isinstance(summary, str) else ""
        found[name] = {"summary": _short(first), "source": _short(source if isinstance(source, str) else "")}
        found[name] |= {"title": _short(title)} if isinstance(title, str) and title.strip() else {}
    return found


def _short(text: str) -> str:
    """One line that UTF-8 can write, cut between two words."""
    plain = text.encode("utf-8", "replace").decode()
    return textwrap.shorten(plain, SUMMARY, placeholder=" …")


@functools.cache
def _module(kind: Literal["model", "task"], name: str) -> str:
    return str(resolve(kind, name).cls.__module__)


@functools.cache
def _hash(module: str) -> str | None:
    """Of the module's file when this was first asked: what is imported stays, whatever becomes of the file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if module.partition(".")[0] in ("models", "tasks") or file is None:
        return None
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]
    except OSError:  # of a package that is no file
        return None


def leg(settings: Settings, *, engine: str, together: int) -> dict[str, Any]:
    """What a part of a resumed run may have had otherwise than the last one: its seconds do not compare then."""
    found = where(settings, engine=engine)
    names = ("cpu", "gpu", "threads", "engine", "shared_device")
    return {name: found[name] for name in names} | {"seeds_together": together}


def where(settings: Settings, *, engine: str) -> dict[str, Any]:
    """The provenance fields that are known before the run ends.

    Args:
        settings: how the run is run.
        engine: the engine that runs, not the one asked for by auto.
    """
    device = torch.device(settings.device)
    head, dirty = commit() if settings.code is None else settings.code
    gpu = gpu_name(device)
    return {
        "cpu": processor(),
        "capability": capability(),
        "features": features(),
        "gpu": gpu,
        "driver": gpu_driver() if gpu else None,
        "cuda": torch.version.cuda if gpu else None,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "host": hashlib.sha256(platform.node().encode()).hexdigest()[:8],
        "threads": settings.threads,
        "engine": engine,
        "deterministic": settings.deterministic,
        "libraries": libraries(),
        "commit": head,
        "dirty": dirty,
        "shared_device": settings.shared_device,
    }
