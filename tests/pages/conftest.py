"""A site with every kind of page, and a browser that complains."""

from __future__ import annotations

import json

import pytest

from suite.report.__main__ import main
from suite.store import Store
from tests import report_records as make
from tests.pages.common import CHROMIUM


def speed():
    rows = [
        {
            "shape": "HAR-2",
            "task": "har2",
            "model": model,
            "engine": engine,
            "threads": 1,
            "step_ms": {"median": 10 / ratio, "q25": 9 / ratio, "q75": 12 / ratio, "n": 20},
            "forward_ms": None,
            "ratio_to_loop": ratio,
            "gemm_ms": None,
            "note": "",
        }
        for model in ("cornn", "lstm")
        for engine, ratio in (("reference", 1.0), ("fused", 2.5))
    ]
    machine = {"cpu": "Example CPU"}
    return {"schema": 1, "date": "2026-01-06", "machine": machine, "command": "python -m suite.speed", "rows": rows}


def theory():
    x = list(range(1, 60))
    return {
        "schema": 1,
        "check": "plateau",
        "title": "Plateau of the gradient",
        "command": "python -m suite.theory",
        "date": "2026-01-06",
        "machine": {"cpu": "Example CPU"},
        "series": [
            {"label": "coRNN", "x": x, "y": [0.99**k for k in x]},
            {"label": "tanh RNN", "x": x, "y": [0.5**k for k in x]},
        ],
        "x_label": "distance (steps)",
        "y_label": "norm",
        "log_y": True,
        "bound": None,
        "finding": "The coRNN keeps a plateau.",
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two tasks, four models, both themes' worth of figures, a diverged run, a plug-in, speed and theory files."""
    root = tmp_path_factory.mktemp("site")
    results = root / "results"
    store = Store(results)
    make.fill(results, models=("cornn", "lstm", "tanh"), tasks=("psmnist", "har2"), seeds=range(3))
    make.fill(results, models=("cornn", "tanh"), tasks=("adding",), seeds=range(2))
    store.put(make.record(make.run("tanh", "har2", 7), status="diverged"))
    store.put(make.record(make.run("my.pkg:Leaky", "har2", 0)))
    for seed in range(2):
        options = {"data": "digits5k"}
        store.put(make.record(make.run("cornn", seed=seed, options=options), preset="quick", cpu="Another CPU"))
    store.put(make.record(make.run("lstm", track="tuned")))
    for name, values in (("speed", speed()), ("theory", theory())):
        (results / name).mkdir()
        (results / name / "example.json").write_text(json.dumps(values))
    assert main(["--results-dir", str(results), "--reports-dir", str(root / "out")]) == 0
    return root / "out"


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(browser, site):
    """Open a page with a given width and theme; a console error or a request off the disk fails the test."""
    contexts, errors, requests = [], [], []

    def go(name, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))
        page.goto((site / name).as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
