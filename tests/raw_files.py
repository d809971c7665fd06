"""Small stand-ins for the raw data sets, in the official layouts, and the tables told their checksums."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tasks.importing
from tasks.reviews import FOLDERS, content_digest, pack, save
from tasks.sources import SOURCES, RawFile

PER_FOLDER = 3
RECORDS = 4  # images of a small CIFAR batch


def _bytes(path: str, count: int) -> bytes:
    """Bytes that depend on the path, so that no two files are alike."""
    return np.random.default_rng(int(hashlib.sha256(path.encode()).hexdigest()[:8], 16)).bytes(count)


def official_layout() -> dict[str, dict[str, bytes]]:
    """Data set -> path in the official layout -> contents, all small."""
    layout: dict[str, dict[str, bytes]] = {name: {} for name in ("mnist", "cifar10", "uci_har", "imdb", "glove")}
    for name in ("mnist", "cifar10", "uci_har", "glove"):
        for raw in SOURCES[name].files:
            count = RECORDS * 3073 if name == "cifar10" else 120
            layout[name][raw.path] = _bytes(raw.path, count)
    for folder in FOLDERS:
        for number in range(PER_FOLDER):
            rating = 9 if folder.endswith("pos") else 2
            layout["imdb"][f"aclImdb/{folder}/{number}_{rating}.txt"] = f"Review {number} in {folder}.".encode()
    layout["imdb"]["aclImdb/train/unsup/0_0.txt"] = b"not labelled"
    layout["imdb"]["aclImdb/README"] = b"read me"
    return layout


def small_tables(patch: pytest.MonkeyPatch, layout: dict[str, dict[str, bytes]], scratch: Path) -> None:
    """Give ``SOURCES`` the sizes and checksums of the small files."""
    patch.setattr(tasks.importing, "PER_FOLDER", PER_FOLDER)
    for name, contents in layout.items():
        if name == "imdb":
            found = {folder: {} for folder in FOLDERS}
            for path, body in contents.items():
                folder, _, stem = path.removeprefix("aclImdb/").rpartition("/")
                if folder in found:
                    number, rating = stem.removesuffix(".txt").split("_")
                    found[folder][int(number)] = (int(rating), body)
            save(scratch / "packed.npz", pack(found))
            digest = content_digest(scratch / "packed.npz")
            files = (dataclasses.replace(SOURCES[name].files[0], sha256=digest),)
        else:
            files = tuple(_small(raw, contents[raw.path]) for raw in SOURCES[name].files)
        patch.setitem(SOURCES, name, dataclasses.replace(SOURCES[name], files=files))


def _small(raw: RawFile, body: bytes) -> RawFile:
    digest = hashlib.sha256(body).hexdigest()
    return dataclasses.replace(raw, bytes=len(body), sha256=digest, git_sha1=None, copies=())


def write_folder(folder: Path, contents: dict[str, bytes]) -> Path:
    for path, body in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
    return folder


def tar_bytes(contents: dict[str, bytes], mode: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=f"w:{mode}") as archive:
        for path, body in contents.items():
            info = tarfile.TarInfo(path)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return target.getvalue()


def zip_bytes(contents: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, body in contents.items():
            archive.writestr(path, body)
    return target.getvalue()


def write_as(kind: str, folder: Path, contents: dict[str, bytes]) -> Path:
    """The contents as a folder, an archive or loose compressed files; returns what is to be imported."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        return write_folder(folder / "given", contents)
    if kind == "loose gz":
        return write_folder(folder / "given", {f"{path}.gz": gzip.compress(body) for path, body in contents.items()})
    if kind == "loose xz":
        return write_folder(folder / "given", {f"{path}.xz": lzma.compress(body) for path, body in contents.items()})
    if kind == "zip in zip":
        path = folder / "given.zip"
        path.write_bytes(zip_bytes({"inner.zip": zip_bytes(contents)}))
        return path
    path = folder / f"given.{kind}"
    modes = {"tar": "", "tar.gz": "gz", "tar.xz": "xz"}
    path.write_bytes(zip_bytes(contents) if kind == "zip" else tar_bytes(contents, modes[kind]))
    return path
