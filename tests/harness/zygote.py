"""Starts real driver processes in milliseconds: a process that loaded torch once forks and calls ``suite.run.main``.

Run as ``python -m tests.harness.zygote``: one JSON request a line on stdin, one JSON answer a line on stdout.
``Zygote`` is the other end.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PRELOAD = (  # what a driver and its workers import
    "torch._dynamo", "suite.merge", "suite.report.summary", "suite.run", "suite.work.checks", "suite.work.driver",
    "suite.work.executors.inline", "suite.work.executors.processes", "suite.work.launch", "tests.plugins.faults",
)  # fmt: skip
TOKEN = "RNNBENCH_TEST_TOKEN"  # in the environment of a driver and of all that it starts


class Driver:
    """A driver process.

    Attributes:
        pid: also its process group and session.
        out: file of its stdout.
        err: file of its stderr.
        code: exit code, negative for a signal; None while it runs.
    """

    def __init__(self, zygote: Zygote, pid: int, out: Path, err: Path, token: str) -> None:
        self.zygote, self.pid, self.out, self.err, self.token = zygote, pid, out, err, token
        self.code: int | None = None
        self.ended = threading.Event()

    def wait(self, timeout: float = 60.0) -> int:
        if not self.ended.wait(timeout):
            raise TimeoutError(f"driver {self.pid} still runs after {timeout} s:\n{self.err.read_text()}")
        assert self.code is not None
        return self.code

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        os.killpg(self.pid, number)

    def family(self) -> list[int]:
        """Processes that carry the driver's token: itself, fork server, tracker, workers. Zombies are gone."""
        return [pid for pid, words in processes() if f"{TOKEN}={self.token}".encode() in words]

    def servers(self) -> list[int]:
        """The driver's fork server."""
        mine = [pid for pid in self.family() if parent(pid) == self.pid]
        return [pid for pid in mine if b"multiprocessing.forkserver" in _read(pid, "cmdline")]

    def workers(self) -> list[int]:
        """Processes that the fork server forked."""
        family, servers = self.family(), set(self.servers())
        return [pid for pid in family if parent(pid) in servers]

    def spawned(self) -> list[int]:
        """Workers that the driver started itself."""
        mine = [pid for pid in self.family() if parent(pid) == self.pid]
        return [pid for pid in mine if b"multiprocessing.spawn" in _read(pid, "cmdline")]

    def until(self, good, timeout: float = 30.0) -> None:
        """Wait until ``good()``, as long as the driver runs."""
        end = time.monotonic() + timeout
        while not good():
            if self.ended.is_set():
                raise AssertionError(f"the driver ended with {self.code}:\n{self.err.read_text()}")
            if time.monotonic() > end:
                raise TimeoutError(f"nothing came in {timeout} s:\n{self.err.read_text()}")
            time.sleep(0.01)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def processes() -> list[tuple[int, bytes]]:
    """Every process with its environment; a zombie's is empty."""
    return [(int(p.name), _read(int(p.name), "environ")) for p in Path("/proc").iterdir() if p.name.isdigit()]


class Zygote:
    """The test's end."""

    def __init__(self) -> None:
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.zygote"], cwd=ROOT, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.drivers: dict[int, Driver] = {}
        self.count = 0
        self._answers: list[dict] = []
        self._codes: dict[int, int] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            answer = json.loads(line)
            with self._changed:
                if "code" in answer:
                    self._codes[answer["pid"]] = answer["code"]
                    self._settle()
                else:
                    self._answers.append(answer)
                self._changed.notify_all()

    def _settle(self) -> None:
        for pid in list(self._codes):
            if pid in self.drivers:
                driver = self.drivers.pop(pid)
                driver.code = self._codes.pop(pid)
                driver.ended.set()

    def start(self, argv: list[str], folder: Path, *, env: dict[str, str] | None = None, cwd: Path = ROOT,
              limits: dict[str, int] | None = None, stderr: int | None = None) -> Driver:  # fmt: skip
        """Start ``suite.run.main(argv)`` in a process and session of its own.

        Args:
            argv: arguments.
            folder: where stdout and stderr are written.
            env: added to the environment.
            cwd: its folder.
            limits: names of ``resource`` and values.
            stderr: a file descriptor of this process in place of a file.
        """
        self.count += 1
        token = f"{os.getpid()}-{id(self)}-{self.count}"
        folder.mkdir(parents=True, exist_ok=True)
        out, err = folder / f"{self.count}.out", folder / f"{self.count}.err"
        err.touch()
        given = f"/proc/{os.getpid()}/fd/{stderr}" if stderr is not None else str(err)
        request = {"argv": argv, "out": str(out), "err": given, "env": {TOKEN: token, **(env or {})},
                   "cwd": str(cwd), "limits": limits or {}}  # fmt: skip
        with self._changed:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            if not self._changed.wait_for(lambda: self._answers, timeout=120):
                raise TimeoutError("the zygote does not answer")
            driver = Driver(self, self._answers.pop()["pid"], out, err, token)
            self.drivers[driver.pid] = driver
            self._settle()
        return driver

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


def _answer(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _drive(request: dict) -> int:
    """The child: becomes a driver."""
    os.setsid()
    os.chdir(request["cwd"])
    # multiprocessing hands os.environ to what it starts; /proc shows the environment a process was started with
    os.environ.update(request["env"])
    sys.path.insert(0, request["cwd"])  # as python -m does
    tempfile.tempdir = None  # what TMPDIR says, if anything has asked before
    for name, value in request["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    for number, path in ((1, request["out"]), (2, request["err"])):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from suite.run import main

    try:
        return main(request["argv"])
    except BaseException:
        traceback.print_exc()
        return 99


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _answer(pid=pid, code=os.waitstatus_to_exitcode(status))


def serve() -> None:
    """The zygote's main."""
    for name in PRELOAD:
        importlib.import_module(name)

    awake, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    chooser = selectors.DefaultSelector()
    chooser.register(sys.stdin, selectors.EVENT_READ)
    chooser.register(awake, selectors.EVENT_READ)
    while True:
        for key, _ in chooser.select():
            if key.fileobj == awake:
                os.read(awake, 4096)
                _reap()
                continue
            line = sys.stdin.readline()
            if not line:
                return
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                code = _drive(json.loads(line))
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            _answer(pid=pid)


if __name__ == "__main__":
    serve()
