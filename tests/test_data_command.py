"""``suite.data``: results on stdout, log on stderr, one clear line and the documented exit code for what goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from suite.data import main
from tasks.sources import SOURCES
from tests.raw_files import official_layout, small_tables, write_as


@pytest.fixture
def layout(monkeypatch, tmp_path):
    contents = official_layout()
    small_tables(monkeypatch, contents, tmp_path)
    monkeypatch.setenv("RNNBENCH_OFFLINE", "1")
    return contents


@pytest.fixture
def given(layout, tmp_path):
    parent = tmp_path / "given"
    for name in ("cifar10", "glove"):
        write_as("zip", parent / name, layout[name])
    return parent


@pytest.fixture
def run(capsys, tmp_path):
    def call(*argv, root=None):
        code = main([*map(str, argv), "--data-dir", str(root or tmp_path / "root")])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def _one_line(err, words):
    lines = err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0] and lines[0].startswith("python -m suite.data")


def test_import_then_list_verify_and_where(run, given, tmp_path):
    code, out, err = run("import", given)
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} == {"cifar10", "glove"}
    assert "imported cifar10" in err and "imported" not in out
    code, out, _ = run("list")
    table = {line.split()[0]: line.split()[1] for line in out.splitlines()[1:]}
    assert code == 0 and table["cifar10"] == table["glove"] == "present"
    assert table["mnist"] == "missing" and table["digits5k"] == "bundled"
    code, out, err = run("verify")
    assert code == 0 and "mnist" not in out and "cifar10 (official files)" in out and not err
    code, out, _ = run("where", "cifar10")
    assert code == 0 and all((tmp_path / "root") in path.parents for path in map(type(tmp_path), out.splitlines()))
    assert run("fetch", "cifar10", "glove")[0] == 0  # both are there: nothing to connect for


def test_the_list_fits_eighty_columns(run, layout):
    _, out, _ = run("list")
    assert max(map(len, out.splitlines())) <= 80 and len(out.splitlines()) == 1 + len(SOURCES)


def test_details_name_licence_citation_checksums_and_mirrors(run):
    code, out, _ = run("list", "mnist")
    known = SOURCES["mnist"]
    assert code == 0 and known.licence in out and known.citation in out
    assert all(raw.path in out and raw.sha256 in out for raw in known.files)
    assert all(f"{mirror.url} (never tried)" in out for download in known.downloads for mirror in download.mirrors)


@pytest.mark.parametrize("action", ["list", "verify", "where", "fetch", "import"])
def test_json_is_one_object_a_line(run, given, action):
    assert run("import", given)[0] == 0
    what = {"import": [given], "fetch": ["glove", "cifar10"]}.get(action, [])
    code, out, _ = run(action, *what, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and rows
    if action == "where":
        assert rows[0]["root"].endswith("root")
    else:
        assert {"cifar10", "glove"} <= {row["name"] for row in rows}
        assert all(row["status"] for row in rows)


def test_a_task_may_stand_for_its_data(run, layout):
    code, out, _ = run("where", "noisy_cifar", "cifar10")
    assert code == 0 and len(out.splitlines()) == len(SOURCES["cifar10"].files)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["list", "mnits"], "unknown data set 'mnits': did you mean mnist"),
        (["verify", "x"], "unknown data set 'x'"),
        (["fetch", "psmnits"], "unknown data set 'psmnits': did you mean"),
        (["import"], "required: PATH"),
        (["remove"], "invalid choice: 'remove'"),
        (["list", "--jsn"], "unrecognized arguments: --jsn"),
        ([], "required: list|fetch|verify|import|where"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(capsys, argv, words):
    assert main(argv) == 2
    _one_line(capsys.readouterr().err, words)


def test_missing_data_is_code_4(run, layout):
    code, out, _ = run("verify", "mnist")
    assert code == 4 and "mnist: not in" in out and "rnnbench data fetch mnist" in out


def test_fetching_offline_is_code_4(run, layout):
    code, out, err = run("fetch", "mnist")
    assert code == 4 and not out
    _one_line(err, "RNNBENCH_OFFLINE is set")


@pytest.mark.parametrize("what", ["nowhere", "empty", "altered"])
def test_an_import_of_nothing_good_is_code_4(run, layout, tmp_path, what):
    path = tmp_path / what
    if what != "nowhere":
        path.mkdir()
    if what == "altered":
        first, body = next(iter(layout["glove"].items()))
        write_as("zip", path, {first: body[::-1]})
    code, out, err = run("import", path)
    assert code == 4 and not out
    _one_line(err, {"nowhere": "no such file", "empty": "no known data set", "altered": "sha256"}[what])


def test_an_altered_file_is_found_by_verify_with_code_4(run, given, tmp_path):
    run("import", given)
    path = tmp_path / "root" / SOURCES["glove"].files[0].path
    stat = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    code, out, _ = run("verify")
    assert code == 4 and "glove: " in out and "has sha256" in out and "cifar10 (official files)" in out


def test_every_altered_file_is_listed(run, given, tmp_path):
    run("import", given)
    for raw in SOURCES["cifar10"].files[:3]:
        (tmp_path / "root" / raw.path).write_bytes(b"short")
    code, out, _ = run("verify", "cifar10")
    assert code == 4 and all(raw.path in out for raw in SOURCES["cifar10"].files[:3])


def test_a_data_root_that_cannot_be_written_is_code_5(run, given, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    code, out, err = run("import", given, root=blocked)
    assert code == 5 and not out
    _one_line(err, "cannot write")


def test_import_parses_into_the_cache_unless_told_not_to(run, layout, tmp_path, monkeypatch):
    parsed = []
    monkeypatch.setattr("tasks.preparing.prepare", lambda found, root, log: parsed.append(found.name))
    given = write_as("zip", tmp_path / "from", layout["mnist"])
    assert run("import", given, "--no-parse")[0] == 0 and parsed == []
    assert run("import", given)[0] == 0 and parsed == ["mnist"]


def test_parsing_reaches_every_data_set_that_has_a_cache(layout, tmp_path, monkeypatch):
    from tasks.preparing import prepare
    from tasks.sources import State

    called = []
    for place in ("tasks.pixels.mnist_arrays", "tasks.har2.har_arrays", "tasks.text.read_tokens"):
        monkeypatch.setattr(place, lambda root, key, place=place: called.append((place.rpartition(".")[2], key)))
    for name in SOURCES:
        prepare(State(name, "present", "", key=f"key of {name}"), tmp_path, log=lambda line: None)
    assert called == [
        ("mnist_arrays", "key of mnist"),
        ("har_arrays", "key of uci_har"),
        ("read_tokens", "key of imdb"),
    ]


def test_the_data_root_comes_from_the_environment(tmp_path):
    env = {**os.environ, "RNNBENCH_DATA": str(tmp_path / "mine")}
    command = [sys.executable, "-m", "suite.data", "where"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "mine")


def test_no_traceback_where_stdout_is_closed(tmp_path):
    command = f"{sys.executable} -m suite.data list --json --data-dir {tmp_path} | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("action", ["list", "fetch", "verify", "where"])
def test_a_task_without_files_says_so_and_nothing_else_is_touched(run, action):
    assert run(action, "adding") == (0, "", "adding needs no files\n")
    code, out, err = run(action, "adding", "digits5k")
    assert (
        code == 0 and (out or action == "where") and "cifar10" not in out and err.startswith("adding needs no files\n")
    )
