"""Encoded pairs, what a step asks of them, and the rectangles that a model reads."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.training import batches

HIDDEN = 0.1
"""Share of the source tokens hidden while rebuilding."""

Ids = list[list[int]]


@dataclass(frozen=True)
class Pairs:
    """Encoded pairs, and their lengths in tokens."""

    sources: Ids
    targets: Ids
    rebuilt: bool = False
    """Whether the targets are the sources themselves (see `rebuilding`)."""

    @classmethod
    def read(cls, path: Path, most: int | None = None) -> "Pairs":
        columns = pq.read_table(path, columns=["source_ids", "target_ids"])
        columns = columns if most is None else columns.slice(0, most)
        return cls(columns["source_ids"].to_pylist(), columns["target_ids"].to_pylist())

    def lengths(self) -> tuple[batches.Lengths, batches.Lengths]:
        return np.array([*map(len, self.sources)], dtype=np.int64), np.array([*map(len, self.targets)], dtype=np.int64)

    def of(self, rows: "batches.Rows | range") -> "Pairs":
        return Pairs([self.sources[row] for row in rows], [self.targets[row] for row in rows], self.rebuilt)

    def divided(self, parts: int) -> list["Pairs"]:
        """These pairs in `parts` of as many rows (fewer parts where there are fewer rows), like-long ones together."""
        edges = np.linspace(0, len(self.sources), min(parts, max(len(self.sources), 1)) + 1).round().astype(int).tolist()
        return [self.of(range(start, end)) for start, end in itertools.pairwise(edges)]

    @property
    def target_tokens(self) -> int:
        return sum(map(len, self.targets))

    @property
    def tokens(self) -> int:
        """Real tokens, of sources and targets."""
        return sum(map(len, self.sources)) + self.target_tokens


@dataclass(frozen=True)
class Marks:
    """Ids that frame texts: the model's padding, the token its decoder starts from, and what stands for a hidden token."""

    pad: int
    start: int
    hidden: int

    @classmethod
    def of(cls, config: Any) -> "Marks":
        pad = config.pad_token_id
        return cls(pad=pad, start=config.decoder_start_token_id if config.decoder_start_token_id is not None else pad, hidden=3)


@dataclass(frozen=True)
class Rectangles:
    """Sources, targets, the decoder's input (targets one to the right), and where targets and sources are no padding."""

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    previous: NDArray[np.int64]
    keep: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, pairs: Pairs, marks: Marks) -> "Rectangles":
        targets = batches.rectangle(pairs.targets, marks.pad)
        previous = np.concatenate([np.full((len(targets), 1), marks.start), targets[:, :-1]], axis=1)
        sources = batches.rectangle(pairs.sources, marks.pad)
        return cls(sources, targets, previous, filled(pairs.targets), filled(pairs.sources))


def rebuilding(pairs: Pairs, marks: Marks, longest: int, rng: np.random.Generator) -> Pairs:
    """Pairs that ask for the source itself: its tokens from a random place on, a few hidden -> the first `longest` of them.

    The first is always hidden: it tells such a source from one whose own target is wanted.
    """
    sources, targets = [], []
    for ids in pairs.sources:
        cut = ids[int(rng.integers(0, max(1, len(ids) - 8))) :]
        end = cut[-1:]
        hide = rng.random(len(cut) - 1) < HIDDEN
        hide[:1] = True
        sources.append([marks.hidden if gone else token for token, gone in zip(cut[:-1], hide, strict=True)] + end)
        targets.append(cut[:-1][: longest - 1] + end)
    return Pairs(sources, targets, rebuilt=True)


def filled(ids: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Where a rectangle of `ids` holds a token and not padding (which may share its id with a token)."""
    lengths = np.array([len(row) for row in ids])
    return np.arange(lengths.max(initial=0)) < lengths[:, None]
