"""What labels said of answers that are gone: the statistics of a rate outlive the texts, and hold none.

A confidence interval that is looked at again and again holds for all labels that were ever drawn: one that forgot the oldest
would promise too much. So a label's verdict and answer stay, under a name that leads to no request, no text and no person.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.registry.erasing import write
from pipelines.registry.labels import Judged


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


def add(path: Path, rows: Iterable[Judged], left: Iterable[Put]) -> int:
    """Keep what these labels say, without their texts; one that is kept already is kept once. How many are new."""
    content = _content(path)
    before = sum(map(len, content.values()))
    for row in rows:
        reviewer = hidden("reviewer", row.reviewer)
        content["rows"][f"{hidden('item', row.item)} {reviewer}"] = {
            "version": row.version, "verdict": row.verdict, "answer": row.answer, "weight": row.weight,
            "at": row.at, "drawn": sorted(row.drawn),
        }  # fmt: skip
    content["left"].update({hidden("item", each.item): [each.version, each.flagged] for each in left})
    new = sum(map(len, content.values())) - before
    if new:
        write(path, content)
    return new


def read(path: Path, now: Sequence[Judged] = ()) -> Kept:
    """What is kept. A reviewer who labelled lately too (`now`) is known by the name that they have there."""
    content = _content(path)
    names = {hidden("reviewer", row.reviewer): row.reviewer for row in now}
    rows = []
    for key, told in sorted(content["rows"].items()):
        item, reviewer = key.split(" ")
        said = {**told, "drawn": frozenset(told["drawn"])}
        rows.append(Judged(item=item, source="", output="", reviewer=names.get(reviewer, reviewer), **said))
    return Kept(rows, [Put(item, *said) for item, said in sorted(content["left"].items())])


def hidden(kind: str, name: str) -> str:
    """A name for the same thing that nobody can look up in a store."""
    return hashlib.sha256(f"kept {kind} {name}".encode()).hexdigest()[:32]


def _content(path: Path) -> dict[str, dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {"rows": found.get("rows", {}), "left": found.get("left", {})}
