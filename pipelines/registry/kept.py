"""What labels said of answers that are gone: the statistics of a rate outlive the texts, and hold none.

A confidence interval that is looked at again and again holds for all labels that were ever drawn: one that forgot the oldest
would promise too much. So a label's verdict and answer stay, under keyed names (HMAC): without the key they lead nobody to a
request or a person.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.registry.erasing import write
from pipelines.registry.labels import Judged

KEYED = "hmac-sha256"


class Put(NamedTuple):
    """An answer drawn by its verdict that a reviewer put away without an answer."""

    item: str
    version: str
    flagged: bool


class Kept(NamedTuple):
    """Labels without texts, and what was put away."""

    rows: list[Judged]
    left: list[Put]


def path_of(workspace: Path, name: str) -> Path:
    return workspace / "labels" / name / "kept.json"


def add(path: Path, key: bytes, rows: Iterable[Judged], left: Iterable[Put]) -> int:
    """Keep what these labels say, without their texts; one that is kept already is kept once. How many are new.

    `key` is that of pseudonyms: under another one a reviewer of before is told apart from the same one later.
    """
    content = _content(path, key)
    before = sum(map(len, content.values()))
    for row in rows:
        item, reviewer = hidden(key, "item", row.item), hidden(key, "reviewer", row.reviewer)
        content["rows"][f"{item} {reviewer}"] = {
            "version": row.version, "verdict": row.verdict, "answer": row.answer, "weight": row.weight,
            "at": row.at, "drawn": sorted(row.drawn),
        }  # fmt: skip
    content["left"].update({hidden(key, "item", each.item): [each.version, each.flagged] for each in left})
    new = sum(map(len, content.values())) - before
    if new:
        write(path, {**content, "names": KEYED})
    return new


def read(path: Path, key: bytes, now: Sequence[Judged] = ()) -> Kept:
    """What is kept. A reviewer who labelled lately too (`now`) is known by the name that they have there."""
    content = _content(path, key)
    names = {hidden(key, "reviewer", row.reviewer): row.reviewer for row in now}
    rows = []
    for both, told in sorted(content["rows"].items()):
        item, reviewer = both.split(" ")
        said = {**told, "drawn": frozenset(told["drawn"])}
        rows.append(Judged(item=item, source="", output="", reviewer=names.get(reviewer, reviewer), **said))
    return Kept(rows, [Put(item, *said) for item, said in sorted(content["left"].items())])


def hidden(key: bytes, kind: str, name: str) -> str:
    """A name for the same thing that nobody can look up in a store, nor try names for without the key."""
    return _keyed(key, hashlib.sha256(f"kept {kind} {name}".encode()).hexdigest()[:32])


def _keyed(key: bytes, digest: str) -> str:
    return hmac.digest(key, f"seqline: kept labels: {digest}".encode(), "sha256").hex()[:32]


def _content(path: Path, key: bytes) -> dict[str, dict[str, Any]]:
    """What is in the file, its names keyed: earlier ones were plain digests, which a list of people's names undoes."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows, left = found.get("rows", {}), found.get("left", {})
    if found and found.get("names") != KEYED:
        rows = {" ".join(_keyed(key, part) for part in names.split(" ")): told for names, told in rows.items()}
        left = {_keyed(key, item): told for item, told in left.items()}
    return {"rows": rows, "left": left}
