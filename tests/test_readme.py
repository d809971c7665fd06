"""The README's commands run, its links lead somewhere, its Python works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip()
    for kind, text in BLOCKS
    if kind == "sh"
    for line in text.splitlines()
    if "-m suite." in line and ".venv" not in line
]


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse_and_plan(command, zygote, tmp_path):
    """Each command as written; those that would compute for hours run as a plan, or ask for their help."""
    words = shlex.split(command)
    module, argv = words[2], words[3:]
    if module == "suite.run":
        argv += [] if "--dry-run" in argv else ["--dry-run"]
        driver = zygote.start([*argv, "--results-dir", str(tmp_path / "results")], tmp_path)
        assert driver.wait() == 0, driver.err.read_text()
        assert driver.out.read_text()
        return
    if module == "suite.list":
        argv += ["--results-dir", str(tmp_path)]
    else:
        known = subprocess.run(
            [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert known.returncode == 0, known.stderr
        assert all(word in known.stdout for word in argv if word.startswith("--"))
        return
    done = subprocess.run([sys.executable, "-m", module, *argv], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text) + re.findall(r'src="([^"]+)', text):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_make_has_the_two_targets_of_the_readme():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^run: ", makefile, re.MULTILINE) and re.search(r"^test: ", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_exit_codes_are_those_of_the_code():
    from suite import errors

    text = README.partition("## Exit codes")[2].partition("##")[0]
    for name in ("DONE", "SOME_FAILED", "USAGE", "REGRESSION", "DATA", "CANNOT_WRITE", "INTERRUPTED", "TERMINATED"):
        assert re.search(rf"\b{getattr(errors, name)}\b", text), name
