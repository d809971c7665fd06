"""The pages in use, in a real browser: sorting, filtering, links, printing, no script."""

from __future__ import annotations

from pathlib import Path

from suite.report.__main__ import main
from suite.store import Store
from tests import report_records as make
from tests.pages.common import background, in_browser

pytestmark = in_browser


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


def test_a_filter_opens_the_folded_tables_that_it_wants(browser, tmp_path):
    store = Store(tmp_path / "results")
    store.put(make.record(make.run()))
    store.put(make.record(make.run(task="har2", recipe={"epsilon": 2.0}), sources={"epsilon": "set: by hand"}))
    assert main(["--results-dir", str(tmp_path / "results"), "--reports-dir", str(tmp_path)]) == 0
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    assert shown(page) == ["psmnist (data=mnist)"]
    page.select_option("select[name=task]", "psmnist")
    assert page.locator("details.more").is_hidden()
    page.select_option("select[name=task]", "har2")
    assert shown(page) == ["har2"]
    page.click("#overview a")  # to a table that the filter hides
    page.wait_for_function("document.querySelectorAll('.board:not([hidden])').length === 2")
    assert "psmnist (data=mnist)" in shown(page)
    page.close()


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
