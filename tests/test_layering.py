"""Who may import whom (DESIGN section 4), and what `--help` may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIRST_PARTY = ("models", "tasks", "suite")
LIGHT = ("values", "names", "runs", "keys", "sections", "recipes", "plan", "fields", "record", "store", "errors",
         "files")  # fmt: skip
HEAVY = {"torch", "torchvision", "torchtext", "spacy", "numpy", "pandas", "matplotlib", "scipy", "jinja2", "ray",
         "triton", "optuna", "tensorboard", "mlxtend", "rich"}  # fmt: skip


def modules() -> dict[str, Path]:
    found = {}
    for package in FIRST_PARTY:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path, *, everywhere: bool) -> set[str]:
    """Absolute names imported at module level (or anywhere), TYPE_CHECKING blocks left out."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not everywhere:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(names & set(MODULES))
            if not names <= set(MODULES):  # something of the module itself
                found.add(node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("name", [m for m in MODULES if m.startswith("models")])
def test_models_import_models_alone(name):
    found = imports(MODULES[name], everywhere=True)
    assert top(found) & set(FIRST_PARTY) <= {"models"}
    if not name.startswith("models.scan.triton"):
        assert "triton" not in top(imports(MODULES[name], everywhere=False))


@pytest.mark.parametrize("name", [m for m in MODULES if m.startswith("tasks")])
def test_tasks_import_tasks_alone(name):
    assert top(imports(MODULES[name], everywhere=True)) & set(FIRST_PARTY) <= {"tasks"}
    heavy = {"torchvision", "torchtext", "spacy", "mlxtend"}
    assert not top(imports(MODULES[name], everywhere=False)) & heavy


@pytest.mark.parametrize("name", ["models", "tasks", "suite", "tasks.sources"])
def test_package_roots_import_nothing_heavy(name):
    assert not top(imports(MODULES[name], everywhere=False)) & HEAVY


@pytest.mark.parametrize("name", [f"suite.{m}" for m in LIGHT])
def test_planning_imports_nothing_heavy(name):
    found = imports(MODULES[name], everywhere=False)
    assert not top(found) & HEAVY
    first = {f for f in found if f.partition(".")[0] in FIRST_PARTY}
    assert first <= {"suite", *(f"suite.{m}" for m in LIGHT)}


@pytest.mark.parametrize("name", [m for m in MODULES if m.startswith("suite.report")])
def test_reports_read_records_alone(name):
    found = imports(MODULES[name], everywhere=True)
    first = {f for f in found if f.partition(".")[0] in FIRST_PARTY and not f.startswith("suite.report")}
    assert first <= {"suite", "suite.record", "suite.store", "suite.errors", "suite.runs", "suite.cli"}
    assert "torch" not in top(found)


@pytest.mark.parametrize("name", [m for m in MODULES if m.startswith("suite.work")])
def test_work_reaches_plugins_through_names_alone(name):
    found = imports(MODULES[name], everywhere=True)
    allowed = {
        "models",
        "models.classifier",
        "models.contract",
        "models.scan",
        "models.stacked",
        "tasks",
        "tasks.contract",
        "tasks.sources",
    }
    plugins = {f for f in found if f.partition(".")[0] in ("models", "tasks")}
    assert all(p in allowed or p.startswith("models.scan") for p in plugins), plugins - allowed
    if not name.startswith("suite.work.executors.ray_"):
        assert "ray" not in top(found)


def test_the_fork_server_loads_what_it_names():
    """It passes over a name that cannot be imported, and with it over what the module does to every worker."""
    from suite.work.executors.forkserver import PRELOAD

    own = {name for name in PRELOAD if name.partition(".")[0] in FIRST_PARTY}
    assert own <= set(MODULES) and len(own) == len(PRELOAD) - 1


def test_no_import_cycle():
    """Imports inside functions count too."""
    graph = {m: {i for i in imports(p, everywhere=True) if i in MODULES and i != m} for m, p in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail, module])
        if module not in done:
            for other in graph[module]:
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    "path", [*MODULES.values(), *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_file_grows_into_a_centre(path):
    lines = len(path.read_text().splitlines())
    assert lines <= (400 if {"triton", "tests"} & set(path.relative_to(ROOT).parts) else 320)


COMMANDS = ("run", "list", "check", "data", "merge", "report", "speed", "tune", "theory")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_no_torch_and_names_the_exit_codes_or_options(command):
    code = f"""
import sys, runpy
sys.argv = ["x", "--help"]
try:
    runpy.run_module("suite.{command}", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {sorted(HEAVY)!r}
assert not [h for h in heavy if h in sys.modules], [h for h in heavy if h in sys.modules]
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert out.returncode == 0, out.stderr
    assert "usage: " in out.stdout
    assert max(map(len, out.stdout.splitlines())) <= 100
