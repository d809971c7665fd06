"""The wheel: all three packages with their data files, installed elsewhere, run from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    # hatchling is a pure build backend: called in this environment where it is there, else through pip
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = out.glob("rnnbench-*.whl")
    return found


def test_the_wheel_holds_every_package_and_data_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "models", "tasks", "suite"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    wanted = {name for name in tracked if name and (ROOT / name).exists()}
    assert wanted, "not a checkout"
    assert not wanted - names
    assert not [n for n in names if n.startswith(("tests/", "docs/", "results/"))]
    assert any(n.endswith("entry_points.txt") for n in names)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(place)  # what installing does for a pure wheel, without its dependencies
    return place


def run(installed: Path, folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run in ``folder`` with the unpacked wheel ahead of the checkout, as the console script would."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from suite.__main__ import main; sys.exit(main())"
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, str(installed), *argv],
        capture_output=True, text=True, cwd=folder, env=env, check=False,
    )  # fmt: skip


def test_the_installed_wheel_trains_a_plugin_of_the_current_folder(installed, tmp_path):
    package = tmp_path / "mypkg"
    package.mkdir()
    (package / "__init__.py").write_text((ROOT / "tests/plugins/tiny.py").read_text())
    argv = ("run", "--models", "mypkg:Leaky,cornn", "--tasks", "mypkg:Parity", "--epochs", "2", "--engine", "auto",
            "--set", "hidden_size=4")  # fmt: skip
    done = run(installed, tmp_path, *argv)
    assert done.returncode == 0, done.stderr
    records = sorted((tmp_path / "results" / "records").glob("*/*/*.json"))
    assert [p.parts[-3] for p in records] == ["cornn", "mypkg-Leaky"]
    assert "mypkg:Leaky" in done.stdout
    again = run(installed, tmp_path, *argv)
    assert "2 skipped" in again.stderr
    report = run(installed, tmp_path, "report")
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "reports").is_dir()


def test_a_users_own_models_folder_is_told(installed, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    env = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "suite.run", "--models", "cornn", "--tasks", "adding"],
        capture_output=True, text=True, cwd=tmp_path, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "package 'models' is taken from" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_unknown_commands_answer_with_the_known_ones(installed, tmp_path):
    done = run(installed, tmp_path, "runn")
    assert done.returncode == 2 and "wanted one of run, list, data" in done.stderr
    assert run(installed, tmp_path, "--help").returncode == 0
