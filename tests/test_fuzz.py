"""Bad recipes, records, plans, claims and checkpoints in numbers: a named error that names the file, and nothing else.

The long run: HYPOTHESIS_PROFILE=thorough python -m pytest tests/test_fuzz*.py --timeout 0
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import recipes
from suite.errors import SuiteError, UsageError
from suite.keys import TRAINER
from suite.names import resolve
from suite.plan import MOST_SEEDS, Request, expand, parse_seeds, parse_set
from suite.record import RecordError, canonical, dumps, load, validate
from suite.runs import Run
from suite.work import claims
from suite.work.training import checkpoint
from tests.harness.grids import planned, undisturbed

MODEL, TASK = "tests.plugins.tiny:Leaky", "tests.plugins.tiny:Parity"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=6), x, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def record(place) -> dict:
    runs = planned("cornn", seeds=(0,), epochs=2)
    (found,) = undisturbed(runs, place).values()
    assert found["profiles"]
    return json.loads(dumps(found))


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """Bytes that were truncated, altered, repeated or mixed with others."""
    text = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.integers(0, 4))
        start = draw(st.integers(0, max(0, len(text) - 1)))
        end = min(len(text), start + draw(st.integers(1, 40)))
        if kind == 0:
            del text[start:]
        elif kind == 1:
            del text[start:end]
        elif kind == 2:
            text[start:end] = draw(st.binary(max_size=12))
        elif kind == 3:
            text[start:start] = text[start:end] * draw(st.integers(1, 3))
        elif text:
            text[start] ^= draw(st.integers(1, 255))
    return bytes(text)


def places(value: object, at: tuple = ()) -> list[tuple]:
    """Every place in a JSON value."""
    found = [at]
    if isinstance(value, dict):
        found += [p for key, item in value.items() for p in places(item, (*at, key))]
    if isinstance(value, list):
        found += [p for k, item in enumerate(value[:3]) for p in places(item, (*at, k))]
    return found


def changed(value, at: tuple, new: object):
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = changed(copy[at[0]], at[1:], new)
    return copy


# ---- records ---------------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_damaged_records_are_refused_or_sound(data, record, place):
    path = place / "record.json"
    path.write_bytes(data.draw(damaged(dumps(record).encode())))
    try:
        found = load(path)
    except RecordError as error:
        assert str(path) in str(error) and len(str(error)) < 2_000
    else:
        assert Run.from_identity(found["run"]).id == found["id"]
        validate(found)


@given(data=st.data())
def test_records_with_a_foreign_value_anywhere_are_refused_or_sound(data, record):
    at = data.draw(st.sampled_from(places(record)))
    new = data.draw(JSON)
    values = changed(record, at, new)
    try:
        found = validate(values)
    except RecordError as error:
        assert str(error)
    else:
        run = Run.from_identity(found["run"])
        assert run.id == found["id"] and isinstance(run.model, str) and isinstance(run.seed, int)
        assert all(len(norms) == len(p["t"]) for p in found["profiles"] for norms in p["norms"])


def test_records_without_any_one_field_are_refused_or_sound(record):
    """Every field, not a sample of them."""
    sound = set()
    for at in (p for p in places(record) if p and isinstance(p[-1], str)):
        parent = record
        for step in at[:-1]:
            parent = parent[step]
        try:
            validate(changed(record, at[:-1], {k: v for k, v in parent.items() if k != at[-1]}))
        except RecordError as error:
            assert str(error)
        else:
            sound.add(at)
    for at in sound:  # one that older records lack, or one of an open table
        older = at in (("seconds", "train_processor"), ("seconds", "train_waited"))
        assert older or at[0] in ("where", "sources", "error", "curve") or at[:2] == ("run", "recipe"), at


@given(st.text(alphabet='{}[]",:0123456789eE+-.ntrufalse \\u', max_size=200) | st.binary(max_size=200).map(repr))
def test_any_text_is_no_record(text):
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / "rnnbench-fuzz-record.json"
    try:
        path.write_text(text, errors="surrogateescape")
        with pytest.raises(RecordError):
            load(path)
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"schema": ' + "9" * 5000 + "}"])
def test_deep_and_long_json_is_refused(text, tmp_path):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(RecordError, match=r"r\.json"):
        load(tmp_path / "r.json")


def test_a_huge_file_is_refused_unread(tmp_path):
    with (tmp_path / "r.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RecordError, match="wanted at most 268,435,456 bytes"):
        load(tmp_path / "r.json")


# ---- recipes ---------------------------------------------------------------------------------------------------------


def read_anew(path: Path) -> None:
    recipes.read.cache_clear()
    recipe = recipes.load(resolve("model", "cornn"), path.stem, extra=path.parent)
    assert set(recipe.sources) == set(recipe.values)
    canonical(recipe.values)  # all of it can stand in a run's id


@given(data=st.data())
def test_damaged_recipes_name_the_file_or_are_sound(data, place):
    whole = (recipes.folder() / "adding.toml").read_bytes()
    path = place / "adding.toml"
    path.write_bytes(data.draw(damaged(whole)))
    try:
        read_anew(path)
    except UsageError as error:
        assert str(path) in str(error), error


TOML_VALUES = st.one_of(
    st.integers().map(str), st.floats().map(str), st.booleans().map(lambda b: str(b).lower()), st.just("[1, 2]"),
    st.just("{a = 1}"), st.just("2020-01-01"), st.text(max_size=5).map(json.dumps), st.just("nan"), st.just("-inf"),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*TRAINER, "dt", "gamma", "epsilon", "x", "source", "sources"]), TOML_VALUES))
def test_recipes_of_any_values_name_the_file_or_are_sound(values):
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / "rnnbench-fuzz" / "adding.toml"
    path.parent.mkdir(exist_ok=True)
    try:
        lines = [f"{key} = {value}" for key, value in values.items()]
        path.write_text("[default]\n" + "\n".join(lines) + "\n", errors="replace")
        try:
            read_anew(path)
        except UsageError as error:
            assert str(path) in str(error), error
    finally:
        path.unlink(missing_ok=True)
        path.parent.rmdir()


# ---- plans -----------------------------------------------------------------------------------------------------------


@given(
    st.text(max_size=60)
    | st.from_regex(r"[0-9]{0,12}(-[0-9]{0,12})?(,[0-9]{0,12}(-[0-9]{0,12})?){0,3}", fullmatch=True)
)
def test_seeds_are_few_and_known_or_refused(text):
    try:
        seeds = parse_seeds(text)
    except UsageError as error:
        assert "--seeds: wanted" in str(error) and len(str(error)) < 300
    else:
        assert (
            0 < len(seeds) <= MOST_SEEDS and len(set(seeds)) == len(seeds) and 0 <= min(seeds) <= max(seeds) < 1 << 31
        )


KEYS = st.sampled_from([*TRAINER, "rate", "dt", "engine", "length", "seed", "", "a b"])
VALUES = st.one_of(TOML_VALUES, st.text(max_size=10), st.just("1\nx = 2"), st.just("0x10"), st.just("'''"))


@given(st.lists(st.tuples(st.sampled_from(["", f"{MODEL}.", f"{TASK}.", "x."]), KEYS, VALUES), max_size=3))
def test_settings_make_a_run_with_an_id_or_a_usage_error(sets):
    try:
        parsed = tuple(parse_set(f"{name}{key}={value}") for name, key, value in sets)
        runs = expand(Request(models=(MODEL,), tasks=(TASK,), sets=parsed))
    except UsageError as error:
        assert str(error)
    else:
        assert [Run.from_identity(json.loads(canonical(one.run.identity()))).id for one in runs] == [runs[0].run.id]


@given(st.text(max_size=30))
def test_any_name_is_resolved_or_a_usage_error(name):
    for kind in ("model", "task"):
        try:
            resolve(kind, name)
        except SuiteError as error:
            assert error.exit_code == 2 and str(error)


# ---- claims and checkpoints ------------------------------------------------------------------------------------------


@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_file_is_a_claim_or_none(data):
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / "rnnbench-fuzz.claim"
    try:
        path.write_bytes(data)
        assert claims.read(path) is None
    finally:
        path.unlink(missing_ok=True)


@given(data=st.data())
def test_damaged_claims_are_whole_claims_or_none(data, place):
    whole = claims.Claim.mine()
    path = place / "a.claim"
    path.write_bytes(data.draw(damaged(json.dumps(whole.__dict__).encode())))
    found = claims.read(path)
    assert found is None or (isinstance(found.pid, int) and len(found.token) == 16)


@given(data=st.data())
def test_damaged_checkpoints_are_never_taken(data, place):
    path = place / "c.pt"
    checkpoint.save(path, "a run", {"weights": [1.0, 2.0], "norms": [random.Random(0).random() for _ in range(50)]})
    whole = path.read_bytes()
    text = data.draw(damaged(whole))
    path.write_bytes(text)
    state, trouble = checkpoint.load(path, "a run")
    assert (state is None and "the run starts anew" in trouble) or text == whole
