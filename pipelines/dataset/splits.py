"""Who falls into which split: near-duplicates never fall into two, and a test set, once there, stays."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
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
    """A test set that stays: the ids in it, and what dataset.json says of it."""

    ids: frozenset[str]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Division:
    """For each pair one of SPLITS, HELD_OUT or ALIKE; how many clusters have how many pairs."""

    names: list[str]
    sizes: Counter[int]


def frozen(folder: Path) -> Frozen | None:
    """The test set of the dataset published in `folder` (data/NAME); None if there is none yet."""
    import pyarrow.parquet as pq

    path = folder / "test.parquet"
    if not path.is_file():
        return None
    ids = frozenset(pq.read_table(path, columns=["id"])["id"].to_pylist())
    told = json.loads((folder / "dataset.json").read_text()).get("test_set", {})
    drawn = test_set(ids, None)
    # of another version it tells where a deletion took ids away since
    return Frozen(ids, told if told.get("version") == drawn["version"] else drawn)


def test_set(ids: frozenset[str], before: Frozen | None) -> dict[str, Any]:
    """What dataset.json says of a test set: its version, and how many of its pairs the version `before` it had.

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
    }


def divide(pairs: Sequence[Pair], splits: Splits, keep: frozenset[str] = frozenset(), *, drop: bool = False) -> Division:
    """The split of each pair. Whole clusters, in the order of their smallest hash, fill test, then validation, then train.

    Args:
        keep: ids of the frozen test set. They stay test (the first `splits.test` by hash, should there be more), and what is a
            near-duplicate of one of them is HELD_OUT: thus whatever else comes, they neither move nor leak.
        drop: of a cluster in train only the pair with the smallest id stays, the rest is ALIKE.

    Raises:
        UserError: the clusters do not fill the splits.
    """
    names = [""] * len(pairs)
    stays = sorted((n for n, pair in enumerate(pairs) if pair.id in keep), key=lambda n: (rank(pairs[n].id), n))[: splits.test]
    for index in stays:
        names[index] = "test"
    shingles = sides(pairs)
    if stays:
        group = np.array([name == "test" for name in names], np.int64)
        for index in likeness.crossing(shingles, np.array(stays), group, splits.near_duplicate)[1].tolist():
            names[index] = HELD_OUT
    rows = np.array([n for n, name in enumerate(names) if name != HELD_OUT], np.int64)
    labels = likeness.clusters([side[rows] for side in shingles], splits.near_duplicate)
    clusters: dict[int, list[int]] = {}
    for index, label in zip(rows.tolist(), labels.tolist(), strict=True):
        clusters.setdefault(label, []).append(index)
    free = [cluster for cluster in clusters.values() if not names[cluster[0]]]
    _assign(pairs, free, splits, len(stays), names)
    if drop:
        for cluster in free:
            if names[cluster[0]] == "train":
                for index in sorted(cluster, key=lambda n: pairs[n])[1:]:
                    names[index] = ALIKE
    return Division(names, Counter(map(len, clusters.values())))


def sides(pairs: Sequence[Pair]) -> tuple[likeness.Sets, likeness.Sets]:
    """The shingles of all sources, and of all targets."""
    return likeness.shingles([pair.source for pair in pairs]), likeness.shingles([pair.target for pair in pairs])


def rank(identity: str) -> bytes:
    """The order in which pairs fall into splits."""
    return hashlib.sha256(identity.encode()).digest()


def _assign(pairs: Sequence[Pair], clusters: Sequence[Sequence[int]], splits: Splits, tested: int, names: list[str]) -> None:
    """Names the pairs of whole clusters. What does not fit goes on to train; large clusters come after all others."""
    large = max(1, min(splits.test, splits.validation) // FEW)

    def order(cluster: Sequence[int]) -> tuple[bool, bytes]:
        return len(cluster) > large, min(rank(pairs[index].id) for index in cluster)

    room = {"test": splits.test - tested, "validation": splits.validation, "train": len(pairs)}
    for cluster in sorted(clusters, key=order):
        name = next(name for name in SPLITS if room[name] >= len(cluster))
        room[name] -= len(cluster)
        for index in cluster:
            names[index] = name
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
