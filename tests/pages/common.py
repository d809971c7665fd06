"""The browser, where it is, and what two files of tests read off a page."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
in_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
]


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")
