"""Decoded data is cached; torchvision loads beside any torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from tasks.cache import cached


def test_the_cache_is_used_and_a_damaged_one_is_made_anew(tmp_path):
    calls = []

    def parse():
        calls.append(1)
        return {"a": np.arange(1000)}

    def get(*words):
        return cached(tmp_path, "x", words, ("a",), parse)["a"]

    assert (get("k") == np.arange(1000)).all() and (get("k") == np.arange(1000)).all() and len(calls) == 1
    get("other key")
    assert len(calls) == 2
    for damage in (lambda data: data[:200], lambda data: data[:300] + b"?" + data[301:], lambda data: b""):
        for path in (tmp_path / "cache").glob("x-*.npz"):
            path.write_bytes(damage(path.read_bytes()))
        for words in ("k", "other key"):
            before = len(calls)
            assert (get(words) == np.arange(1000)).all() and len(calls) == before + 1
    assert not list((tmp_path / "cache").glob("*.tmp"))


def test_a_read_only_data_root_caches_in_the_platforms_folder(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere))
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is wanted: nobody can write into it, not even root")
    calls = []

    def parse():
        calls.append(1)
        return {"a": np.ones(3)}

    for _ in range(2):
        assert cached(blocked, "x", ("k",), ("a",), parse)["a"].sum() == 3
    assert len(calls) == 1 and list(elsewhere.rglob("x-*.npz"))


def test_torchvision_is_imported_without_a_warning():
    code = "import tasks.vision as v; m = v.torchvision(); assert m.datasets.MNIST; assert v.torchvision() is m"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
