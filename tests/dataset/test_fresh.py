"""A test set that grows with the data: what joins it no model has learned from, what is in it stays, and it never floods."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines import dataset
from pipelines.artifact import Dataset
from pipelines.dataset import versions
from pipelines.dataset.deletion import forget
from pipelines.dataset.history import diff
from pipelines.dataset.splits import HELD_OUT, Division, Frozen, Pair, divide
from pipelines.errors import UserError
from pipelines.spec import Splits
from tests.dataset.project import make_repo
from tests.dataset.test_split import assert_apart, data, facts_of, ids_of, jaccard, make_clean, pairs_of, text, various

KEYS = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3), st.integers(0, 25)), min_size=20, max_size=50, unique=True)
SHARES = st.sampled_from([0.0, 0.1, 0.5, 1.0])


def published(pairs: Sequence[Pair], division: Division) -> Frozen:
    """What the next division knows of this one, as `dataset.frozen` reads it from the files."""
    named = list(zip(pairs, division.names, strict=True))
    known = tuple(pair for pair, name in named if name in {"train", "validation", "test"})
    return Frozen(frozenset(pair.id for pair, name in named if name == "test"), {}, division.fresh, known)


def grown(old: Sequence[Pair], new: Sequence[Pair], splits: Splits) -> tuple[Frozen, Division]:
    """The first division, and the second one of what is there then; refused draws are no example."""
    try:
        first = published(old, divide(old, splits))
        return first, divide(new, splits, first)
    except UserError:
        assume(False)
        raise


@settings(max_examples=40, deadline=None)
@given(KEYS, KEYS, SHARES, st.data())
def test_nothing_that_was_learnt_joins_and_all_that_was_in_stays(
    old: list[tuple[int, int, int]], new: list[tuple[int, int, int]], share: float, choose: st.DataObject
) -> None:
    splits = Splits(test=4, validation=1, near_duplicate=0.5, fresh=share)
    before = pairs_of(old)
    first, _ = grown(before, before, splits)
    # pairs leave, but none of the test set: what made up for one may have been learnt where nothing new could
    gone = set(choose.draw(st.lists(st.sampled_from(sorted({pair.id for pair in before} - first.ids)), max_size=5)))
    pairs = [pair for pair in dict.fromkeys([*pairs_of(new), *before]) if pair.id not in gone]
    try:
        now = divide(pairs, splits, first)
    except UserError:
        return
    test = {pair.id for pair, name in zip(pairs, now.names, strict=True) if name == "test"}
    assert test == first.ids | now.fresh
    assert len(now.fresh) <= 2, "half of the room, which is as large as the first draw"
    assert not now.fresh & {pair.id for pair in first.known}
    for pair in pairs:
        if pair.id in now.fresh:
            near = [o for o in first.known if max(jaccard(pair.source, o.source), jaccard(pair.target, o.target)) >= 0.5]
            assert not near, "not even the near-duplicate of a pair that has left"
    assert_apart(pairs, now.names)
    assert divide(pairs, splits, published(pairs, now)) == now, "the same data again"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=6), SHARES, st.integers(0, 1_000))
def test_it_never_holds_more_than_twice_the_first_draw(batches: list[int], share: float, seed: int) -> None:
    splits = Splits(test=5, validation=2, near_duplicate=0.9, fresh=share)
    draw = random.Random(seed)
    pairs = [Pair(f"{draw.random():.9f}", f"{text(n)} {n}", f"{text(n + 500, 5)} {n}") for n in range(30)]
    now = divide(pairs, splits)
    for batch in batches:
        before, last = published(pairs, now), now.fresh
        pairs += [
            Pair(f"{draw.random():.9f}", f"{text(n)} {n}", f"{text(n + 500, 5)} {n}")
            for n in range(len(pairs), len(pairs) + batch)
        ]
        now = divide(pairs, splits, before)
        assert last <= now.fresh
        assert len(now.fresh) <= splits.test
        assert len(now.fresh - last) <= (splits.test - len(last) + 1) // 2
        assert Counter(now.names)["test"] == splits.test + len(now.fresh)
        assert HELD_OUT not in now.names


def test_the_share_is_the_one_asked_for() -> None:
    old = [Pair(f"{n:016x}", f"{text(n)} {n}", f"{text(n + 9_000, 5)} {n}") for n in range(2_500)]
    new = [Pair(f"{n:016x}", f"{text(n)} {n}", f"{text(n + 9_000, 5)} {n}") for n in range(2_500, 6_500)]
    for share in (0.05, 0.1, 0.2):
        splits = Splits(test=2_000, validation=100, near_duplicate=1.0, fresh=share)
        _, now = grown(old, [*old, *new], splits)
        drawn, spread = len(now.fresh), (4_000 * share * (1 - share)) ** 0.5
        assert abs(drawn - 4_000 * share) < 4 * spread
        assert now.names[: len(old)].count("test") == 2_000
        validated = [name for name in now.names[len(old) :] if name == "validation"]
        assert len(validated) > 30, "what is new is validated on, too"


def test_what_left_is_made_up_for_by_what_no_model_knows() -> None:
    old = [Pair(f"{n:016x}", f"{text(n)} {n}", f"{text(n + 500, 5)} {n}") for n in range(40)]
    splits = Splits(test=6, validation=2, near_duplicate=0.9, fresh=0)
    first = published(old, divide(old, splits))
    more = [Pair(f"{n:016x}", f"{text(n)} {n}", f"{text(n + 500, 5)} {n}") for n in range(40, 60)]
    pairs = [pair for pair in [*old, *more] if pair.id not in sorted(first.ids)[:3]]
    now = divide(pairs, splits, first)
    test = {pair.id for pair, name in zip(pairs, now.names, strict=True) if name == "test"}
    assert len(test) == 6
    assert test - first.ids <= {pair.id for pair in more}
    assert now.fresh == frozenset()


def made_twice(folder: Path) -> tuple[Dataset, Dataset]:
    """A dataset of 60 pairs, and one of those and 60 more, which knows the first."""
    first = dataset.split(make_clean(folder, various(60)), data(test=10, fresh=0.5), folder / "out")
    clean = make_clean(folder, various(120))
    second = dataset.split(clean, data(test=10, fresh=0.5), folder / "out", dataset.frozen(first.path))
    for _ in range(2):
        again = dataset.split(clean, data(test=10, fresh=0.5), folder / "out", dataset.frozen(second.path))
        assert again.sha256 == second.sha256, "an unchanged retrain gives the same bytes"
    return first, second


def test_the_files_say_which_pairs_joined(tmp_path: Path) -> None:
    first, second = made_twice(tmp_path)
    old, now = dataset.frozen(first.path), dataset.frozen(second.path)
    assert old is not None
    assert now is not None
    assert (old.fresh, len(now.fresh)) == (frozenset(), 5)
    assert now.ids == old.ids | now.fresh == ids_of(second, "test")
    told = facts_of(second)["test_set"]
    assert told == now.facts
    expected = {"before": old.facts["version"], "pairs": 15, "carried": 10, "new": 5, "fresh": 5, "learnt": 0}
    assert told == expected | {"version": now.facts["version"]}
    assert facts_of(second)["leakage"] == {"sources": 0, "pairs": 0, "near_duplicates": 0}
    assert "fresh" not in pq.read_schema(first.path / "test.parquet").names


def test_nothing_that_the_champion_learned_elsewhere_joins(tmp_path: Path) -> None:
    """The first dataset was restored, but the champion is of the second: of it, too, nothing is fresh."""
    first, second = made_twice(tmp_path)
    repo = make_repo(tmp_path / "repo")
    dataset.publish(first, "one", repo)
    trained = dataset.publish(second, "one", repo)
    learnt = dataset.learnt(repo, "one", trained.md5)
    assert {pair.id for pair in learnt} == ids_of(second, "train") | ids_of(second, "validation")
    restored = dataset.frozen(first.path)
    assert restored is not None
    known = Frozen(restored.ids, restored.facts, restored.fresh, (*restored.known, *learnt))
    clean = make_clean(tmp_path, various(120))
    again = dataset.split(clean, data(test=10, fresh=1.0), tmp_path / "out", known)
    assert ids_of(again, "test") <= ids_of(second, "test"), "only what was never learnt"


def test_a_forgotten_fresh_pair_leaves_and_the_others_stay(tmp_path: Path) -> None:
    first, second = made_twice(tmp_path)
    repo = make_repo(tmp_path / "repo")
    one, two = (dataset.publish(each, "one", repo).md5 for each in (first, second))
    assert diff("one", one, two, repo).splits["test"].added == 5
    before = dataset.frozen(repo / "data/one")
    assert before is not None
    gone = min(before.fresh)
    done = forget("one", [gone], repo, folders=[], why="asked", on="2026-11-22")
    assert done.rows == {two: 1}
    after = dataset.frozen(repo / "data/one")
    assert after is not None
    assert after.fresh == before.fresh - {gone}
    clean = make_clean(tmp_path, various(120))
    rest = dataset.split(clean, data(test=10, fresh=0.5), tmp_path / "out", after, [gone])
    assert ids_of(rest, "test") == before.ids - {gone}, "the room that it leaves is not filled with what was learnt"
    assert gone not in (repo / "data/one/dataset.json").read_text()
    restored = versions.restore("one", one, repo)
    assert restored.text == (repo / "data.dvc").read_text()
    old = dataset.frozen(repo / "data/one")
    assert old is not None
    assert (old.ids, old.fresh) == (ids_of(first, "test"), frozenset())
    assert json.loads((repo / "data/one/dataset.json").read_text())["splits"]["test"] == 10
