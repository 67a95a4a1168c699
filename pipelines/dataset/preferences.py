"""People's corrections as preferences: apart from everything that models are tested on, and versioned with the data."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipelines import artifact
from pipelines.artifact import Clean, Dataset, Preferences, Raw, digest
from pipelines.dataset import likeness
from pipelines.dataset.splits import Pair, rank, read_pairs, sides

CODE_VERSION = 1
TABLE, FACTS = "preferences.parquet", "preferences.json"
Preferred = tuple[Pair, str]
"""(input and corrected answer, the model's own)."""


def gather(raw: Raw, clean: Clean, pairs: Dataset, held_out: float, near_duplicate: float, out: Path) -> Preferences:
    """The scrubbed corrections that a model tested on `pairs` may learn from.

    Makes preferences.parquet (id, source, accepted, rejected, held_out) and preferences.json: how many corrections there were,
    why some are left out (`unscrubbed`: quarantined, or deleted on demand; `disagreed`: the input was scrubbed in two ways;
    `alike`: scrubbed, both answers are the same; `near_held_out`: a near-duplicate, on either side, of a test or validation
    pair), and how many are learnt from and held out. Near-duplicates among them fall on one side, by the hash of an id: it
    stays held out as corrections come.

    Args:
        raw, clean: the corrections as sources.labels.ingest wrote them, and scrubbed.
        held_out: share of the corrections that is not learnt from.
        near_duplicate: Jaccard similarity of word 3-shingles from which texts are near-duplicates.
    """
    key = digest("preferences", CODE_VERSION, raw, clean, pairs, held_out, near_duplicate)[:16]

    def write(folder: Path) -> None:
        left_out: Counter[str] = Counter()
        found = [*_linked(raw, clean, left_out)]
        apart = _apart([pair for pair, _ in found], pairs, near_duplicate)
        left_out["near_held_out"] = len(found) - sum(apart)
        found = sorted(each for each, stays in zip(found, apart, strict=True) if stays)
        held = _held([pair for pair, _ in found], held_out, near_duplicate)
        facts = {
            "corrections": json.loads((raw.path / "facts.json").read_text())["rows"],
            "left_out": dict(sorted(left_out.items())),
            "learnt_from": held.count(False),
            "held_out": held.count(True),
            "dataset": pairs.sha256,
        }
        _write(folder / TABLE, found, held)
        (folder / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    return artifact.make(Preferences, out / f"preferences-{key}", write)


def beside(pairs: Dataset, preferences: Preferences | None, out: Path) -> Dataset:
    """`pairs` as they are published: with the preferences, if there are any, in the same folder of data/."""
    if preferences is None:
        return pairs

    def write(folder: Path) -> None:
        for source in (preferences.path, pairs.path):
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(artifact.MANIFEST))

    return artifact.make(Dataset, out / f"published-{digest(pairs, preferences)[:16]}", write)


def _linked(raw: Raw, clean: Clean, left_out: Counter[str]) -> Iterable[Preferred]:
    facts = json.loads((raw.path / "facts.json").read_text())
    left_out["rejected"] = facts["rejected"]
    scrubbed = {pair.id: pair for pair in read_pairs(clean.path / "pairs.parquet")}
    for accepted, rejected in json.loads((raw.path / "links.json").read_text()):
        one, other = scrubbed.get(accepted), scrubbed.get(rejected)
        if one is None or other is None:
            left_out["unscrubbed"] += 1
        elif one.source != other.source:
            left_out["disagreed"] += 1
        elif one.target.strip() == other.target.strip():
            left_out["alike"] += 1
        else:
            yield one, other.target


def _apart(found: Sequence[Pair], pairs: Dataset, near_duplicate: float) -> list[bool]:
    """Which are no near-duplicate of a test or validation pair."""
    tested = [pair for name in ("test", "validation") for pair in read_pairs(pairs.path / f"{name}.parquet")]
    groups = np.array([0] * len(tested) + [1] * len(found), np.int64)
    near = likeness.crossing(sides([*tested, *found]), np.arange(len(tested)), groups, near_duplicate)[1]
    apart = np.ones(len(groups), bool)
    apart[near] = False
    return [bool(each) for each in apart[len(tested) :]]


def _held(found: Sequence[Pair], share: float, near_duplicate: float) -> list[bool]:
    if not found:
        return []
    labels = likeness.clusters(sides(found), near_duplicate).tolist()
    smallest: dict[int, bytes] = {}
    for label, pair in zip(labels, found, strict=True):
        smallest[label] = min(smallest.get(label, rank(pair.id)), rank(pair.id))
    return [int.from_bytes(smallest[label][:8], "big") < share * 2**64 for label in labels]


def _write(path: Path, found: Sequence[Preferred], held: Sequence[bool]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = {
        "id": [pair.id for pair, _ in found],
        "source": [pair.source for pair, _ in found],
        "accepted": [pair.target for pair, _ in found],
        "rejected": [rejected for _, rejected in found],
    }
    columns = {name: pa.array(values, pa.string()) for name, values in texts.items()}
    pq.write_table(pa.table({**columns, "held_out": pa.array(held, pa.bool_())}), path, compression="zstd")
