"""What a base learns from: the training pairs of several datasets, with everything near any held-out pair left out."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines import artifact
from pipelines.artifact import Dataset, digest
from pipelines.dataset import likeness
from pipelines.dataset.splits import Pair, rank, read_pairs, sides
from pipelines.errors import UserError

CODE_VERSION = 1


def mix(datasets: Sequence[Dataset], margin: int, validation: int, near_duplicate: float, out: Path) -> Dataset:
    """One dataset of the train splits of `datasets`, for training alone.

    Makes train.parquet, validation.parquet (id, source, target) and dataset.json (pairs taken and left out, a dataset each).
    Left out of train: of each dataset the `margin` pairs of its train split with the smallest hashes, which newer data would
    draw into a test set first, and every near-duplicate (on either side) of any of these and of any test or validation pair
    of any of the datasets. The first `validation` pairs of each margin make validation.parquet.

    Raises:
        UserError: a train split is not larger than the margin, or `validation` is.
    """
    if validation > margin:
        raise UserError(f"validation: must be at most the margin ({margin}), not {validation}")
    key = digest("mixture", CODE_VERSION, [each.sha256 for each in datasets], margin, validation, near_duplicate)
    return artifact.make(
        Dataset, out / f"mixture-{key[:16]}", lambda folder: _write(folder, datasets, margin, validation, near_duplicate)
    )


def _write(folder: Path, datasets: Sequence[Dataset], margin: int, validation: int, near_duplicate: float) -> None:
    pairs: list[Pair] = []
    origins: list[int] = []
    held: list[bool] = []
    chosen: list[Pair] = []
    for number, dataset in enumerate(datasets):
        train = sorted(read_pairs(dataset.path / "train.parquet"), key=lambda pair: rank(pair.id))
        if len(train) <= margin:
            raise UserError(f"margin: a corpus has {len(train)} training pairs: the margin must be smaller, not {margin}")
        others = [pair for name in ("test", "validation") for pair in read_pairs(dataset.path / f"{name}.parquet")]
        chosen += train[:validation]
        held += [True] * (len(others) + margin) + [False] * (len(train) - margin)
        pairs += [*others, *train]
        origins += [number] * (len(others) + len(train))
    kept = _apart(pairs, held, near_duplicate)
    facts = {
        "corpora": [
            {
                "sha256": dataset.sha256,
                "pairs": sum(kept[row] for row, origin in enumerate(origins) if origin == number),
                "held_out": sum(held[row] for row, origin in enumerate(origins) if origin == number),
                "near_held_out": sum(not kept[row] and not held[row] for row, origin in enumerate(origins) if origin == number),
            }
            for number, dataset in enumerate(datasets)
        ]
    }
    _table(folder / "train.parquet", sorted(pair for pair, stays in zip(pairs, kept, strict=True) if stays))
    _table(folder / "validation.parquet", sorted(chosen))
    (folder / "dataset.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _apart(pairs: Sequence[Pair], held: Sequence[bool], near_duplicate: float) -> list[bool]:
    """Which pairs are neither held out nor near one that is."""
    groups = np.array(held, np.int64)
    near = likeness.crossing(sides(pairs), np.flatnonzero(groups), groups, near_duplicate)[1]
    kept = groups == 0
    kept[near] = False
    return [bool(each) for each in kept]


def _table(path: Path, rows: Sequence[Pair]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [pa.array([row[column] for row in rows], pa.string()) for column in range(len(Pair._fields))]
    pq.write_table(pa.table(arrays, names=list(Pair._fields)), path, compression="zstd")
