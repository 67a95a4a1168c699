"""Which pairs stay, and who falls into which split: near-duplicates, by word 3-shingles, never fall into two."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from pipelines.errors import UserError
from pipelines.spec import Limits, Splits

SPLITS = ("test", "validation", "train")  # the order in which clusters fill them
PERMUTATIONS = 128
BROKEN = re.compile("[\ud800-\udfff\N{REPLACEMENT CHARACTER}\0]")
Pair = Mapping[str, str]
"""id, source, target."""
Shingles = frozenset[str]
Sides = tuple[Shingles, Shingles]
"""The shingles of a pair's source and of its target."""


def sift(rows: Sequence[Pair], limits: Limits) -> tuple[list[Pair], Counter[str]]:
    """The rows that may stay, and how many were rejected for what reason (the first that applies)."""
    seen: set[tuple[str, str]] = set()
    kept: list[Pair] = []
    rejected: Counter[str] = Counter()
    for row in rows:
        pair = (row["source"].strip(), row["target"].strip())
        reason = _reason(*pair, limits) or ("duplicate" if pair in seen else "")
        if reason:
            rejected[reason] += 1
            continue
        seen.add(pair)
        kept.append({"id": row["id"], "source": pair[0], "target": pair[1]})
    return kept, rejected


def _reason(source: str, target: str, limits: Limits) -> str:
    if not source or not target:
        return "empty source" if not source else "empty target"
    if BROKEN.search(source) or BROKEN.search(target):
        return "bad UTF-8"
    if len(source) > limits.source_chars:
        return "source too long"
    return "target too long" if len(target) > limits.target_chars else ""


def shingle(text: str) -> Shingles:
    """The word 3-shingles of a text; a text of fewer words is one shingle."""
    words = re.findall(r"\w+", text.lower()) or [text]
    return frozenset(" ".join(words[start : start + 3]) for start in range(max(len(words) - 2, 1)))


def jaccard(one: Shingles, other: Shingles) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _join(parent: list[int], one: int, other: int) -> None:
    low, high = sorted((_root(parent, one), _root(parent, other)))
    parent[high] = low


def _candidates(shingles: Sequence[Sides], threshold: float) -> list[tuple[int, int]]:
    """Pairs of indices whose sources, or targets, are near-duplicates, found by MinHash LSH and checked exactly."""
    from datasketch import MinHash, MinHashLSH
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    found = []
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("dataset: near-duplicates", total=2 * len(shingles))
        for side in (0, 1):
            first: dict[Shingles, int] = {}
            # a little below the threshold, where LSH finds nearly all; the exact check then decides
            index = MinHashLSH(threshold=max(threshold - 0.1, 0.1), num_perm=PERMUTATIONS)
            for number, both in enumerate(shingles):
                progress.advance(task)
                own = both[side]
                if own in first:
                    found.append((first[own], number))
                    continue
                first[own] = number
                sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
                sketch.update_batch([piece.encode() for piece in sorted(own)])
                found += [(other, number) for other in index.query(sketch) if jaccard(shingles[other][side], own) >= threshold]
                index.insert(number, sketch, check_duplication=False)
    return found


def _crossing(shingles: Sequence[Sides], names: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    """Every near-duplicate across two splits, exactly: whatever shares a shingle with a held-out pair is compared."""
    found = []
    for side in (0, 1):
        holders: dict[str, list[int]] = {}
        for index, both in enumerate(shingles):
            for piece in both[side]:
                holders.setdefault(piece, []).append(index)
        for index, name in enumerate(names):
            if name == "train":
                continue
            own = shingles[index][side]
            shared = Counter(other for piece in own for other in holders[piece] if names[other] != name)
            for other, count in shared.items():
                if count / (len(own) + len(shingles[other][side]) - count) >= threshold:
                    found.append((index, other))
    return found


def divide(pairs: Sequence[Pair], shingles: Sequence[Sides], splits: Splits) -> tuple[list[str], int]:
    """The split of each pair, and the number of clusters.

    MinHash finds nearly all near-duplicates; an exact search over the split finds what it missed, whose clusters are then
    joined and divided anew, until there is none: so the proof of no leakage holds by construction.
    """
    parent = list(range(len(pairs)))
    for one, other in _candidates(shingles, splits.near_duplicate):
        _join(parent, one, other)
    while True:
        clusters: dict[int, list[int]] = {}
        for index in range(len(pairs)):
            clusters.setdefault(_root(parent, index), []).append(index)
        names = _assign(pairs, list(clusters.values()), splits)
        across = _crossing(shingles, names, splits.near_duplicate)
        if not across:
            return names, len(clusters)
        for one, other in across:
            _join(parent, one, other)


def _assign(pairs: Sequence[Pair], clusters: Sequence[Sequence[int]], splits: Splits) -> list[str]:
    """Whole clusters, in the order of their smallest hash, fill test, then validation; what does not fit goes on to train."""

    def rank(cluster: Sequence[int]) -> str:
        return min(hashlib.sha256(pairs[i]["id"].encode()).hexdigest() for i in cluster)

    room = {"test": splits.test, "validation": splits.validation, "train": len(pairs)}
    names = ["train"] * len(pairs)
    for cluster in sorted(clusters, key=rank):
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
    return names


def leakage(pairs: Sequence[Pair], shingles: Sequence[Sides], names: Sequence[str], threshold: float) -> dict[str, int]:
    """How many sources, pairs, and near-duplicates stand in more than one split. All zero is the proof."""

    def shared(texts: Sequence[str]) -> int:
        where: dict[str, set[str]] = {}
        for text, name in zip(texts, names, strict=True):
            where.setdefault(text, set()).add(name)
        return sum(len(found) > 1 for found in where.values())

    return {
        "sources": shared([pair["source"] for pair in pairs]),
        "pairs": shared([f"{pair['source']}\0{pair['target']}" for pair in pairs]),
        "near_duplicates": len(_crossing(shingles, names, threshold)),
    }
