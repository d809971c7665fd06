"""Sections of recipe files that no call would ever use: refused, with the right spelling."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from suite import recipes
from suite.errors import UsageError
from suite.list import main as listed
from suite.names import resolve
from suite.plan import Request, expand
from suite.run import main
from suite.work.tuning.search import space

MODEL = "tests.plugins.tiny:Leaky"
HEAD = '[default]\nsource = "default: x"\nhidden_size = 4\nbatch_size = 2\nepochs = 1\nlr = 0.1\n'
SECTION = '{name}\nsource = "set: x"\nlr = 0.5\n'


def written(folder: Path, name: str, head: str = HEAD) -> Path:
    (folder / "adding.toml").write_text(head + SECTION.format(name=name), encoding="utf-8")
    return folder


def said(folder: Path, capsys, *more: str, model: str = MODEL) -> str:
    """The one line that the command ends with; nothing where it plans."""
    words = ["--models", model, "--tasks", "adding", "--recipes", str(folder), "--dry-run", *more]
    code, err = main(words), capsys.readouterr().err
    assert code == (2 if err else 0) and len(err.splitlines()) <= 1, err
    return err


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (f'["search.{MODEL}"]', f'["search.{MODEL}"]: one quoted name, of no model: wanted [search."'),
        (f'["tuned.{MODEL}"]', f'wanted [tuned."{MODEL}"]'),
        (f'["quick.{MODEL}"]', f'wanted [quick."{MODEL}"]'),
        (f'["quick.tuned.{MODEL}"]', f'wanted [quick.tuned."{MODEL}"]'),
        (f'[quick."search.{MODEL}"]', f'one quoted name, of no model: wanted [quick.search."{MODEL}"]'),
        (f'[search."tuned.{MODEL}"]', f'wanted [search."{MODEL}"]'),
        ('["tuned.cornn"]', "wanted [tuned.cornn]"),
        (f'["{MODEL}.sources"]', f'wanted ["{MODEL}".sources]'),
        ('["my pkg:MyRNN"]', "wanted a model's name or my.pkg:MyRNN in quotes"),
        (f'["{MODEL}y"]', f'module tests.plugins.tiny has no Leakyy: did you mean ["{MODEL}"]?'),
        ('["tests.plugins.tiny:leaky"]', f'did you mean ["{MODEL}"]?'),
        ('["tests.plugins.broken:Raise"]', 'did you mean ["tests.plugins.broken:Raises"]?'),
        (f'[search."{MODEL}y"]', f'module tests.plugins.tiny has no Leakyy: did you mean [search."{MODEL}"]?'),
        ('["tests.plugins.tiny:Nothing"]', "module tests.plugins.tiny has no Nothing"),
        ('["tests.plugins.tiny:Parity"]', "wanted a subclass of models.contract.Recurrence"),
        ('["tests.plugins.tiy:Leaky"]', f'its class was not found: did you mean ["{MODEL}"]?'),
        ('[tests.plugins.tiny:Leaky]', f'a plug-in\'s name is quoted: wanted ["{MODEL}"]'),
        ('[quick.search.tests.plugins.tiny:Leaky]', f'a plug-in\'s name is quoted: wanted [quick.search."{MODEL}"]'),
        ('[tests.plugins.tiny:Leaky.sources]', f'a plug-in\'s name is quoted: wanted ["{MODEL}".sources]'),
        ("[cornnn]", "[cornnn]: unknown (or not installed) model 'cornnn': did you mean cornn"),
    ],
)  # fmt: skip
def test_a_misnamed_section_is_refused_with_the_right_name(name, wanted, tmp_path, capsys):
    line = said(written(tmp_path, name), capsys)
    assert wanted in line and str(tmp_path / "adding.toml") in line


@pytest.mark.parametrize(
    "name",
    [
        f'["{MODEL}"]', f'[search."{MODEL}"]', f'[tuned."{MODEL}"]', f'[quick."{MODEL}"]', f'[quick.tuned."{MODEL}"]',
        f'["{MODEL}".sources]',
        '["tests.plugins.deep:OwnLayers"]',  # of a module that is here and not imported
        '["somebody.elses:MGU"]', '[search."somebody.elses:MGU"]',  # of one that is not here
        '["tests.elsewhere.nets:Leaky"]',
    ],
)  # fmt: skip
def test_a_section_that_some_call_uses_is_no_trouble(name, tmp_path, capsys):
    assert said(written(tmp_path, name), capsys) == ""


def test_a_near_name_is_another_plugins_where_the_model_has_its_own(tmp_path, capsys):
    own = HEAD + f'["{MODEL}"]\n'
    assert said(written(tmp_path, '["tests.plugins.tiy:Leaky"]', own), capsys) == ""
    assert said(written(tmp_path, '["tests.plugins.tiy:Leaky"]'), capsys, model="cornn") == ""


def test_near_names_count_where_the_call_looks(tmp_path, capsys):
    written(tmp_path, '[tuned."tests.plugins.tiy:Leaky"]')
    assert said(tmp_path, capsys) == ""
    recipes.read.cache_clear()
    assert f'[tuned."{MODEL}"]' in said(tmp_path, capsys, "--track", "tuned")
    (tmp_path / "s").mkdir()
    place = tmp_path / "s"
    (place / "adding.toml").write_text(f'{HEAD}[search."tests.plugins.tiy:Leaky"]\nlr = {{ low = 0.1, high = 1.0 }}\n')
    with pytest.raises(
        UsageError, match=r'\[search."tests.plugins.tiy:Leaky"\]: its class was not found: did you mean'
    ):
        space(resolve("model", MODEL), "adding", extra=place)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be imported to find out what it has."""
    place = tmp_path / "lib" / "own_pkg"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (place / "nets.py").write_text("from elsewhere import Other as MGU3\nclass MGU: pass\nif 1:\n    MGU2 = MGU\n")
    (place / "lazy.py").write_text("from elsewhere import *\nclass MGU: pass\n")
    (place / "broken.py").write_text("class MGU(:\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    importlib.invalidate_caches()
    return place


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("own_pkg.nets:MGU", True), ("own_pkg.nets:MGU2", True), ("own_pkg.nets:MGU3", True),
        ("own_pkg.nets:MGUU", False), ("own_pkg.lazy:Any", True), ("own_pkg.broken:MGU", True),
        ("own_pkg.nothing:MGU", True), ("own_pkg:MGU", False),
    ],
)  # fmt: skip
def test_a_module_is_read_and_not_imported(name, good, package, tmp_path, capsys):
    line = said(written(tmp_path, f'["{name}"]'), capsys)
    assert (line == "") is good and "imported" not in line
    assert not [one for one in sys.modules if one.startswith("own_pkg")]


def test_a_package_may_be_called_search(tmp_path, monkeypatch, capsys):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "nets.py").write_text("class MGU: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert said(written(tmp_path, '["search.nets:MGU"]'), capsys) == ""


def test_the_list_shows_names_as_they_are_written_and_wrong_ones_as_wrong(tmp_path, capsys):
    written(tmp_path, f'["search.{MODEL}"]')
    (tmp_path / "har2.toml").write_text(HEAD + SECTION.format(name=f'[search."{MODEL}"]'))
    assert listed(["--recipes", "--recipes-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (wrong,) = (line for line in lines if "cannot be used" in line)
    assert f'wanted [search."{MODEL}"]' in wrong and wrong.split()[0] == "adding"
    assert any(line.split()[0] == "har2" and line.endswith(f'default, search."{MODEL}"') for line in lines)


def test_the_list_of_recipes_imports_no_plugin(project, tmp_path):
    written(tmp_path, f'["{MODEL}y"]')
    code = (
        "import sys; from suite.list import main; "
        f"code = main(['--recipes', '--recipes-dir', {str(tmp_path)!r}]); assert 'torch' not in sys.modules; "
        "assert 'tests.plugins.tiny' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project, check=False)
    assert done.returncode == 0 and f'did you mean ["{MODEL}"]?' in done.stdout, done.stderr


def test_packaged_recipes_are_sound():
    for path in recipes.folder().glob("*.toml"):
        recipes.check_names(path)
    assert expand(Request(models=("cornn",), tasks=("adding",)))
