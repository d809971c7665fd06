"""The pages in a real browser: Debian's Chromium without a head, from file:// addresses, network off."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from suite.report.__main__ import main
from suite.store import Store
from tests import report_records as make

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
]
PAGES = (
    "index.html",
    "tasks.html",
    "models.html",
    "published.html",
    "figures.html",
    "theory.html",
    "speed.html",
    "methods.html",
    "tasks/psmnist.html",
    "tasks/har2.html",
    "models/cornn.html",
    "models/my.pkg-leaky.html",
)


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


@pytest.mark.parametrize("name", PAGES)
def test_no_page_scrolls_sideways_and_none_complains(visit, name):
    for width in (390, 1280):
        page = visit(name, width)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("h1").count() == 1


THEMED = [(name, "light") for name in PAGES]
THEMED += [(name, "dark") for name in ("index.html", "tasks/har2.html", "models/cornn.html", "published.html")]


@pytest.mark.parametrize(("name", "scheme"), THEMED)
def test_axe_finds_nothing_serious(visit, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = visit(name, scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert serious(axe, page) == []


def serious(axe, page):
    # What is inside a figure is one image to a screen reader; its name is checked, its thousand parts are not.
    figures = {"exclude": [".card svg > g"]}
    found = axe.Axe().run(page, context=figures, options={"preload": False}).response["violations"]
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]


def test_axe_would_find_something(visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = visit("methods.html")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<button></button>')")
    assert [name for name, _ in serious(axe, page)] == ["button-name"]


def column(page, table, title):
    return page.evaluate(
        """([id, title]) => {
            const table = document.getElementById(id);
            const heads = [...table.tHead.rows[0].cells];
            const index = heads.findIndex(head => head.textContent.trim() === title);
            return [...table.tBodies[0].rows].map(row => row.cells[index].textContent.trim());
        }""",
        [table, title],
    )


def test_a_click_sorts_and_a_second_one_turns_the_order(visit):
    page = visit("tasks/har2.html")
    table = "leaderboard-har2-paper-recipe-full"
    button = page.locator(f"#{table} thead button", has_text="accuracy (%)")
    button.click()
    up = [float(text) for text in column(page, table, "accuracy (%)")]
    assert up == sorted(up) and len(up) == 4
    button.click()
    assert [float(text) for text in column(page, table, "accuracy (%)")] == up[::-1]
    head = page.locator(f"#{table} thead th", has_text="accuracy (%)")
    assert head.get_attribute("aria-sort") == "descending"


def test_sorting_works_from_the_keyboard_and_keeps_missing_values_last(visit):
    page = visit("tasks/har2.html")
    table = "leaderboard-har2-paper-recipe-full"
    page.locator(f"#{table} thead button", has_text="rank").focus()
    for _ in range(2):
        page.keyboard.press("Enter")
        assert column(page, table, "rank")[-1] == "–"
    page.locator(f"#{table} thead button", has_text="model").focus()
    page.keyboard.press("Space")
    names = column(page, table, "model")
    assert names == sorted(names, key=str.lower)


def shown(page):
    return page.locator(".board:visible").evaluate_all("boards => boards.map(b => b.dataset.variant)")


def test_filters_by_task_variant_track_and_machine(visit):
    page = visit("index.html")
    everything = shown(page)
    assert len(everything) == 5
    page.select_option("select[name=task]", "har2")
    assert shown(page) == ["har2"]
    page.click("button[type=reset]")
    page.wait_for_function("document.querySelectorAll('.board:not([hidden])').length === 5")
    page.select_option("select[name=variant]", "psmnist (data=digits5k)")
    assert shown(page) == ["psmnist (data=digits5k)"]
    page.select_option("select[name=track]", "tuned")
    assert shown(page) == [] and page.locator("#nothing").is_visible()
    page.click("button[type=reset]")
    page.wait_for_function("document.querySelectorAll('.board:not([hidden])').length === 5")
    page.select_option("select[name=machine]", "Another CPU, 1 thread")
    assert shown(page) == ["psmnist (data=digits5k)"]
    assert page.locator("#shown").text_content() == "1 table"


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_follows_the_system_and_the_button_wins(visit):
    light, dark = visit("index.html"), visit("index.html", scheme="dark")
    assert background(light) == "rgb(255, 255, 255)" and background(dark) == "rgb(20, 23, 27)"
    light.click("#theme")
    assert background(light) == background(dark)
    light.reload()  # the choice is kept
    assert background(light) == background(dark)
    assert light.locator("#theme").text_content() == "Light colours"


def test_figures_follow_the_theme(visit):
    def ink(page):
        return page.evaluate("getComputedStyle(document.querySelector('.card svg text')).fill")

    assert ink(visit("tasks/har2.html")) == "rgb(22, 25, 29)"
    assert ink(visit("tasks/har2.html", scheme="dark")) == "rgb(233, 236, 239)"


def test_texts_of_a_figure_do_not_overlap_and_stay_inside(visit, site):
    script = """() => [...document.querySelectorAll('.card svg')].map(svg => {
        const frame = svg.getBoundingClientRect();
        const boxes = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim())
            .map(t => [t.textContent, t.getBoundingClientRect()]);
        const bad = boxes.filter(([, b]) => b.left < frame.left - 1 || b.right > frame.right + 1
            || b.top < frame.top - 1 || b.bottom > frame.bottom + 1).map(([t]) => 'outside: ' + t);
        boxes.forEach(([t, a], i) => boxes.slice(i + 1).forEach(([u, b]) => {
            const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (wide > 1.5 && high > 0.35 * Math.min(a.height, b.height)) bad.push(t + ' / ' + u);
        }));
        return [svg.closest('figure').id, bad];
    }).filter(([, bad]) => bad.length)"""
    page = visit("index.html")
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate(script) == [], path


def test_every_link_inside_the_site_leads_somewhere(site):
    import re
    from urllib.parse import unquote

    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        for target in re.findall(r'(?:href|src)="([^"]+)"', text):
            if target.startswith(("https://", "http://", "data:")):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / unquote(name)) if name else page
            assert file.is_file(), (page, target)
            if anchor:
                assert f'id="{anchor}"' in file.read_text(), (page, target)


def test_ids_are_unique_in_a_page(site):
    import re
    from collections import Counter

    for page in sorted(site.rglob("*.html")):
        counts = Counter(re.findall(r'\bid="([^"]+)"', page.read_text()))
        assert [name for name, count in counts.items() if count > 1] == [], page


def test_the_page_reads_without_script(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator("tbody tr:visible").count() > 5
    assert page.locator("#filters").is_hidden() and page.locator("#theme").is_hidden()
    context.close()


def test_print_hides_what_only_a_screen_can_use(visit):
    page = visit("index.html", scheme="dark")
    page.emulate_media(media="print")
    assert background(page) == "rgb(255, 255, 255)"
    assert page.locator(".filters").is_hidden() and page.locator("#theme").is_hidden()


def test_names_from_records_are_escaped(tmp_path, browser):
    evil = "<img src=x onerror=alert(1)>"
    results = tmp_path / "results"
    Store(results).put(make.record(make.run("my.pkg:" + evil, options={"data": evil})))
    assert main(["--results-dir", str(results), "--reports-dir", str(tmp_path / "out")]) == 0
    for page in Path(tmp_path / "out").rglob("*.html"):
        assert "<img" not in page.read_text(), page
