"""IMDB: vocabulary, tokens, padding, embedding, GloVe vectors."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import spacy
import torch

from tasks.contract import DataError
from tasks.files import sha256
from tasks.reviews import load as load_reviews
from tasks.sources import SOURCES
from tasks.text import tokenise
from tests.protocol.files import (
    PER_FOLDER,
    all_batches,
)


def test_imdb_counts_the_training_words_and_keeps_their_case(make):
    task = make("imdb")
    assert task.words[:2] == ["<unk>", "<pad>"] and len(task.words) == 14 == task.spec.vocabulary
    assert "The" in task.words or "the" in task.words
    counts = task.tokens.long().bincount(minlength=14)
    assert counts[1] == 0 and counts[0] > 0  # nothing is stored as padding; rare words are unknown


def test_imdb_vocabulary_is_of_the_training_reviews_alone(make, root):
    """By hand: the words of the reviews trained on, by frequency, then by the alphabet."""
    task = make("imdb", train_examples=10)  # fewer to train on: the vocabulary is of the whole split all the same
    pieces = list(load_reviews(root / SOURCES["imdb"].files[0].path).pieces())
    tokeniser = spacy.blank("en").tokenizer

    def words(reviews):
        counts = Counter(token.text for i in reviews for token in tokeniser(pieces[i].decode()))
        return sorted(counts, key=lambda word: (-counts[word], word))[:12]

    counted = make("imdb").indices["train"].tolist()
    assert task.words[2:] == words(counted) and len(counted) == 42
    assert words(counted) != words(range(60)) and words(counted) != words(range(len(pieces)))


def test_imdb_words_are_those_of_spacys_tokeniser(root):
    reviews = load_reviews(root / SOURCES["imdb"].files[0].path)
    made = tokenise(reviews)
    words = made["words"].tobytes().decode().split("\0")
    assert words == sorted(set(words))
    tokeniser = spacy.blank("en").tokenizer
    start = 0
    for body, length in list(zip(reviews.pieces(), made["lengths"]))[:20]:
        found = [words[i] for i in made["tokens"][start : start + length]]
        assert found == [token.text for token in tokeniser(body.decode())]
        start += length


def test_imdb_pads_each_batch_to_its_longest_review(make):
    task = make("imdb", readout="valid")
    for batch in all_batches(task, "train", size=8):
        assert batch.lengths.dtype == torch.int64 and batch.x.shape[1] == batch.lengths.max()
        beyond = torch.arange(batch.x.shape[1]) >= batch.lengths[:, None]
        assert (batch.x[beyond] == 1).all() and (batch.x[~beyond] != 1).all()
    assert all(batch.lengths is None for batch in all_batches(make("imdb"), "train"))


def test_imdb_can_be_cut_to_the_first_words(make):
    task, cut = make("imdb"), make("imdb", max_length=5)
    whole, first = all_batches(task, "test", size=8)[0], all_batches(cut, "test", size=8)[0]
    assert torch.equal(whole.x[:, :5], first.x) and first.x.shape[1] == 5
    assert cut.spec.length <= 5 < task.spec.length


def test_imdb_labels_say_positive(make):
    task = make("imdb")
    assert (
        task.labels.flatten().tolist()
        == [1.0] * PER_FOLDER + [0.0] * PER_FOLDER + [1.0] * PER_FOLDER + [0.0] * PER_FOLDER
    )


def test_imdb_embedding_is_normal_with_zero_rows_for_unknown_and_padding(make):
    task = make("imdb", embedding_size=64)
    vectors = task.embedding()
    assert vectors.shape == (14, 64) and vectors.dtype == torch.float32
    assert (vectors[:2] == 0).all() and abs(float(vectors[2:].std()) - 1) < 0.1
    vectors.zero_()
    assert task.embedding().abs().sum() > 0  # every caller gets a copy


@pytest.fixture
def glove(root, make, monkeypatch):
    """Installs a GloVe file with the given lines."""

    def install(lines):
        path = root / "glove.6B.100d.txt"
        path.write_text("\n".join(lines) + "\n")
        raw = dataclasses.replace(SOURCES["glove"].files[0], bytes=path.stat().st_size, sha256=sha256(path))
        monkeypatch.setitem(SOURCES, "glove", dataclasses.replace(SOURCES["glove"], files=(raw,)))

    yield install
    (root / "glove.6B.100d.txt").unlink(missing_ok=True)


def test_glove_vectors_are_used_where_the_word_has_one(make, glove):
    words = make("imdb").words
    known = words[4]
    glove([f"{known} " + " ".join(["0.5"] * 100), "elsewhere " + " ".join(["1"] * 100)])
    task = make("imdb", vectors="glove")
    vectors = task.embedding()
    assert (vectors[4] == 0.5).all() and (vectors[:2] == 0).all() and vectors[5].std() > 0.5
    assert task.facts["vectors"] == "glove 6B 100d, 1 of 12 words"
    assert task.requires(vectors="glove") == ("imdb", "glove")


@pytest.mark.parametrize("rest", ["0.5 0.5", " ".join(["x"] * 100)])
def test_a_damaged_glove_line_is_named(make, glove, rest):
    glove(["elsewhere 1 2", f"{make('imdb').words[3]} {rest}"])
    with pytest.raises(DataError, match=r"glove\.6B\.100d\.txt, line 2"):
        make("imdb", vectors="glove").embedding()


def test_glove_is_never_chosen_silently(make, glove, root):
    glove([f"{make('imdb').words[2]} " + " ".join(["0.5"] * 100)])
    assert make("imdb").embedding()[2].std() > 0.5 and make("imdb").facts["vectors"] == "random"
    (root / "glove.6B.100d.txt").unlink()
    with pytest.raises(DataError, match="glove: not in"):
        make("imdb", vectors="glove")
