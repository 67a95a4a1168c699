"""What people said of answers, as rows of a judge's data: half of the answers test it, corrected others teach it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Said = Literal["supported", "unsupported", "can't tell"]
PEOPLE, SUPPORTED = "people", "supported"
"""Kinds of rows: what people called unsupported, and what they called supported."""


class Label(NamedTuple):
    """What one person said of `output`; `span` is the part of it that nothing supports, if one was named, and `corrected` what
    it should have been, if somebody said."""

    item: str
    source: str
    output: str
    said: Said
    span: str = ""
    corrected: str = ""


@dataclass(frozen=True)
class Opinion:
    """What most said of one answer; output[start:end] is what nothing supports (all of it, where no part was named)."""

    id: str
    source: str
    output: str
    supported: bool
    start: int
    end: int
    corrected: str

    @property
    def tests(self) -> bool:
        """Whether it is the judge's test, by the hash of its source: it stays so, and answers to one source stay together."""
        return hashlib.sha256(f"people {self.source}".encode()).digest()[0] % 2 == 0


def opinions(labels: Iterable[Label]) -> tuple[Opinion, ...]:
    """One an answer, by id. Left out is what as many called supported as unsupported, and what nobody could tell."""
    items: dict[str, list[Label]] = {}
    for label in labels:
        items.setdefault(label.item, []).append(label)
    found = (_opinion(item, said) for item, said in sorted(items.items()))
    return tuple(each for each in found if each is not None)


def _opinion(item: str, labels: Sequence[Label]) -> Opinion | None:
    votes = Counter(label.said for label in labels)
    if votes["supported"] == votes["unsupported"]:
        return None
    supported = votes["supported"] > votes["unsupported"]
    first = labels[0]
    span = next((label.span for label in labels if label.span and label.span in first.output), first.output)
    start = 0 if supported else first.output.index(span)
    end = 0 if supported else start + len(span)
    corrected = next((label.corrected for label in labels if label.corrected), "")
    return Opinion(item, first.source, first.output, supported, start, end, corrected)
