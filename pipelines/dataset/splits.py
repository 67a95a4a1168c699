"""Who falls into which split: near-duplicates never fall into two, and a test set, once there, stays."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.artifact import digest
from pipelines.dataset import likeness
from pipelines.errors import UserError
from pipelines.spec import Splits

SPLITS = ("test", "validation", "train")  # the order in which clusters fill them
HELD_OUT, ALIKE = "held out", "near-duplicate"  # what happens to a pair instead
FEW = 50  # a cluster of more than a 50th of a held-out split would pass for many cases there, and is one
LARGE = 10  # pairs: clusters of at least as many are counted together
FRESH = "fresh"  # column of test.parquet, once a pair joined after the first draw


class Pair(NamedTuple):
    """A scrubbed pair; its id is the hash of its raw content."""

    id: str
    source: str
    target: str


def read_pairs(path: Path) -> list[Pair]:
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=list(Pair._fields))
    return list(map(Pair, *(table[name].to_pylist() for name in Pair._fields)))


@dataclass(frozen=True)
class Frozen:
    """A test set that stays: the ids in it, what dataset.json says of it, and which of the ids joined after the first draw.

    `known` are the pairs of every split of the dataset, and others that a model may have learned from: none of them, and
    nothing near them, is fresh.
    """

    ids: frozenset[str]
    facts: Mapping[str, Any]
    fresh: frozenset[str] = frozenset()
    known: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Division:
    """For each pair one of SPLITS, HELD_OUT or ALIKE; how many clusters have how many pairs; the test pairs (ids) that joined
    after the first draw."""

    names: list[str]
    sizes: Counter[int]
    fresh: frozenset[str]


def frozen(folder: Path) -> Frozen | None:
    """The test set of the dataset published in `folder` (data/NAME); None if there is none yet."""
    import pyarrow.parquet as pq

    path = folder / "test.parquet"
    if not path.is_file():
        return None
    table = pq.read_table(path)
    ids = frozenset(table["id"].to_pylist())
    fresh = frozenset(table.filter(table[FRESH])["id"].to_pylist()) if FRESH in table.column_names else frozenset[str]()
    known = tuple(pair for name in SPLITS for pair in read_pairs(folder / f"{name}.parquet"))
    told = json.loads((folder / "dataset.json").read_text()).get("test_set", {})
    drawn = test_set(ids, None, fresh)
    # of another version it tells where a deletion took ids away since
    return Frozen(ids, told if told.get("version") == drawn["version"] else drawn, fresh, known)


def test_set(ids: frozenset[str], before: Frozen | None, fresh: frozenset[str]) -> dict[str, Any]:
    """What dataset.json says of a test set: its version, how many of its pairs the version `before` it had, how many joined
    after the first draw (`fresh`), and how many a model may have learned from before (`learnt`: only where `splits.test` was
    raised, or test pairs left, and too few of the new pairs can make up for it).

    The same pairs are the same version with the same words: a retrain of the same data gives the same bytes.
    """
    version = digest(sorted(ids))[:16]
    if before and before.facts["version"] == version:
        return dict(before.facts)
    carried = len(ids & before.ids) if before else 0
    return {
        "version": version,
        "before": before.facts["version"] if before else None,
        "pairs": len(ids),
        "carried": carried,
        "new": len(ids) - carried,
        "fresh": len(fresh),
        "learnt": len((ids - before.ids) & {pair.id for pair in before.known}) if before else 0,
    }


def divide(pairs: Sequence[Pair], splits: Splits, before: Frozen | None = None, *, drop: bool = False) -> Division:
    """The split of each pair. Whole clusters, in the order of their smallest hash, fill test, then validation, then train.

    Of the clusters that `before` knows no pair of, and nothing near one, the share `splits.fresh` joins the test set.

    Args:
        before: the frozen test set. Its pairs stay test (should there be more than `splits.test`, the first so many by hash, of
            the first draw and of the others each), and what is a near-duplicate of one of them is HELD_OUT: thus whatever
            else comes, they neither move nor leak. What no model knows makes up first for those that left.
        drop: of a cluster in train only the pair with the smallest id stays, the rest is ALIKE.

    Raises:
        UserError: the clusters do not fill the splits.
    """
    old = before or Frozen(frozenset(), {})
    names = [""] * len(pairs)
    stays, joined = (_first(pairs, ids, splits.test) for ids in (old.ids - old.fresh, old.fresh))
    _name(names, [*stays, *joined], "test")
    shingles = sides(pairs)
    if stays or joined:
        group = np.array([name == "test" for name in names], np.int64)
        near = likeness.crossing(shingles, np.array([*stays, *joined]), group, splits.near_duplicate)[1]
        _name(names, near.tolist(), HELD_OUT)
    rows = np.array([n for n, name in enumerate(names) if name != HELD_OUT], np.int64)
    labels = likeness.clusters([side[rows] for side in shingles], splits.near_duplicate)
    clusters: dict[int, list[int]] = {}
    for index, label in zip(rows.tolist(), labels.tolist(), strict=True):
        clusters.setdefault(label, []).append(index)
    free = [cluster for cluster in clusters.values() if not names[cluster[0]]]
    unseen = _unseen(pairs, free, old.known, splits.near_duplicate) if before else []
    drawn = _drawn(pairs, unseen, splits, len(joined))
    _name(names, drawn, "test")
    _assign(pairs, free, unseen, splits, len(stays), names)
    if drop:
        for cluster in free:
            if names[cluster[0]] == "train":
                _name(names, sorted(cluster, key=lambda n: pairs[n])[1:], ALIKE)
    return Division(names, Counter(map(len, clusters.values())), frozenset(pairs[index].id for index in [*joined, *drawn]))


def _first(pairs: Sequence[Pair], ids: Collection[str], most: int) -> list[int]:
    """The rows of `ids`, the first ones by hash."""
    return sorted((n for n, pair in enumerate(pairs) if pair.id in ids), key=lambda n: (rank(pairs[n].id), n))[:most]


def _name(names: list[str], rows: Iterable[int], name: str) -> None:
    for index in rows:
        names[index] = name


def _unseen(pairs: Sequence[Pair], clusters: Sequence[list[int]], known: Sequence[Pair], threshold: float) -> list[list[int]]:
    """The clusters of which no pair is among the `known`, nor near one that has left the data."""
    ids, here = {pair.id for pair in known}, {pair.id for pair in pairs}
    new = [cluster for cluster in clusters if not any(pairs[index].id in ids for index in cluster)]
    gone = [pair for pair in known if pair.id not in here]
    if not new or not gone:
        return new
    rows = np.array([index for cluster in new for index in cluster], np.int64)
    group = np.repeat([0, 1], [len(rows), len(gone)])
    texts = sides([*(pairs[index] for index in rows), *gone])
    near = set(rows[likeness.crossing(texts, np.arange(len(rows)), group, threshold)[0]].tolist())
    return [cluster for cluster in new if near.isdisjoint(cluster)]


def _drawn(pairs: Sequence[Pair], unseen: Sequence[Sequence[int]], splits: Splits, joined: int) -> list[int]:
    """The rows that join the test set now. Half of the room stays for what comes later; large clusters join never."""

    def place(cluster: Sequence[int]) -> float:
        # another hash than the splits' own, or no new pair of a large source would reach its validation split
        found = hashlib.sha256(f"fresh {min(pairs[index].id for index in cluster)}".encode()).digest()
        return int.from_bytes(found[:8]) / 2**64

    room, rows = (splits.test - joined + 1) // 2, list[int]()
    for where, cluster in sorted((place(cluster), cluster) for cluster in unseen if len(cluster) <= _large(splits)):
        if where < splits.fresh and len(rows) + len(cluster) <= room:
            rows += cluster
    return rows


def _large(splits: Splits) -> int:
    """The most pairs of a cluster that is not large."""
    return max(1, min(splits.test, splits.validation) // FEW)


def sides(pairs: Sequence[Pair]) -> tuple[likeness.Sets, likeness.Sets]:
    """The shingles of all sources, and of all targets."""
    return likeness.shingles([pair.source for pair in pairs]), likeness.shingles([pair.target for pair in pairs])


def rank(identity: str) -> bytes:
    """The order in which pairs fall into splits."""
    return hashlib.sha256(identity.encode()).digest()


def _assign(
    pairs: Sequence[Pair],
    clusters: Sequence[list[int]],
    unseen: Sequence[list[int]],
    splits: Splits,
    tested: int,
    names: list[str],
) -> None:
    """Names the pairs of whole clusters that have no name yet. What does not fit goes on to train; large clusters come after
    all others, and into the test set those that no model knows come first."""
    new = {cluster[0] for cluster in unseen}

    def order(cluster: Sequence[int]) -> tuple[bool, bytes]:
        return len(cluster) > _large(splits), min(rank(pairs[index].id) for index in cluster)

    room = {"test": splits.test - tested, "validation": splits.validation, "train": len(pairs)}
    ranked = sorted((cluster for cluster in clusters if not names[cluster[0]]), key=order)
    for name, ordered in (
        ("test", sorted(ranked, key=lambda cluster: (len(cluster) > _large(splits), cluster[0] not in new))),
        ("validation", ranked),
        ("train", ranked),
    ):
        for cluster in ordered:
            if not names[cluster[0]] and room[name] >= len(cluster):
                room[name] -= len(cluster)
                _name(names, cluster, name)
    short = [name for name in ("test", "validation") if room[name] > 0]
    if short or "train" not in names:
        raise UserError(
            f"data.splits: the {len(clusters)} clusters of near-duplicates do not fill {' and '.join(short) or 'train'}: "
            "bring more varied data, make the splits smaller, or raise data.splits.near_duplicate"
        )


def leakage(pairs: Sequence[Pair], names: Sequence[str], threshold: float) -> dict[str, int]:
    """How many sources, pairs, and near-duplicates stand in more than one split. All zero is the proof.

    Near-duplicates are counted anew, from the texts of the splits as they are and by every shingle: not by the search that
    made the clusters.
    """

    def shared(texts: Sequence[str]) -> int:
        where: dict[str, set[str]] = {}
        for text, name in zip(texts, names, strict=True):
            where.setdefault(text, set()).add(name)
        return sum(len(found) > 1 for found in where.values())

    groups = np.array([SPLITS.index(name) for name in names], np.int64)
    held = np.flatnonzero(groups != SPLITS.index("train"))
    return {
        "sources": shared([pair.source for pair in pairs]),
        "pairs": shared([f"{pair.source}\0{pair.target}" for pair in pairs]),
        "near_duplicates": len(likeness.crossing(sides(pairs), held, groups, threshold)[0]),
    }


def histogram(sizes: Mapping[int, int]) -> dict[str, int]:
    """How many clusters have 1, 2, ... pairs; the large ones together."""
    small = {str(size): count for size, count in sorted(sizes.items()) if size < LARGE}
    large = sum(count for size, count in sizes.items() if size >= LARGE)
    return small | ({f"{LARGE}+": large} if large else {})
