"""Damaged and hostile data files in numbers: an error that names the file, bounded memory, nothing executed.

The long run: HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_fuzz*.py --timeout 0
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks import har2, pixels, reviews, text, verifying
from tasks.cache import cached
from tasks.errors import DataError
from tasks.pickled import cifar_records
from tests.test_fuzz import damaged


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


# ---- parsers ---------------------------------------------------------------------------------------------------------


def idx(kind: int, shape: tuple[int, ...], body: bytes) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + body


@given(data=st.data())
def test_damaged_idx_files_are_named(data, place):
    raw = place / "idx" / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    wholes = {
        "train-images-idx3-ubyte": idx(8, (4, 28, 28), bytes(4 * 784)),
        "train-labels-idx1-ubyte": idx(8, (4,), bytes(4)),
        "t10k-images-idx3-ubyte": idx(8, (2, 28, 28), bytes(2 * 784)),
        "t10k-labels-idx1-ubyte": idx(8, (2,), bytes(2)),
    }
    hurt = data.draw(st.sampled_from(list(wholes)))
    kind = data.draw(st.sampled_from(["damage", "counts"]))
    for name, body in wholes.items():
        (raw / name).write_bytes(body)
    if kind == "damage":
        (raw / hurt).write_bytes(data.draw(damaged(wholes[hurt])))
    else:
        shape = data.draw(st.lists(st.integers(0, (1 << 32) - 1), max_size=4).map(tuple))
        (raw / hurt).write_bytes(idx(data.draw(st.integers(0, 255)), shape, wholes[hurt][-50:]))
    try:
        pixels._read_mnist(place / "idx")
    except DataError as error:
        assert str(place / "idx") in str(error)


def test_what_the_long_run_found_in_other_files(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(10, (0,), b""))  # no such type
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(8, (4,), bytes(4)))
    with pytest.raises(DataError, match="cannot be read"):
        pixels._read_mnist(tmp_path)
    (tmp_path / "glove.txt").write_text("the 0.5 0.5e143\n")
    with pytest.raises(DataError, match="line 1: a number that is not finite"):
        text.set_glove(torch.zeros(3, 2), ["<unk>", "<pad>", "the"], tmp_path / "glove.txt")


@given(data=st.data())
def test_damaged_har_texts_are_named(data, place):
    whole = "\n".join("  ".join(f"{v: .7e}" for v in row) for row in np.arange(40.0).reshape(8, 5)).encode()
    path = place / "total_acc_x_train.txt"
    path.write_bytes(data.draw(damaged(whole)))
    try:
        found = har2._numbers(path, (8, 5))
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert found.shape == (8, 5) and np.isfinite(found).all()


@given(body=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_no_har_text(body, place):
    path = place / "y_train.txt"
    path.write_bytes(body)
    with pytest.raises(DataError, match=r"y_train\.txt"):
        har2._numbers(path, (7352,))


@given(data=st.data())
def test_damaged_review_files_are_named(data, place):
    path = place / "labelled.npz"
    found = {folder: {0: (9, b"a word"), 1: (2, "Größe".encode())} for folder in reviews.FOLDERS}
    reviews.save(path, reviews.pack(found))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        loaded = reviews.load(path)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert len(loaded.pieces()) == len(loaded.lengths)


def npy(header: str, body: bytes) -> bytes:
    text_ = header.encode("latin1").ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text_)) + text_ + body


@pytest.mark.parametrize(
    "shape", ["(99999999999999999999,)", "(1000000000000,)", "(-1,)", "('a',)", "x", "(1" + "0" * 90 + ",)", "((0,),)"]
)
def test_huge_counts_in_array_headers_are_named(shape, tmp_path):
    path = tmp_path / "labelled.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in reviews.Reviews._fields:
            archive.writestr(
                f"{name}.npy", npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}", b"abc")
            )
    with pytest.raises(DataError, match=r"labelled\.npz"):
        reviews.load(path)


@given(data=st.data())
def test_arrays_that_do_not_fit_each_other_are_named(data, place):
    path = place / "unfit.npz"
    found = reviews.pack({folder: {0: (9, b"a word"), 1: (2, b"two words")} for folder in reviews.FOLDERS})
    name = data.draw(st.sampled_from(reviews.Reviews._fields))
    kind = data.draw(st.sampled_from(["uint8", "int32", "int64", "float64", "U3"]))
    shape = data.draw(st.lists(st.integers(0, 9), max_size=2).map(tuple))
    values = data.draw(st.lists(st.integers(-3, 99), min_size=81, max_size=81))
    array = np.resize(np.array(values), shape).astype(kind)
    np.savez(path, **{**found._asdict(), name: array})
    try:
        assert len(reviews.content_digest(path)) == 64
    except DataError as error:
        assert str(path) in str(error)


def test_objects_in_an_array_file_are_refused(tmp_path):
    path = tmp_path / "labelled.npz"
    np.savez(path, **{name: np.array([Evil()], dtype=object) for name in reviews.Reviews._fields})
    with pytest.raises(DataError, match=r"labelled\.npz"):
        reviews.load(path)
    assert not Path("rnnbench-was-here").exists()


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("rnnbench-was-here"),))


@given(data=st.data())
def test_damaged_glove_files_are_named_by_line(data, place):
    whole = "\n".join(f"{word} " + " ".join(f"{k / 7:.5f}" for k in range(5)) for word in ("the", "of", "<unk>", "ß"))
    path = place / "glove.txt"
    path.write_bytes(data.draw(damaged(whole.encode())))
    vectors = torch.zeros(5, 5)
    try:
        found = text.set_glove(vectors, ["<unk>", "<pad>", "the", "of", "ß"], path)
    except DataError as error:
        assert f"{path}, line " in str(error)
    else:
        assert found >= 0
        assert not vectors[:2].any()
        assert torch.isfinite(vectors).all()


@given(data=st.data())
def test_damaged_caches_are_made_anew(data, place):
    root = place / "cache-root"
    (root / "cache").mkdir(parents=True, exist_ok=True)

    def parse():
        return {"numbers": np.arange(50)}

    for left in (root / "cache").glob("n-*.npz"):  # of the example before: damaged, perhaps still readable
        left.unlink()
    cached(root, "n", ("key",), ("numbers",), parse)
    (path,) = (root / "cache").glob("n-*.npz")
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    found = cached(root, "n", ("key",), ("numbers",), parse)["numbers"]
    assert found.tolist() == list(range(50))


@given(body=st.binary(max_size=100) | st.text(max_size=50).map(str.encode))
def test_any_manifest_is_read_or_made_anew(body, place):
    path = place / "m" / "manifests" / "mnist.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    assert verifying.inspect("mnist", place / "m", deep=False).status == "missing"


# ---- pickles of CIFAR's python version -------------------------------------------------------------------------------

BATCH = pickle.dumps({b"labels": [1, 2], b"data": np.zeros((2, 3072), np.uint8)}, protocol=2)


@given(data=st.data())
def test_damaged_pickles_are_refused_or_records(data):
    try:
        found = cifar_records(data.draw(damaged(BATCH)), "data_batch_1")
    except DataError as error:
        assert "data_batch_1" in str(error)
    else:
        assert len(found) % 3073 == 0


OPCODES = st.sampled_from([bytes([k]) for k in b"(.0125BCDEFGIJKLMNPQRSTUVX]abcdeghijlopqrstu}\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95"])  # noqa: E501  # fmt: skip


@given(body=st.lists(OPCODES | st.binary(max_size=6) | st.sampled_from([b"cposix\nsystem\n", b"cbuiltins\neval\n"])))
def test_any_pickle_is_refused(body):
    with pytest.raises(DataError):
        cifar_records(b"\x80\x04" + b"".join(body) + b".", "data_batch_1")


def test_a_pickle_that_grows_without_end_is_refused_at_once():
    """Ten references to a list of ten references to a list ... as the labels."""
    nested: list = [0]
    for _ in range(30):
        nested = [nested] * 10
    data = pickle.dumps({b"labels": nested, b"data": np.zeros((1, 3072), np.uint8)}, protocol=2)
    with pytest.raises(DataError, match="data_batch_1"):
        cifar_records(data, "data_batch_1")


FORBIDDEN = ("eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "shelve.open")


def test_no_outside_file_is_unpickled_or_evaluated():
    """The only unpickler is the one that builds arrays alone, and nothing is evaluated."""
    import ast

    found = []
    root = Path(__file__).resolve().parent.parent
    for path in [p for package in ("models", "tasks", "suite") for p in (root / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in (
                    "eval",
                    "exec",
                    "pickle.load",
                    "pickle.loads",
                    "pickle.Unpickler",
                    "marshal.loads",
                    "shelve.open",
                ):
                    found.append(f"{path.name}:{node.lineno} {name}")
                if name == "torch.load":
                    assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path
                if name in ("np.load", "numpy.load"):
                    assert any(k.arg == "allow_pickle" and ast.unparse(k.value) == "False" for k in node.keywords), path
    assert not found
