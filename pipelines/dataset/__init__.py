"""From scrubbed pairs to a dataset: curated, split without leakage; and versioned with DVC (`versions`)."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.artifact import Clean, Dataset, digest
from pipelines.dataset.curate import FORGOTTEN, Filtered, curate, filters, ordered, sieve
from pipelines.dataset.page import draw_page
from pipelines.dataset.splits import (
    ALIKE,
    FRESH,
    HELD_OUT,
    SPLITS,
    Division,
    Frozen,
    Pair,
    divide,
    frozen,
    histogram,
    leakage,
    read_pairs,
    test_set,
)
from pipelines.dataset.versions import Pointer, check, forgotten, learnt, publish, verify
from pipelines.errors import SeqlineError, UserError
from pipelines.spec import Data, Limits

__all__ = ["Frozen", "Pointer", "check", "draw_page", "forgotten", "frozen", "learnt", "publish", "split", "verify"]

CODE_VERSION = 4
SHOWN = 500  # characters of a text in dropped.parquet


def split(clean: Clean, data: Data, out: Path, before: Frozen | None = None, forgotten: Collection[str] = ()) -> Dataset:
    """Drop what no model should see and divide the rest.

    Makes train, validation, test .parquet (id, source, target), dropped.parquet (a few pairs that each filter dropped: id,
    filter, reason, source, target) and dataset.json (counts of each filter, splits, clusters, the proof of no leakage, the
    test set's version).

    Near-duplicates (Jaccard similarity of word 3-shingles of the sources, or of the targets, of at least
    `splits.near_duplicate`) form clusters, and a cluster falls whole into one split, by the hash of its raw content (`id`):
    neither new data nor a new privacy policy moves an old pair, unless it joins clusters. Test pairs of `before` stay test
    pairs whatever comes, and a share of what it does not know joins them (see `divide`): test.parquet then says in a further
    column, `fresh`, which ones. A champion is thus not scored on pairs that it learned from.

    Args:
        before: the published test set (`frozen(data/NAME)`); None draws a new one.
        forgotten: ids that must not come back.

    Raises:
        UserError: too many rows were rejected, or too few pairs remain for the splits.
    """
    kept = sorted(before.ids) if before else None
    told = before and [dict(before.facts), sorted(before.fresh), sorted(set(before.known))]
    key = digest("dataset", CODE_VERSION, clean, data.limits, data.curation, data.splits, kept, told, sorted(set(forgotten)))
    return artifact.make(
        Dataset, out / f"dataset-{key[:16]}", lambda folder: _split(clean, data, folder, before, frozenset(forgotten))
    )


def _split(clean: Clean, data: Data, folder: Path, before: Frozen | None, forgotten: frozenset[str]) -> None:
    keep = before.ids if before else frozenset[str]()
    rows = ordered(read_pairs(clean.path / "pairs.parquet"), keep)
    kept, done = curate(rows, filters(data.limits, data.curation, keep, forgotten))
    _check(kept, done, data)
    division = divide(kept, data.splits, before, drop=data.curation.near_duplicates == "drop")
    names = division.names
    for name in (HELD_OUT, *([ALIKE] if data.curation.near_duplicates == "drop" else [])):
        reasons = [name if each == name else "" for each in names]
        kept, filtered = sieve(name, kept, reasons)
        names = [each for each in names if each != name]
        done.append(filtered)
    facts = _facts(rows, kept, names, done, division, data) | {
        "test_set": test_set(
            frozenset(pair.id for pair, name in zip(kept, names, strict=True) if name == "test"), before, division.fresh
        )
    }
    if any(facts["leakage"].values()):
        raise SeqlineError(f"dataset: pairs leak across the splits, which the clustering should prevent: {facts['leakage']}")
    _write(folder, kept, names, done, division.fresh)
    (folder / "dataset.json").write_text(json.dumps(facts, indent=1, sort_keys=True))


def _check(kept: Sequence[Pair], done: Sequence[Filtered], data: Data) -> None:
    """Raises UserError if too many rows were rejected (the forgotten ones apart), or too few remain."""
    rejected = _rejected(each for each in done if each.name != FORGOTTEN)
    rows = done[0].stayed
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejected.most_common())
    share = rejected.total() / max(rows, 1)
    _within(share, rows, reasons, data.limits)
    needed = data.splits.test + data.splits.validation + 1
    if len(kept) < needed:
        raise UserError(
            f"data.splits: {len(kept)} pairs remain of {rows} rows ({reasons or 'none rejected'}), but the splits "
            f"need {needed}: bring more data, or make data.splits.test and data.splits.validation smaller"
        )


def _within(share: float, rows: int, reasons: str, limits: Limits) -> None:
    if share > limits.reject_rate:
        raise UserError(
            f"data.limits.reject_rate: {share:.0%} of {rows} rows are rejected ({reasons}), "
            f"more than {limits.reject_rate:.0%}: mend the data or the limits"
        )


def _rejected(done: Any) -> Counter[str]:
    return sum((each.reasons for each in done), Counter[str]())


def _facts(
    rows: Sequence[Pair], kept: Sequence[Pair], names: list[str], done: Sequence[Filtered], division: Division, data: Data
) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "kept": len(kept),
        "rejected": dict(sorted(_rejected(done).items())),
        "filters": [{"name": each.name, "in": each.came, "out": each.stayed} for each in done],
        "splits": {name: names.count(name) for name in SPLITS},
        "clusters": division.sizes.total(),
        "cluster_sizes": histogram(division.sizes),
        "largest_cluster": max(division.sizes, default=0),
        "leakage": leakage(kept, names, data.splits.near_duplicate),
    }


def _write(folder: Path, kept: Sequence[Pair], names: Sequence[str], done: Sequence[Filtered], fresh: Collection[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        arrays = [pa.array([row[index] for row in rows], pa.string()) for index in range(len(columns))]
        table = pa.table(arrays, names=list(columns))
        if name == "test" and fresh:
            table = table.append_column(FRESH, pa.array([row[0] in fresh for row in rows], pa.bool_()))
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")

    for name in SPLITS:
        write(name, Pair._fields, sorted(pair for pair, its in zip(kept, names, strict=True) if its == name))
    dropped = [
        (pair.id, each.name, reason, pair.source[:SHOWN], pair.target[:SHOWN]) for each in done for reason, pair in each.samples
    ]
    write("dropped", ("id", "filter", "reason", "source", "target"), dropped)
