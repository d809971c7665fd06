"""What the tests of raw data share: names, refusals, a real local server."""

from __future__ import annotations

import http.server
import re
import threading

import pytest

from tasks.errors import DataError
from tasks.fetching import Patience
from tasks.sources import SOURCES, import_path

REAL_SOURCES = dict(SOURCES)
SETS = ("mnist", "cifar10", "uci_har", "imdb", "glove")
KINDS = ("folder", "tar", "tar.gz", "tar.xz", "zip", "loose gz", "loose xz", "zip in zip")


def quiet(line: str) -> None:
    assert "\n" not in line


def refused(words, path, root):
    with pytest.raises(DataError, match=words) as caught:
        import_path(path, root, log=quiet)
    assert "\n" not in str(caught.value)
    assert not root.exists() or not [p for p in root.iterdir() if p.name.startswith(".import-")], "staging left behind"


QUICK = Patience(timeout=0.4, tries=3, pause=0.01)


class Site:
    """A real HTTP server on 127.0.0.1; ``pages`` maps a path to what answers it."""

    def __init__(self):
        self.pages, self.asked, self.release = {}, [], threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append((self.path, self.headers.get("Range")))
                try:
                    site.pages.get(self.path, Site.missing)(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def url(self, path):
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    @staticmethod
    def missing(handler):
        handler.send_error(404)

    @staticmethod
    def answer(handler, status, body, length=None, kind="application/octet-stream", **headers):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        if length is not False:
            handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    @staticmethod
    def serve(body, ranges=True):
        def page(handler):
            asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
            if not asked or not ranges:
                return Site.answer(handler, 200, body)
            start = int(asked[1])
            if start >= len(body):
                return handler.send_error(416)
            place = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return Site.answer(handler, 206, body[start:], Content_Range=place)

        return page

    @staticmethod
    def in_turn(*pages):
        left = list(pages)
        return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)
