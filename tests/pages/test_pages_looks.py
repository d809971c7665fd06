"""The pages in a real browser: Debian's Chromium without a head, from file:// addresses, network off."""

from __future__ import annotations

import pytest

from tests.pages.common import background, in_browser

pytestmark = in_browser
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
