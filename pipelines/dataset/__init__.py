"""From scrubbed pairs to a dataset: validated, deduplicated, split without leakage; and versioned with DVC (`versions`)."""

import json
from pathlib import Path

from pipelines import artifact
from pipelines.artifact import Clean, Dataset, digest
from pipelines.dataset.splits import SPLITS, Pair, divide, leakage, shingle, sift
from pipelines.dataset.versions import Pointer, publish, verify
from pipelines.errors import SeqlineError, UserError
from pipelines.spec import Data

__all__ = ["Pointer", "publish", "split", "verify"]

CODE_VERSION = 2


def split(clean: Clean, data: Data, out: Path) -> Dataset:
    """Reject what no model should see and divide the rest: train, validation, test .parquet (id, source, target), dataset.json.

    Near-duplicates (Jaccard similarity of word 3-shingles of the sources, or of the targets, of at least
    `splits.near_duplicate`) form clusters, and a cluster falls whole into one split, by the hash of its raw content (`id`):
    neither new data nor a new privacy policy moves an old pair, unless it joins clusters. A champion is thus not scored on
    pairs that it learned from.

    Raises:
        UserError: too many rows were rejected, or too few pairs remain for the splits.
    """
    key = digest("dataset", CODE_VERSION, clean, data.limits, data.splits)[:16]
    return artifact.make(Dataset, out / f"dataset-{key}", lambda folder: _split(clean, data, folder))


def _split(clean: Clean, data: Data, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[Pair] = pq.read_table(clean.path / "pairs.parquet").to_pylist()
    kept, rejected = sift(rows, data.limits)
    share = rejected.total() / max(len(rows), 1)
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejected.most_common())
    if share > data.limits.reject_rate:
        raise UserError(
            f"data.limits.reject_rate: {share:.0%} of {len(rows)} rows are rejected ({reasons}), "
            f"more than {data.limits.reject_rate:.0%}: mend the data or the limits"
        )
    needed = data.splits.test + data.splits.validation + 1
    if len(kept) < needed:
        raise UserError(
            f"data.splits: {len(kept)} pairs remain of {len(rows)} rows ({reasons or 'none rejected'}), but the splits "
            f"need {needed}: bring more data, or make data.splits.test and data.splits.validation smaller"
        )
    shingles = [(shingle(pair["source"]), shingle(pair["target"])) for pair in kept]
    names, clusters = divide(kept, shingles, data.splits)
    schema = pa.schema([(name, pa.string()) for name in ("id", "source", "target")])
    for name in SPLITS:
        chosen = sorted((pair for pair, its in zip(kept, names, strict=True) if its == name), key=lambda pair: pair["id"])
        pq.write_table(pa.Table.from_pylist(chosen, schema), folder / f"{name}.parquet", compression="zstd")
    leaks = leakage(kept, shingles, names, data.splits.near_duplicate)
    facts = {
        "rows": len(rows),
        "kept": len(kept),
        "rejected": dict(sorted(rejected.items())),
        "splits": {name: names.count(name) for name in SPLITS},
        "clusters": clusters,
        "leakage": leaks,
    }
    if any(leaks.values()):
        raise SeqlineError(f"dataset: pairs leak across the splits, which the clustering should prevent: {leaks}")
    (folder / "dataset.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
