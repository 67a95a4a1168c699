"""Rejecting, dividing without leakage, and test sets that stay."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import artifact, dataset
from pipelines.artifact import Clean, Dataset
from pipelines.dataset import likeness
from pipelines.dataset.splits import ALIKE, HELD_OUT, Frozen, Pair, divide
from pipelines.errors import UserError
from pipelines.spec import Curation, Data, FilesSource, Limits, Splits

WORDS = (
    "alder",
    "birch",
    "cedar",
    "elm",
    "fir",
    "hazel",
    "ivy",
    "larch",
    "maple",
    "oak",
    "pine",
    "rowan",
    "spruce",
    "yew",
    "ash",
)
Rows = Sequence[tuple[str, str]]


def data(test: int = 4, validation: int = 3, curation: Curation | None = None, fresh: float = 0.1, **limits: float) -> Data:
    source = FilesSource(kind="files", paths=("x.csv",))
    splits = Splits(test=test, validation=validation, fresh=fresh)
    return Data(source=source, limits=Limits(**limits), curation=curation or Curation(), splits=splits)


def make_clean(folder: Path, rows: Rows, ids: Sequence[str] | None = None) -> Clean:
    named = zip(ids or [f"{n:016x}" for n in range(len(rows))], rows, strict=True)
    table = pa.Table.from_pylist([{"id": identity, "source": s, "target": t} for identity, (s, t) in named])
    number = len(list(folder.glob("clean-*")))
    return artifact.make(Clean, folder / f"clean-{number}", lambda path: pq.write_table(table, path / "pairs.parquet"))


def text(number: int, words: int = 12) -> str:
    """A text of its own: its words follow from `number`, so that two numbers share few shingles."""
    return " ".join(WORDS[(number * 7 + k * (number % 13 + 1)) % len(WORDS)] + str((number * k) % 17) for k in range(words))


def various(count: int) -> list[tuple[str, str]]:
    return [(f"{text(n)} {n}", f"{text(n + 1000, 5)} {n}") for n in range(count)]


def rows_of(made: Dataset) -> dict[str, list[tuple[str, str]]]:
    names = ("train", "validation", "test")
    tables = {name: pq.read_table(made.path / f"{name}.parquet").to_pylist() for name in names}
    return {name: [(row["source"], row["target"]) for row in rows] for name, rows in tables.items()}


def ids_of(made: Dataset, name: str) -> set[str]:
    return set(pq.read_table(made.path / f"{name}.parquet")["id"].to_pylist())


def facts_of(made: Dataset) -> dict[str, object]:
    facts: dict[str, object] = json.loads((made.path / "dataset.json").read_text())
    return facts


def test_rejects_are_counted_by_reason_and_by_filter(tmp_path: Path) -> None:
    good = various(20)
    broken = [("a\N{REPLACEMENT CHARACTER}", "b"), ("a\0", "b")]
    bad = [("", "x"), ("x", " "), *broken, ("y" * 501, "b"), ("y", "b" * 101), good[0]]
    made = dataset.split(make_clean(tmp_path, good + bad), data(source_chars=500, target_chars=100), tmp_path / "out")
    facts = facts_of(made)
    assert facts["rejected"] == {
        "empty source": 1,
        "empty target": 1,
        "bad UTF-8": 2,
        "source too long": 1,
        "target too long": 1,
        "duplicate": 1,
    }
    assert facts["filters"] == [
        {"name": "forgotten", "in": 27, "out": 27},
        {"name": "empty", "in": 27, "out": 25},
        {"name": "bad UTF-8", "in": 25, "out": 23},
        {"name": "too long", "in": 23, "out": 21},
        {"name": "duplicate", "in": 21, "out": 20},
        {"name": "held out", "in": 20, "out": 20},
    ]
    assert (facts["rows"], facts["kept"]) == (27, 20)
    assert facts["splits"] == {"train": 13, "validation": 3, "test": 4}
    assert sorted(pair for pairs in rows_of(made).values() for pair in pairs) == sorted(good)
    dropped = pq.read_table(made.path / "dropped.parquet").to_pylist()
    assert Counter(row["filter"] for row in dropped) == {"empty": 2, "bad UTF-8": 2, "too long": 2, "duplicate": 1}


def test_too_many_rejected(tmp_path: Path) -> None:
    clean = make_clean(tmp_path, [*various(10), *[("", "x")] * 11])
    with pytest.raises(UserError, match=r"data\.limits\.reject_rate: 52% of 21 rows are rejected \(empty source 11\)"):
        dataset.split(clean, data(), tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_no_rows_at_all(tmp_path: Path) -> None:
    empty = pa.table({name: pa.array([], pa.string()) for name in ("id", "source", "target")})
    clean = artifact.make(Clean, tmp_path / "clean", lambda path: pq.write_table(empty, path / "pairs.parquet"))
    with pytest.raises(UserError, match="0 pairs remain of 0 rows"):
        dataset.split(clean, data(), tmp_path / "out")


def test_too_few_for_the_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.splits: 7 pairs remain of 7 rows .*need 8"):
        dataset.split(make_clean(tmp_path, various(7)), data(), tmp_path / "out")
    alike = [(f"{text(1, 40)} {n}", f"{text(2, 40)} {n}") for n in range(20)]
    with pytest.raises(UserError, match="1 clusters of near-duplicates do not fill test and validation"):
        dataset.split(make_clean(tmp_path, alike), data(), tmp_path / "out")


def test_the_same_bytes_whatever_the_order_and_twice(tmp_path: Path) -> None:
    rows = [*various(30), *various(3)]
    ids = [f"{n:016x}" for n in range(len(rows))]
    asked = data(curation=Curation(near_duplicates="drop", boilerplate=2, alignment=0.1))
    made = dataset.split(make_clean(tmp_path, rows, ids), asked, tmp_path / "out")
    assert artifact.verify(made.path) == made.sha256
    again = dataset.split(make_clean(tmp_path, rows[::-1], ids[::-1]), asked, tmp_path / "out")
    assert again.path != made.path
    assert again.sha256 == made.sha256


def test_new_rows_move_few_old_ones(tmp_path: Path) -> None:
    def home(rows: Rows) -> dict[tuple[str, str], str]:
        made = dataset.split(make_clean(tmp_path, rows), data(test=20, validation=20), tmp_path / "out")
        return {pair: name for name, pairs in rows_of(made).items() for pair in pairs}

    before, after = home(various(200)), home(various(204))
    assert sum(after[pair] != name for pair, name in before.items()) <= 8


# ---- near-duplicates


def shingled(text: str) -> set[tuple[str, ...]]:
    """What `likeness.shingles` says, said plainly."""
    words = re.findall(r"\w+", text.lower()) or [text]
    return {tuple(words[start : start + 3]) for start in range(max(len(words) - 2, 1))}


def jaccard(one: str, other: str) -> float:
    return len(shingled(one) & shingled(other)) / len(shingled(one) | shingled(other))


def plainly(texts: Sequence[str], threshold: float) -> set[frozenset[int]]:
    """The clusters by comparing everything with everything."""
    label = list(range(len(texts)))
    for one in range(len(texts)):
        for other in range(one):
            if jaccard(texts[one], texts[other]) >= threshold:
                label = [label[other] if each == label[one] else each for each in label]
    return {frozenset(n for n, each in enumerate(label) if each == name) for name in label}


few_words = st.lists(st.sampled_from(["a", "b", "c", "D", "<X_1>", "ü", "--"]), max_size=9).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(few_words, min_size=1, max_size=25), st.sampled_from([0.1, 0.3, 0.5, 0.55, 2 / 3, 0.75, 0.8, 1.0]))
def test_clusters_are_those_of_comparing_all_with_all(texts: list[str], threshold: float) -> None:
    sets = likeness.shingles(texts)
    assert np.diff(sets.indptr).tolist() == [len(shingled(text)) for text in texts]
    labels = likeness.clusters([sets], threshold).tolist()
    assert {frozenset(n for n, each in enumerate(labels) if each == name) for name in labels} == plainly(texts, threshold)


@settings(max_examples=60, deadline=None)
@given(st.lists(few_words, min_size=2, max_size=20), st.sampled_from([0.3, 0.5, 0.8]))
def test_what_crosses_is_found_whole(texts: list[str], threshold: float) -> None:
    groups = np.arange(len(texts)) % 2
    rows = np.flatnonzero(groups == 0)
    one, other = likeness.crossing([likeness.shingles(texts)], rows, groups, threshold)
    found = set(zip(one.tolist(), other.tolist(), strict=True))
    odd = range(1, len(texts), 2)
    assert found == {(a, b) for a in rows.tolist() for b in odd if jaccard(texts[a], texts[b]) >= threshold}


def test_work_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{text(n % 40, 10)} tail{n}" for n in range(200)]
    whole = likeness.clusters([likeness.shingles(texts)], 0.5)
    monkeypatch.setattr(likeness, "CANDIDATES", 50)
    monkeypatch.setattr(likeness, "TEXTS", 7)
    assert np.array_equal(likeness.clusters([likeness.shingles(texts)], 0.5), whole)


# ---- frozen test sets

KEYS = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3), st.integers(0, 25)), min_size=30, max_size=60, unique=True)


def pairs_of(keys: Collection[tuple[int, int, int]]) -> list[Pair]:
    # the second number changes one word in fourteen: Jaccard above 0.5
    return [Pair(f"{a}.{b}.{c}", f"{text(a, 14)} tail{b}", f"{text(c + 500, 6)} {a}.{b}.{c}") for a, b, c in keys]


def assert_apart(pairs: Sequence[Pair], names: Sequence[str]) -> None:
    for one, pair in enumerate(pairs):
        for other in range(one):
            if names[one] != names[other] and not {names[one], names[other]} & {HELD_OUT, ALIKE}:
                assert jaccard(pair.source, pairs[other].source) < 0.5
                assert jaccard(pair.target, pairs[other].target) < 0.5


@settings(max_examples=25, deadline=None)
@given(KEYS, st.booleans())
def test_no_near_duplicate_crosses_a_split(keys: list[tuple[int, int, int]], drop: bool) -> None:
    pairs = pairs_of(keys)
    try:
        names = divide(pairs, Splits(test=2, validation=1, near_duplicate=0.5), drop=drop).names
    except UserError:
        return  # too much alike to fill the splits: refused, not leaked
    assert (names.count("test"), names.count("validation")) == (2, 1)
    assert_apart(pairs, names)
    train = [pair for pair, name in zip(pairs, names, strict=True) if name == "train"]
    if drop:
        labels = likeness.clusters([likeness.shingles([getattr(p, s) for p in train]) for s in ("source", "target")], 0.5)
        assert len(set(labels.tolist())) == len(train)
    else:
        assert ALIKE not in names


@settings(max_examples=25, deadline=None)
@given(KEYS, KEYS, st.data())
def test_frozen_test_pairs_never_move_and_nothing_near_them_is_learnt(
    old: list[tuple[int, int, int]], new: list[tuple[int, int, int]], choose: st.DataObject
) -> None:
    splits = Splits(test=2, validation=1, near_duplicate=0.5)
    before = pairs_of(old)
    try:
        first = divide(before, splits).names
    except UserError:
        return
    test = frozenset(pair.id for pair, name in zip(before, first, strict=True) if name == "test")
    published = Frozen(test, {}, known=tuple(before))
    assert divide(before, splits, published).names == first  # the same data again: nothing moves at all
    gone = choose.draw(st.sampled_from([set(), {min(test)}]))
    pairs = pairs_of([key for key in dict.fromkeys([*new, *old]) if "{}.{}.{}".format(*key) not in gone])
    try:
        division = divide(pairs, splits, published)
    except UserError:
        return
    names = division.names
    now = {pair.id for pair, name in zip(pairs, names, strict=True) if name == "test"}
    assert test - gone <= now
    assert len(now - division.fresh) == 2
    assert len(division.fresh) <= 1, "half of the room"
    assert_apart(pairs, names)
    for pair, name in zip(pairs, names, strict=True):
        if name == HELD_OUT:
            near = [other for other in pairs if other.id in test]
            assert any(jaccard(pair.source, o.source) >= 0.5 or jaccard(pair.target, o.target) >= 0.5 for o in near)


def test_a_retrain_of_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    rows = [*various(40), *various(3), ("", "x")]
    asked = data(curation=Curation(near_duplicates="drop", boilerplate=2, alignment=0.05))
    first = dataset.split(make_clean(tmp_path, rows), asked, tmp_path / "out")
    for _ in range(2):
        again = dataset.split(make_clean(tmp_path, rows), asked, tmp_path / "out", dataset.frozen(first.path))
        assert again.sha256 == first.sha256


def test_a_test_set_stays_while_the_data_grow(tmp_path: Path) -> None:
    ids = [f"{n * 7919 % 10_007:016x}" for n in range(300)]
    rows = various(300)
    first = dataset.split(make_clean(tmp_path, rows[:60], ids[:60]), data(), tmp_path / "out")
    test = ids_of(first, "test")
    before = dataset.frozen(first.path)
    assert before is not None
    # and a pair that differs from a test pair in its last word only: an early id, so that it would go first
    near = [(f"{source} again", f"{target} again") for source, target in rows_of(first)["test"]]
    clean = make_clean(tmp_path, [*rows, *near], [*ids, *(f"-{n}" for n in range(len(near)))])
    grown = dataset.split(clean, data(fresh=0), tmp_path / "out", before)
    assert ids_of(grown, "test") == test
    facts, old = facts_of(grown), facts_of(first)
    assert facts["test_set"] == old["test_set"]
    assert facts["rejected"] == {"held out": len(near)}
    assert old["test_set"] == {**before.facts, "before": None, "pairs": 4, "carried": 0, "new": 4, "fresh": 0, "learnt": 0}


def test_what_left_the_data_is_made_up_for_and_told(tmp_path: Path) -> None:
    rows = various(60)
    ids = [f"{n:016x}" for n in range(60)]
    first = dataset.split(make_clean(tmp_path, rows), data(), tmp_path / "out")
    before = dataset.frozen(first.path)
    assert before is not None
    gone = min(ids_of(first, "test"))
    rest = dataset.split(make_clean(tmp_path, rows), data(), tmp_path / "out", before, [gone])
    assert ids_of(rest, "test") >= ids_of(first, "test") - {gone}
    told = facts_of(rest)["test_set"]
    assert isinstance(told, dict)
    assert (told["before"], told["pairs"], told["carried"]) == (before.facts["version"], 4, 3)
    assert (told["new"], told["fresh"], told["learnt"]) == (1, 0, 1)
    assert not any(gone in ids_of(rest, name) for name in ("train", "validation", "test", "dropped"))
    assert set(ids) - {gone} == set().union(*(ids_of(rest, name) for name in ("train", "validation", "test")))


def test_a_smaller_test_set_is_a_part_of_the_old_one(tmp_path: Path) -> None:
    clean = make_clean(tmp_path, various(60))
    first = dataset.split(clean, data(test=8), tmp_path / "out")
    second = dataset.split(clean, data(test=4), tmp_path / "out", dataset.frozen(first.path))
    assert ids_of(second, "test") < ids_of(first, "test")
    assert len(ids_of(second, "test")) == 4


def test_the_published_test_set_is_what_its_file_holds(tmp_path: Path) -> None:
    assert dataset.frozen(tmp_path / "none") is None
    made = dataset.split(make_clean(tmp_path, various(30)), data(), tmp_path / "out")
    found = dataset.frozen(made.path)
    assert found is not None
    assert found.ids == ids_of(made, "test")
    # a deletion rewrote the file, or it is older than versions of test sets
    cut = tmp_path / "cut"
    shutil.copytree(made.path, cut, copy_function=shutil.copyfile)
    pq.write_table(pq.read_table(made.path / "test.parquet").slice(1), cut / "test.parquet")
    rewritten = dataset.frozen(cut)
    assert rewritten is not None
    assert rewritten.facts["version"] != found.facts["version"]
    assert rewritten.facts["pairs"] == 3
