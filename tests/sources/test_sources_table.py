"""The table of sources: names, checksums, where the data root is."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

from tasks.errors import TaskError
from tasks.importing import recognise
from tasks.sources import data_root, state
from tests.sources.common import REAL_SOURCES


@pytest.mark.parametrize("name", [name for name in REAL_SOURCES if not REAL_SOURCES[name].bundled])
def test_every_source_has_terms_mirrors_and_well_formed_checksums(name):
    known = REAL_SOURCES[name]
    assert known.title and known.licence and known.citation and known.homepage and known.downloads
    for raw in known.files:
        assert not raw.required or raw.sha256 or raw.git_sha1
        assert not Path(raw.path).is_absolute() and ".." not in Path(raw.path).parts
        for digest in (raw.sha256, *raw.copies):
            assert digest is None or re.fullmatch("[0-9a-f]{64}", digest)
        assert raw.git_sha1 is None or re.fullmatch("[0-9a-f]{40}", raw.git_sha1)
    for download in known.downloads:
        assert download.mirrors and all(mirror.url.startswith("http") for mirror in download.mirrors)
        assert download.sha256 is None or re.fullmatch("[0-9a-f]{64}", download.sha256)
        assert all(mirror.tried is False for mirror in download.mirrors)  # change it with the first real download


@pytest.mark.parametrize(
    ("path", "name", "target"),
    [
        ("x/train-images-idx3-ubyte", "mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("t10k-labels.idx1-ubyte", "mnist", "MNIST/raw/t10k-labels-idx1-ubyte"),
        ("cifar-10-batches-bin/test_batch.bin", "cifar10", "cifar-10-batches-bin/test_batch.bin"),
        ("cifar-10-batches-py/data_batch_3", "cifar10", "cifar-10-batches-bin/data_batch_3.bin"),
        ("UCI HAR Dataset/train/y_train.txt", "uci_har", "UCI HAR Dataset/train/y_train.txt"),
        (
            "a/test/Inertial Signals/body_gyro_z_test.txt",
            "uci_har",
            "UCI HAR Dataset/test/Inertial Signals/body_gyro_z_test.txt",
        ),
        ("aclImdb/test/neg/12_4.txt", "imdb", ""),
        ("glove.6B.100d.txt", "glove", "glove.6B.100d.txt"),
    ],
)
def test_official_names_are_recognised(path, name, target):
    found = recognise(PurePosixPath(path))
    assert found is not None and (found.source, found.path) == (name, target)


@pytest.mark.parametrize(
    "path",
    [
        "data_batch_6.bin",
        "train/unsup/0_0.txt",
        "train/Inertial Signals/body_acc_x_test.txt",
        "train/y_test.txt",
        "glove.6B.50d.txt",
        "train/pos/readme.txt",
        "mytrain/pos/0_9.txt",
        "train-images-idx3-ubyte.bak",
    ],
)
def test_other_names_are_not(path):
    assert recognise(PurePosixPath(path)) is None


def test_an_unknown_data_set_answers_with_the_near_ones(root):
    with pytest.raises(TaskError, match="unknown data set 'mnits': did you mean mnist"):
        state("mnits", root)


def test_the_data_root_is_the_argument_then_the_variable_then_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("RNNBENCH_DATA", str(tmp_path / "variable"))
    assert data_root(tmp_path / "given") == tmp_path / "given"
    assert data_root(None) == tmp_path / "variable"
    monkeypatch.delenv("RNNBENCH_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root(None) == tmp_path / "cache/rnnbench"
