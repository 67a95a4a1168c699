"""How often honest corrections are set aside (pipelines/sources/screening.py), and how many lies are not.

    python -m tests.benchmarks.screening [FOLDER]       a published dataset: data/synopsis by default

Honest corrections are held-out pairs of the dataset, in BATCHES (100) random batches a row: of any pairs, and of the half that
their sources explain least, for people correct the hard cases. Lies are told about the sources of such pairs.
"""

import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pipelines.registry.labels import Correction
from pipelines.sources.screening import Pair, _Words, screen

BATCHES = int(os.environ.get("BATCHES", "100"))
LEARNT = 8_000  # of the train pairs, as many as the screening uses
DRAW = random.Random(1)
Lie = Callable[[int, Pair], str]


def read(folder: Path, *splits: str) -> list[Pair]:
    tables = [pq.read_table(folder / f"{split}.parquet", columns=["source", "target"]) for split in splits]
    return [(row["source"], row["target"]) for table in tables for row in table.to_pylist()]


def said(asked: Sequence[Pair], who: str, reviewers: int, lie: Lie | None = None) -> list[Correction]:
    return [
        Correction(pair[0], lie(number, pair) if lie else pair[1], None, f"{who}{number % reviewers}")
        for number, pair in enumerate(asked)
    ]


def honest(data: Sequence[Pair], pools: dict[str, list[Pair]], told: Table) -> None:
    for name, pool in pools.items():
        for count, reviewers in ((50, 1), (150, 1), (150, 3), (250, 5)):
            counts = []
            for _ in range(BATCHES):
                batch = said(DRAW.sample(pool, count), "r", reviewers)
                counts.append(sum(map(bool, screen(batch, data).reasons)))
            hit = sum(map(bool, counts))
            share = f"{sum(counts) / count / BATCHES:.3%} of them"
            told.add_row(name, f"{count} of {reviewers}", f"{hit} of {BATCHES} batches", share)


def lies(data: Sequence[Pair], held: Sequence[Pair], told: Table) -> None:
    words = [word for _, target in data for word in target.split()]
    kinds: dict[str, Lie] = {
        "the same nonsense": lambda *_: "cheap pills from a friend",
        "words at random": lambda *_: " ".join(DRAW.choices(words, k=5)),
        "other sources' targets": lambda *_: DRAW.choice(data)[1],
        "a slogan added": lambda _, pair: f"{pair[1]} - see evil.example",
    }
    for name, lie in kinds.items():
        for count, liars, beside in ((150, 1, 0), (150, 10, 0), (150, 10, 150), (150, 1, 600), (150, 10, 600), (20, 1, 600)):
            asked = DRAW.sample(list(held), count + beside)
            batch = [*said(asked[:count], "m", liars, lie), *said(asked[count:], "r", 3)]
            reasons = screen(batch, data).reasons
            caught, taken = sum(map(bool, reasons[:count])), sum(map(bool, reasons[count:]))
            who = f"{count} of {liars}, beside {beside} honest"
            told.add_row(name, who, f"{caught} of {count} lies set aside", f"{taken} honest")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "data/synopsis")
    data, held = read(folder, "train"), read(folder, "test", "validation")
    data = DRAW.sample(data, min(LEARNT, len(data)))
    words = _Words(data)
    hard = sorted(held, key=lambda pair: words.read(*pair)[0])
    told = Table("corrections", "how many, of whom", "", "", title=f"Screening beside {len(data):,} pairs of {folder}")
    began = time.perf_counter()
    screen(said(held, "r", 1), data)
    seconds = time.perf_counter() - began
    honest(data, {"honest": list(held), "honest, the harder half": hard[: len(hard) // 2]}, told)
    lies(data, held, told)
    supports = [words.read(*pair)[0] for pair in held]
    Console().print(told)
    Console().print(f"{len(held):,} corrections screened in {seconds:.1f} s; median support {statistics.median(supports):.2f}")


if __name__ == "__main__":
    main()
