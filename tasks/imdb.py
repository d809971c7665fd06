"""IMDB: is a review positive? Whole reviews, word by word, no truncation.

25,000 reviews are split 17,500/7,500 into training and validation by the data seed; 25,000 are test reviews. The
vocabulary is the 25,000 most frequent words of the 17,500 training reviews, with ``<unk>`` and ``<pad>``. Batches are
not sorted by length; each is padded to its longest review. The coRNN code lets the state run through the padding and
reads the last padded step (``readout="padded"``); ``valid`` reads the last word instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tasks.contract import Batch, Spec, Split
from tasks.draws import first_of_test, permutation
from tasks.errors import DataError
from tasks.indexed import Binary
from tasks.options import choice, integer, optional_integer
from tasks.reviews import FOLDERS, PER_FOLDER
from tasks.sources import SOURCES, check, data_root
from tasks.text import PAD, random_vectors, read_tokens, set_glove, vocabulary

TRAIN, VALID = 17_500, 7_500
WORDS = 25_000
NOMINAL_BATCH = 64  # the published batch size; `spec.length` is the mean padded length of such batches
GLOVE_COLUMNS = 100


class IMDB(Binary):
    """IMDB sentiment.

    Args:
        seed: the data seed.
        data_dir: the data root, or None for the default one.
        readout: ``padded``, the last padded step as in the coRNN code, or ``valid``, the last word.
        vectors: ``random``, N(0,1), or ``glove``, GloVe 6B where it has the word, else N(0,1).
        embedding_size: columns of the embedding; GloVe has 100.
        max_length: only the first words of a review; None: all.
        train_examples: take only the first of the (shuffled) training split; None: all. The vocabulary is
            always counted over all 17,500.
        valid_examples: take only the first of the validation split; None: all.
        test_examples: take only so many test reviews, the same for every seed; None: all.

    Raises:
        TaskError: an option out of range.
        DataError: the raw files are missing or altered.
    """

    version: ClassVar[int] = 2
    source: ClassVar[str] = "github.com/tk-rusch/coRNN IMDB; arXiv:2010.00951"
    resident = ("tokens", "starts", "lengths", "labels")

    def __init__(
        self,
        *,
        seed: int,
        data_dir: Path | None = None,
        readout: str = "padded",
        vectors: str = "random",
        embedding_size: int = GLOVE_COLUMNS,
        max_length: int | None = None,
        train_examples: int | None = None,
        valid_examples: int | None = None,
        test_examples: int | None = None,
    ) -> None:
        super().__init__(seed=seed, data_dir=data_dir)
        self.readout = choice("readout", readout, ("padded", "valid"))
        self.vectors = vectors
        fixed = GLOVE_COLUMNS if vectors == "glove" else None
        self.columns = integer("embedding_size", embedding_size, fixed or 1, fixed)
        longest = optional_integer("max_length", max_length, 1)
        states = check(self.requires(vectors=vectors), data_dir)
        self._split(train_examples, valid_examples, test_examples)
        self._read(states["imdb"].key, longest)
        self.facts = {
            "data": "imdb",
            "files": "; ".join(state.variant for state in states.values()),
            "tokeniser": f"spacy {version('spacy')} blank en, case kept",
            "vectors": vectors,
            "readout": readout,
        }
        self.spec = Spec(
            input_size=self.columns,
            output_size=1,
            length=self._mean_length(),
            metric="accuracy",
            higher_is_better=True,
            vocabulary=len(self.words),
            embedding_size=self.columns,
            chance=0.5,
            padding_index=PAD,  # as in the coRNN code: the padding's vector stays zero
        )

    @classmethod
    def requires(cls, *, vectors: str = "random", **options: object) -> tuple[str, ...]:
        """The reviews, and GloVe where ``vectors`` says so."""
        return ("imdb",) if choice("vectors", vectors, ("random", "glove")) == "random" else ("imdb", "glove")

    def _split(self, train: int | None, valid: int | None, test: int | None) -> None:
        order = permutation(TRAIN + VALID, self.seed, "split")
        self._counted = order[:TRAIN]
        wanted = optional_integer("valid_examples", valid, 1)
        kept = order[TRAIN:][:wanted]
        test_index = first_of_test(2 * PER_FOLDER, optional_integer("test_examples", test, 1)) + 2 * PER_FOLDER
        self._set_indices(order[:TRAIN], kept, test_index)
        self._limit_train(train)

    def _read(self, key: str, longest: int | None) -> None:
        """Fill the resident tensors: tokens int16 (N,), starts and lengths int64 (R,), labels float32 (R,1)."""
        found = read_tokens(data_root(self.data_dir), key)
        if len(found.lengths) != len(FOLDERS) * PER_FOLDER:
            raise DataError(f"imdb: wanted {len(FOLDERS) * PER_FOLDER:,} reviews, got {len(found.lengths):,}")
        chosen = np.zeros(len(found.lengths), dtype=bool)
        chosen[self._counted.numpy()] = True
        self.words, ids = vocabulary(found, chosen, WORDS)
        self.tokens = torch.from_numpy(ids[found.tokens])
        lengths = torch.from_numpy(found.lengths).long()
        self.starts = lengths.cumsum(0) - lengths
        self.lengths = lengths.clamp(max=longest) if longest else lengths
        self._lengths = self.lengths  # stays on the CPU
        positive = torch.tensor([folder.endswith("pos") for folder in FOLDERS]).float()
        self.labels = positive.repeat_interleave(PER_FOLDER).unsqueeze(1)

    def _mean_length(self) -> int:
        """Mean padded length of the first epoch's training batches of 64."""
        index = self.indices["train"]
        order = index[permutation(len(index), self.seed, "order", 1)]
        longest = [int(self._lengths[part].max()) for part in order.split(NOMINAL_BATCH)]
        return round(sum(longest) / len(longest))

    @cached_property
    def _embedding(self) -> Tensor:
        vectors = random_vectors(len(self.words), self.columns, self.seed, "embedding")
        if self.vectors == "glove":
            found = set_glove(vectors, self.words, data_root(self.data_dir) / SOURCES["glove"].files[0].path)
            self.facts["vectors"] = f"glove 6B {self.columns}d, {found:,} of {len(self.words) - 2:,} words"
        return vectors

    def embedding(self) -> Tensor:
        """Initial embedding: float32 (25002, embedding_size), rows of ``<unk>`` and ``<pad>`` zero; a new copy."""
        return self._embedding.clone()

    def batches(self, split: Split, batch_size: int, epoch: int) -> Iterator[Batch]:
        """See ``Task.batches``; how long each batch gets is known on the CPU, so that no step waits for a GPU."""
        order = self.order(split, batch_size, epoch)
        longest = [int(self._lengths[part].max()) for part in order.split(batch_size)]
        parts = order.to(self.device).split(batch_size)
        return (self._padded(part, steps) for part, steps in zip(parts, longest))

    def gather(self, split: Split, index: Tensor) -> Batch:
        """X int64 (B,T) padded with ``<pad>`` to the longest of the batch, y float32 (B,1)."""
        return self._padded(index, int(self.lengths[index].max()))

    def _padded(self, index: Tensor, longest: int) -> Batch:
        lengths = self.lengths[index]
        steps = torch.arange(longest, device=index.device)
        places = (self.starts[index, None] + steps).clamp_(max=len(self.tokens) - 1)
        x = torch.where(steps < lengths[:, None], self.tokens[places].long(), PAD)
        return Batch(x, self.labels[index], lengths if self.readout == "valid" else None)
