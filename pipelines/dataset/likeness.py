"""Which texts are near-duplicates: exactly, by the Jaccard similarity of their word 3-shingles.

Two sets with a Jaccard similarity of at least t share one of their rarest |x| - ceil(t |x|) + 1 shingles (the prefix filter:
Chaudhuri et al. 2006; Bayardo et al. 2007, "Scaling up all pairs similarity search"). Candidates that share one are few, so
they are compared exactly: what MinHash approximates, in less time (tests/benchmarks/curation.py).

A shingle is known by 64 bits of its hash. Two that collide (one in 10^5 runs on 10^7 shingles) can only join what was apart.
"""

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Sets = Any
"""A scipy CSR matrix of ones, a text a row and a shingle a column (scipy's stubs know no such thing as a boolean product)."""

WORD = re.compile(r"\w+")
SIZE = 3  # words of a shingle
TEXTS = 20_000  # texts that are shingled at a time
CANDIDATES = 4_000_000  # pairs of texts that are compared at a time: 100 MB


def shingles(texts: Sequence[str]) -> Sets:
    """The set of word 3-shingles of each text, letters' case apart; a text of fewer words is one shingle."""
    from scipy.sparse import csr_matrix

    words: dict[str, int] = {}
    parts = [_hashed(texts[start : start + TEXTS], words) for start in range(0, len(texts), TEXTS)]
    hashes = np.concatenate([hashed for hashed, _ in parts]) if parts else np.empty(0, np.uint64)
    counts = np.concatenate([count for _, count in parts]) if parts else np.empty(0, np.int64)
    del parts
    distinct, columns = np.unique(hashes, return_inverse=True)
    starts = np.concatenate([[0], np.cumsum(counts)])
    sets = csr_matrix((np.ones(len(columns), np.int32), columns, starts), shape=(len(texts), max(len(distinct), 1)))
    sets.sum_duplicates()
    sets.data[:] = 1
    return sets


def _hashed(texts: Sequence[str], words: dict[str, int]) -> tuple[NDArray[np.uint64], Indices]:
    """The hashes of the texts' shingles, one text after the other, and how many each has. `words` remembers words' hashes."""
    tokens = [WORD.findall(text.lower()) or [text] for text in texts]
    for word in {word for each in tokens for word in each if word not in words}:
        words[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
    hashes = np.fromiter((words[word] for each in tokens for word in each), np.uint64)
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    # how many words of its text stand from each word on, itself among them
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(hashes))
    mixed = _mix(hashes)
    for step in range(1, SIZE):
        following = np.zeros_like(hashes)
        following[:-step] = hashes[step:]
        following[left <= step] = 0
        mixed = _mix(mixed + following)
    counts = np.maximum(lengths - SIZE + 1, 1)
    return mixed[(left >= SIZE) | (left == np.repeat(lengths, lengths))], counts


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """MurmurHash3's 64-bit finaliser: each bit in turns half of the bits out."""
    shift = np.uint64(33)
    values = (values ^ (values >> shift)) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> shift)) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> shift)


def clusters(sides: Sequence[Sets], threshold: float) -> Indices:
    """The cluster of each row: rows are joined whose sets have a Jaccard similarity of at least `threshold` on any side."""
    labels = np.arange(sides[0].shape[0])
    for sets in sides:
        first = _same(sets)
        labels = _joined(labels, np.arange(len(first)), first)
        distinct = np.flatnonzero(first == np.arange(len(first)))
        reduced = sets[distinct]
        for one, other in _candidates(reduced, threshold):
            apart = labels[distinct[one]] != labels[distinct[other]]
            near = _near(reduced, one[apart], other[apart], threshold)
            labels = _joined(labels, distinct[one[apart][near]], distinct[other[apart][near]])
    return labels


def crossing(sides: Sequence[Sets], rows: Indices, groups: Indices, threshold: float) -> tuple[Indices, Indices]:
    """Every near-duplicate, on any side, of `rows` in another group: (row, other row). Sees every shared shingle, no prefix."""
    found = []
    for sets in sides:
        sizes, columns = np.diff(sets.indptr), sets.T.tocsr()
        work = sets[rows] @ np.diff(columns.indptr)
        for block in _blocks(work):
            shared = (sets[rows[block]] @ columns).tocoo()
            one, other, count = rows[block][shared.row], shared.col.astype(np.int64), shared.data
            near = (groups[one] != groups[other]) & (count / (sizes[one] + sizes[other] - count) >= threshold)
            found.append((one[near], other[near]))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    one, other = (np.concatenate(each) for each in zip(*found, strict=True))
    return one, other


def _same(sets: Sets) -> Indices:
    """For each row, the first one with the same set."""
    hashed = _mix(sets.indices.astype(np.uint64) + np.uint64(1))
    # a sum that wraps around; an empty row cannot be, for every text has a shingle
    sums = np.add.reduceat(hashed, sets.indptr[:-1]) if len(hashed) else np.empty(0, np.uint64)
    _, first, inverse = np.unique(sums, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.int64)


def _candidates(sets: Sets, threshold: float) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of rows (one > other) that may be near: their prefixes meet, and their sizes allow it."""
    from scipy.sparse import csr_matrix

    # columns from the rarest to the most common, so that the prefix of a row is what few others have
    frequency = np.bincount(sets.indices, minlength=sets.shape[1])
    order = np.empty(len(frequency), np.int32)
    order[np.argsort(frequency, kind="stable")] = np.arange(len(frequency), dtype=np.int32)
    ordered = csr_matrix((sets.data, order[sets.indices], sets.indptr), shape=sets.shape, copy=True)
    ordered.sort_indices()
    sizes = np.diff(ordered.indptr)
    prefix = np.minimum(sizes, sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1)
    keep = np.arange(ordered.nnz) - np.repeat(ordered.indptr[:-1], sizes) < np.repeat(prefix, sizes)
    starts = np.concatenate([[0], np.cumsum(prefix)])
    prefixes = csr_matrix((ordered.data[keep], ordered.indices[keep], starts), shape=sets.shape)
    columns = prefixes.T.tocsr()
    for block in _blocks(prefixes @ np.diff(columns.indptr)):
        meeting = (prefixes[block] @ columns).tocoo()
        one, other = meeting.row.astype(np.int64) + block.start, meeting.col.astype(np.int64)
        low, high = np.minimum(sizes[one], sizes[other]), np.maximum(sizes[one], sizes[other])
        keep = (other < one) & (low >= threshold * high - 1e-9)
        yield one[keep], other[keep]


def _blocks(work: Indices) -> Iterator[slice]:
    """Slices of rows whose work adds up to some CANDIDATES each."""
    done = np.cumsum(work) // CANDIDATES
    edges = [0, *(np.flatnonzero(np.diff(done)) + 1).tolist(), len(work)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            yield slice(start, end)


def _near(sets: Sets, one: Indices, other: Indices, threshold: float) -> NDArray[np.bool_]:
    sizes, near = np.diff(sets.indptr), np.zeros(len(one), bool)
    for start in range(0, len(one), 100_000):
        part = slice(start, start + 100_000)
        shared = np.asarray(sets[one[part]].multiply(sets[other[part]]).sum(axis=1)).ravel()
        near[part] = shared / (sizes[one[part]] + sizes[other[part]] - shared) >= threshold
    return near


def _joined(labels: Indices, one: Indices, other: Indices) -> Indices:
    """The labels of clusters after those of rows `one` and `other` became one."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not len(one):
        return labels
    count = len(labels)
    graph = coo_matrix((np.ones(len(one), np.int8), (labels[one], labels[other])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)[labels]
