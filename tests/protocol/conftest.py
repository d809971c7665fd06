"""A data root of small files, and tasks built on it."""

from __future__ import annotations

import dataclasses

import pytest

import tasks.har2
import tasks.imdb
import tasks.noisy_cifar
import tasks.pixels
from tasks import build
from tasks.files import sha256
from tasks.reviews import content_digest
from tasks.sources import SOURCES
from tests.protocol.files import (
    PER_FOLDER,
    SMALL,
    TEST,
    TRAIN,
    write_all,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root of small files in the official formats, with the tables told their sizes and checksums."""
    folder = tmp_path_factory.mktemp("data")
    write_all(folder)
    with pytest.MonkeyPatch.context() as patch:
        for module in (tasks.pixels, tasks.noisy_cifar):
            patch.setattr(module, "TRAIN", TRAIN)
            patch.setattr(module, "TEST", TEST)
        patch.setattr(tasks.har2, "WINDOWS", {"train": TRAIN, "test": TEST})
        for name, value in (("PER_FOLDER", PER_FOLDER), ("TRAIN", 42), ("VALID", 18), ("WORDS", 12)):
            patch.setattr(tasks.imdb, name, value)
        for name in ("mnist", "cifar10", "uci_har", "imdb"):
            files = tuple(
                dataclasses.replace(
                    raw,
                    bytes=(folder / raw.path).stat().st_size,
                    sha256=content_digest(folder / raw.path) if name == "imdb" else sha256(folder / raw.path),
                    git_sha1=None,
                    copies=(),
                )
                for raw in SOURCES[name].files
                if raw.required
            )
            patch.setitem(SOURCES, name, dataclasses.replace(SOURCES[name], files=files))
        yield folder


@pytest.fixture
def make(root):
    def made(name, seed=0, **options):
        return build(name, seed=seed, data_dir=root, **{**SMALL[name], **options})

    return made
