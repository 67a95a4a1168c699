"""Personal data that a model brings up by itself: what of a detector's findings is new, and how it is hidden."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

PLACEHOLDER_SCORE = 2.0  # what the detector gives a span that is a placeholder already
_placeholder = re.compile(r"<([A-Z_]+)_(\d{1,9})>")


class Leak(NamedTuple):
    """output[start:end] is personal data (an `entity`) that the request did not hold."""

    start: int
    end: int
    entity: str


def personal(replaced: Iterable[tuple[int, int, str, float, str]]) -> list[Leak]:
    """Of what a detector would replace in a text (scrub's Replaced), all but the placeholders."""
    return [Leak(*each[:3]) for each in replaced if each[3] < PLACEHOLDER_SCORE]


def new_data(output: str, found: Iterable[Leak], source: str) -> list[Leak]:
    """Of what was found in `output`, what does not stand in `source` in any case."""
    if not (leaks := list(found)) or not source:
        return leaks
    known = source.casefold()
    return [leak for leak in leaks if output[leak.start : leak.end].casefold() not in known]


def redact(output: str, leaks: Sequence[Leak], source: str) -> str:
    """`output` with placeholders for its leaks, numbered after those of `source` (scrubbed) and its own.

    So none of them is ever restored to a value of the sender's. Equal values get equal placeholders.
    """
    highest: dict[str, int] = {}
    for text in (source, output):
        for entity, number in _placeholder.findall(text):
            highest[entity] = max(highest.get(entity, 0), int(number))
    given: dict[tuple[str, str], str] = {}
    parts, position = [], 0
    for start, end, entity in sorted(leaks):
        key = (entity, output[start:end])
        if key not in given:
            highest[entity] = highest.get(entity, 0) + 1
            given[key] = f"<{entity}_{highest[entity]}>"
        parts += [output[position:start], given[key]]
        position = end
    return "".join([*parts, output[position:]])
