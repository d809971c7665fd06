"""The 50,000 labelled IMDB reviews in one file: bytes, lengths, ids and ratings, without pickle.

50,000 small files cost minutes on many file systems and 200 MB in blocks; the packed file costs 66 MB and a tenth
of a second. Order: train/pos, train/neg, test/pos, test/neg, by id within each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from tasks.errors import DataError
from tasks.files import DAMAGED_ARRAYS, write_atomic

FOLDERS = ("train/pos", "train/neg", "test/pos", "test/neg")
PER_FOLDER = 12_500
MAX_BYTES = 1 << 20  # of one review; the longest has 13,704


class Reviews(NamedTuple):
    """All reviews, R of them.

    Attributes:
        text: uint8, all bytes one after another.
        lengths: int32 (R,), bytes of each.
        ids: int32 (R,), the number before the underscore of the file's name.
        ratings: int8 (R,), the number after it.
        counts: int32 (4,), reviews in each of ``FOLDERS``.
    """

    text: np.ndarray
    lengths: np.ndarray
    ids: np.ndarray
    ratings: np.ndarray
    counts: np.ndarray

    def pieces(self) -> list[bytes]:
        """The reviews as bytes, in order."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        data = self.text.tobytes()
        return [data[end - length : end] for end, length in zip(ends.tolist(), self.lengths.tolist())]

    def names(self) -> list[str]:
        """Official path of each review, below ``aclImdb/``."""
        folders = np.repeat(np.array(FOLDERS), self.counts)
        numbers = zip(folders.tolist(), self.ids.tolist(), self.ratings.tolist())
        return [f"{folder}/{number}_{rating}.txt" for folder, number, rating in numbers]


def pack(found: Mapping[str, Mapping[int, tuple[int, bytes]]]) -> Reviews:
    """Pack reviews given as ``{folder: {id: (rating, bytes)}}``."""
    ordered = [(number, *found[folder][number]) for folder in FOLDERS for number in sorted(found[folder])]
    return Reviews(
        text=np.frombuffer(b"".join(body for _, _, body in ordered), dtype=np.uint8),
        lengths=np.array([len(body) for _, _, body in ordered], dtype=np.int32),
        ids=np.array([number for number, _, _ in ordered], dtype=np.int32),
        ratings=np.array([rating for _, rating, _ in ordered], dtype=np.int8),
        counts=np.array([len(found[folder]) for folder in FOLDERS], dtype=np.int32),
    )


def save(path: Path, reviews: Reviews) -> None:
    """Write the packed file atomically."""

    def write(file: BinaryIO) -> None:
        np.savez(file, **reviews._asdict())

    write_atomic(path, write)


def load(path: Path) -> Reviews:
    """Read the packed file; the archive's own CRCs are checked.

    Raises:
        DataError: truncated, altered, or not such a file.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            reviews = Reviews(**{name: stored[name] for name in Reviews._fields})
        _check(reviews)
    except DAMAGED_ARRAYS as error:
        raise DataError(f"{path} is damaged ({error}): import it again (rnnbench data import PATH)") from error
    return reviews


def _check(reviews: Reviews) -> None:
    """Raise ValueError where the five arrays do not fit together."""
    sizes = {len(reviews.lengths), len(reviews.ids), len(reviews.ratings), int(reviews.counts.sum())}
    negative = min(reviews.lengths.min(initial=0), reviews.counts.min(initial=0)) < 0
    if len(sizes) > 1 or len(reviews.counts) != len(FOLDERS) or negative:
        raise ValueError("its counts do not fit each other")
    if int(reviews.lengths.sum()) != len(reviews.text):
        raise ValueError("its lengths do not fit its text")


def content_digest(path: Path) -> str:
    """Checksum over the reviews, whatever the packing.

    sha256 over the lines "sha256 of the review, two spaces, aclImdb/path, newline", sorted by path.
    """
    reviews = load(path)
    lines = [
        (f"aclImdb/{name}", hashlib.sha256(body).hexdigest()) for name, body in zip(reviews.names(), reviews.pieces())
    ]
    total = hashlib.sha256()
    for name, digest in sorted(lines):
        total.update(f"{digest}  {name}\n".encode())
    return total.hexdigest()
