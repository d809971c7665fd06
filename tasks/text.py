"""Words of the IMDB reviews: spaCy's rule tokeniser, once; from then on arrays of word numbers.

``spacy.blank("en")`` holds the tokeniser that torchtext's ``tokenize="spacy"`` calls, and needs no model. Case is
kept. torchtext 0.6.0's ``Vocab`` orders the words (by frequency, then alphabet); its downloader is never called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tasks.cache import Arrays, cached
from tasks.draws import generator
from tasks.errors import DataError
from tasks.reviews import Reviews, load
from tasks.sources import SOURCES

PARSER = 1  # bump when the arrays in the cache change
UNK, PAD = 0, 1
SPECIALS = ("<unk>", "<pad>")
_SEPARATOR = "\0"  # in no review


class Tokens(NamedTuple):
    """All reviews as word numbers, R reviews with N tokens of W different words.

    Attributes:
        words: the W words, sorted.
        tokens: uint32 (N,), numbers into ``words``, review after review.
        lengths: int32 (R,), tokens of each review.
    """

    words: list[str]
    tokens: np.ndarray
    lengths: np.ndarray


def _texts(reviews: Reviews) -> Iterator[str]:
    for name, body in zip(reviews.names(), reviews.pieces()):
        try:
            yield body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"imdb: review {name} is no UTF-8 text ({error}): import it again") from error


def tokenise(reviews: Reviews) -> Arrays:
    """Tokenise every review: ``words`` (UTF-8 bytes, NUL between words), ``tokens``, ``lengths`` as in ``Tokens``."""
    import spacy
    from spacy.attrs import ORTH

    nlp = spacy.blank("en")
    hashes = [nlp.tokenizer(text).to_array([ORTH]).astype(np.uint64) for text in _texts(reviews)]
    lengths = np.array([len(part) for part in hashes], dtype=np.int32)
    found, numbers = np.unique(np.concatenate(hashes), return_inverse=True)
    words = [nlp.vocab.strings[int(word)] for word in found]
    order = sorted(range(len(words)), key=words.__getitem__)
    rank = np.empty(len(words), dtype=np.uint32)
    rank[order] = np.arange(len(words), dtype=np.uint32)
    text = _SEPARATOR.join(words[i] for i in order).encode()
    return {"words": np.frombuffer(text, dtype=np.uint8), "tokens": rank[numbers], "lengths": lengths}


def read_tokens(root: Path, key: str) -> Tokens:
    """The tokens of the reviews in the data root, from the cache or made now (about half a minute).

    Args:
        root: the data root.
        key: checksum of the reviews.
    """
    path = root / SOURCES["imdb"].files[0].path
    names = ("words", "tokens", "lengths")
    words = (key, PARSER, version("spacy"))  # the tokeniser's rules may change with spaCy's version
    stored = cached(root, "imdb-tokens", words, names, lambda: tokenise(load(path)))
    return Tokens(stored["words"].tobytes().decode().split(_SEPARATOR), stored["tokens"], stored["lengths"])


def vocabulary(tokens: Tokens, chosen: np.ndarray, size: int) -> tuple[list[str], np.ndarray]:
    """The most frequent words of the chosen reviews.

    Args:
        tokens: all reviews.
        chosen: bool (R,), the reviews to count.
        size: words at most, the two special ones not counted.

    Returns:
        The words by id (``<unk>``, ``<pad>``, then by frequency), and the id of each of ``tokens.words``,
        int16 (W,), ``UNK`` where a word is not among them.
    """
    from torchtext.vocab import Vocab

    counts = np.bincount(tokens.tokens[np.repeat(chosen, tokens.lengths)], minlength=len(tokens.words))
    seen = counts.nonzero()[0]
    counter = Counter({tokens.words[i]: n for i, n in zip(seen.tolist(), counts[seen].tolist())})
    made = Vocab(counter, max_size=size, specials=list(SPECIALS))
    stoi = made.stoi
    ids = np.array([stoi.get(word, UNK) for word in tokens.words], dtype=np.int16)
    return made.itos, ids


def random_vectors(count: int, columns: int, *words: object) -> Tensor:
    """N(0,1) vectors from a generator of their own, float32 (count, columns); unknown and padding are zero."""
    vectors = torch.randn(count, columns, generator=generator(*words))
    vectors[[UNK, PAD]] = 0.0
    return vectors


def set_glove(vectors: Tensor, itos: list[str], path: Path) -> int:
    """Overwrite the rows of the words that a GloVe file has. Words are compared with their case.

    Args:
        vectors: float32 (V,E), changed in place.
        itos: the V words.
        path: text file, a line a word: the word, then E numbers.

    Returns:
        How many words were found.

    Raises:
        DataError: a line with another number of columns, or numbers that cannot be read.
    """
    wanted = {word.encode(): i for i, word in enumerate(itos) if word not in SPECIALS}
    columns, found = vectors.shape[1], 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            word, _, rest = line.partition(b" ")
            row = wanted.get(word)
            if row is None:
                continue
            try:
                values = np.array(rest.split(), dtype=np.float64)
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {str(error)[:300]}") from error
            if len(values) != columns:
                raise DataError(f"{path}, line {number}: wanted {columns} numbers, got {len(values)}")
            if not (np.abs(values) < np.finfo(np.float32).max).all():
                raise DataError(f"{path}, line {number}: a number that is not finite in float32")
            vectors[row] = torch.from_numpy(values)
            found += 1
    return found
