"""Token-budget batches of like-long pairs: which rows go together, decided from lengths alone (pure).

A batch is padded to its longest source and its longest target, so its cost is rows x (longest source + longest target).
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Lengths = NDArray[np.int64]
Rows = NDArray[np.int64]
QUANTA = (1, 2, 4, 8, 16, 32)


def plan(sources: Lengths, targets: Lengths, budget: int, *, seed: int, epoch: int) -> list[Rows]:
    """Divide the rows of one epoch into batches of at most `budget` padded tokens (a longer row gets a batch of its own).

    `sources` and `targets` are lengths in tokens, one a row. Every row occurs once. The result depends on the arguments
    alone: `seed` and `epoch` decide which of the equally long rows go together, and the order of the batches.
    """
    rng = np.random.default_rng((seed, epoch))
    shuffled = rng.permutation(len(sources))
    batches = min(
        (_cut(_by_length(shuffled, sources, targets, quantum), sources, targets, budget) for quantum in QUANTA),
        key=lambda candidate: padded_tokens(candidate, sources, targets),
    )
    return [batches[i] for i in rng.permutation(len(batches))]


def _by_length(rows: Rows, sources: Lengths, targets: Lengths, quantum: int) -> Rows:
    """Order `rows` by source length in steps of `quantum`, then by target length: which step pads least depends on the data."""
    return rows[np.lexsort((targets[rows], sources[rows] // quantum))]


def _cut(rows: Rows, sources: Lengths, targets: Lengths, budget: int) -> list[Rows]:
    batches: list[Rows] = []
    start = longest_source = longest_target = 0
    for end, (source, target) in enumerate(zip(sources[rows].tolist(), targets[rows].tolist(), strict=True)):
        longest_source, longest_target = max(longest_source, source), max(longest_target, target)
        if end > start and (end - start + 1) * (longest_source + longest_target) > budget:
            batches.append(rows[start:end])
            start, longest_source, longest_target = end, source, target
    return [*batches, rows[start:]] if len(rows) else []


def padded_tokens(batches: Iterable[Rows], sources: Lengths, targets: Lengths) -> int:
    """Tokens that `batches` cost, padding included."""
    return sum(len(rows) * int(sources[rows].max() + targets[rows].max()) for rows in batches)


def padding(batches: Sequence[Rows], sources: Lengths, targets: Lengths) -> float:
    """Share (0 to 1) of the tokens in `batches` that is padding; 0 without batches."""
    cost = padded_tokens(batches, sources, targets)
    real = sum(int(sources[rows].sum() + targets[rows].sum()) for rows in batches)
    return 1 - real / cost if cost else 0.0


def rectangle(ids: Sequence[Sequence[int]], fill: int) -> NDArray[np.int64]:
    """Token ids as one array, rows x longest, filled up on the right with `fill`."""
    out = np.full((len(ids), max((len(row) for row in ids), default=0)), fill, dtype=np.int64)
    for line, row in zip(out, ids, strict=True):
        line[: len(row)] = row
    return out
