"""Builds the library of a cell at first use and keeps it in the user's cache.

One library a cell: ``scan.cpp`` with the header of the cell's functor. The name of a library is a hash of the sources,
the command, the compiler's version and the processor's features, so that a cache may be shared by machines and
survives updates. A build goes to a temporary file that is renamed when it is whole: several processes may build at once
(a lock keeps them from doing so in vain), and an interrupted build leaves nothing that is read.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import platformdirs

HERE = Path(__file__).parent
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", "-Wno-psabi",
    # never -ffast-math: it switches flush-to-zero on for whoever loads the library, and hides NaN
    "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
)  # fmt: skip
SOURCES = ("vector.hpp", "gemm.hpp", "scan.hpp", "forward.hpp", "backward.hpp", "scan.cpp")
SECONDS = 300  # a build takes about three seconds; this is for a machine under heavy load


class BuildError(RuntimeError):
    """A library that cannot be built or loaded; the message is one line."""


def functor_path(functor: str | Path) -> Path:
    """The header of a functor: a name in ``cells/``, or a path of one's own."""
    path = Path(functor)
    return path if path.suffix else HERE / "cells" / f"{functor}.hpp"


@functools.cache
def compiler() -> list[str]:
    """The compiler's command: $CXX, else g++, else clang++.

    Raises:
        BuildError: there is none.
    """
    stated = os.environ.get("CXX", "").strip()
    for name in [stated] if stated else ["g++", "clang++"]:
        words = shlex.split(name)
        found = shutil.which(words[0]) if words else None
        if found:
            return [found, *words[1:]]
    wanted = f"CXX={stated}" if stated else "g++ or clang++"
    raise BuildError(f"no C++ compiler found (wanted {wanted}; install one, or use --engine fused)")


@functools.cache
def _processor() -> str:
    """What ``-march=native`` depends on."""
    features = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        wanted = ("flags", "Features", "model name", "CPU part")
        lines = info.read_text(errors="replace").split("\n\n")[0].splitlines()
        features = "\n".join(line for line in lines if line.startswith(wanted))
    return "\n".join((platform.system(), platform.machine(), platform.processor(), features))


@functools.cache
def _compiler_version() -> str:
    done = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(compiler())} --version fails: {(done.stderr or done.stdout).strip()[:200]}")
    return done.stdout


def cache_dir() -> Path:
    """Where libraries are kept: the user's cache folder."""
    return Path(platformdirs.user_cache_dir("rnnbench")) / "native"


def key(functor: str | Path, extra: tuple[str, ...] = ()) -> str:
    """The hash that names a library."""
    digest = hashlib.sha256()
    files = [*(HERE / name for name in SOURCES), functor_path(functor)]
    for part in (
        *(f.read_bytes() for f in files),
        " ".join((*compiler(), *FLAGS, *extra)).encode(),
        _compiler_version().encode(),
        _processor().encode(),
    ):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:24]


def _compile(functor: str | Path, target: Path, extra: tuple[str, ...]) -> None:
    """Compile to a temporary file beside the target and rename it."""
    header = functor_path(functor).resolve()
    handle, name = tempfile.mkstemp(prefix=f".building-{target.stem}-", suffix=".so", dir=target.parent)
    os.close(handle)
    try:
        command = [
            *compiler(), *FLAGS, *extra, f"-I{HERE}", f'-DCELL="{header}"', str(HERE / "scan.cpp"), "-o", name
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            raise BuildError(
                f"{compiler()[0]} cannot compile {header.name}: {lines[0].strip() if lines else 'no message'}"
            )
        Path(name).chmod(0o755)
        Path(name).replace(target)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{compiler()[0]} took more than {SECONDS} s on {header.name}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def library(functor: str | Path, *, folder: Path | None = None, extra: tuple[str, ...] = ()) -> Path:
    """The path of a functor's library, built if it is not there.

    Args:
        functor: a name in ``cells/``, or the path of a header that defines ``struct Cell``.
        folder: where to keep it; the user's cache by default.
        extra: further compiler options (sanitizers).

    Raises:
        BuildError: no compiler, sources that do not compile, or a folder that cannot be written.
    """
    if not functor_path(functor).is_file():
        raise BuildError(f"no functor at {functor_path(functor)}")
    folder = cache_dir() if folder is None else folder
    target = folder / f"{functor_path(functor).stem}-{key(functor, extra)}.so"
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{target.stem}.lock").open("w") as lock:
            _lock(lock.fileno())
            if not target.is_file():
                for left in folder.glob(f".building-{target.stem}-*"):  # by a build that was killed: the lock is ours
                    left.unlink(missing_ok=True)
                _compile(functor, target, extra)
    except OSError as error:
        raise BuildError(f"the library cannot be written to {folder}: {error.strerror or error}") from error
    return target


def _lock(descriptor: int) -> None:
    """Wait for the lock where the system has one; the system drops it with the process. The rename is safe without."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)


@functools.cache
def load(functor: str | Path) -> ctypes.CDLL:
    """Load a functor's library, building it first where needed.

    Raises:
        BuildError: it cannot be built or loaded.
    """
    path = library(functor)
    try:
        return ctypes.CDLL(str(path))  # CDLL calls without the interpreter's lock
    except OSError as error:
        raise BuildError(f"{path.name} cannot be loaded: {error}") from error
