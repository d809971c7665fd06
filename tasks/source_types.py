"""What is known of a raw data set: its files, where to get them, its terms, and its state in a data root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Log = Callable[[str], None]


@dataclass(frozen=True)
class Mirror:
    """One address of a file.

    Attributes:
        url: http(s) address.
        tried: whether a download from it was ever tried by this project.
    """

    url: str
    tried: bool = False


@dataclass(frozen=True)
class Download:
    """An archive that ``fetch`` downloads.

    Attributes:
        file: name it is stored under while it is being unpacked.
        mirrors: addresses, tried in order.
        bytes: exact size, or None where it is not known.
        sha256: of the archive, or None where it is not known (the unpacked files are checked all the same).
        max_bytes: nothing longer is accepted.
    """

    file: str
    mirrors: tuple[Mirror, ...]
    bytes: int | None = None
    sha256: str | None = None
    max_bytes: int = 1 << 30


@dataclass(frozen=True)
class RawFile:
    """One file in the data root.

    Attributes:
        path: relative to the data root.
        bytes: exact size, or None where it depends on the packing.
        sha256: of the official file (of the contents, where ``content`` says so), or None where it is not known.
        git_sha1: git blob SHA-1 of the official file where that is what is known, or None.
        copies: sha256 of known copies that are complete but not byte-identical to the official file.
        content: what the checksum is taken over: "file", or "reviews" (``tasks.reviews.content_digest``).
        required: whether the task needs it.
    """

    path: str
    bytes: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    copies: tuple[str, ...] = ()
    content: str = "file"
    required: bool = True


@dataclass(frozen=True)
class Source:
    """One raw data set.

    Attributes:
        title: full name.
        files: what stands in the data root.
        downloads: what ``fetch`` downloads to get them.
        licence: terms as published.
        citation: what its authors ask to cite.
        homepage: its page.
        bundled: it comes with a Python package and needs no data root.
    """

    title: str
    licence: str
    citation: str
    homepage: str
    files: tuple[RawFile, ...] = ()
    downloads: tuple[Download, ...] = ()
    bundled: bool = False


@dataclass(frozen=True)
class State:
    """What is known of a data set in a data root.

    Attributes:
        name: key of ``SOURCES``.
        status: present, missing, incomplete, altered or bundled.
        message: one line for a person.
        variant: for the record: name, and whether the files are byte-identical to the official ones.
        bytes: bytes of the files found.
        key: changes when any file's contents change; names caches.
        problems: what is wrong, one line a file.
    """

    name: str
    status: str
    message: str
    variant: str = ""
    bytes: int = 0
    key: str = ""
    problems: tuple[str, ...] = field(default=())

    @property
    def usable(self) -> bool:
        """Whether a task can be built from it."""
        return self.status in ("present", "bundled")
