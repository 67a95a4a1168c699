"""Personal data that an output brings up although its source does not hold it: counts by kind, never the value.

Patterns only: cheap enough for every output. Names of people need the scrubber's tagger and are not looked for here.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

PATTERNS = {
    "EMAIL_ADDRESS": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "URL": re.compile(r"(?:https?|ftp)://[^\s<>\"')\]]+|\bwww\.[\w-]+\.[^\s<>\"')\]]+", re.IGNORECASE),
    "IP_ADDRESS": re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]|\w)"),
    "PHONE_NUMBER": re.compile(
        r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?\(?\d{2,4}\)?(?:[ .-]\d{2,4}){2,4}(?![\w.])|(?<!\w)\+\d{8,15}(?!\w)"
    ),
}
PLACEHOLDER = re.compile(r"<([A-Z_]+)_\d+>")
FEWEST_PHONE_DIGITS = 9


@dataclass(frozen=True)
class Leaks:
    """`values`: outputs with a value by kind that their source lacks; `placeholders`: outputs with a placeholder that it lacks;
    `outputs`: outputs with a value of any kind."""

    outputs: int
    values: dict[str, int]
    placeholders: int


def count(sources: Sequence[str], outputs: Sequence[str]) -> Leaks:
    """Count the outputs with an e-mail address, URL, IP address, phone number or placeholder that their source lacks."""
    values: Counter[str] = Counter()
    leaking = placeholders = 0
    for source, output in zip(sources, outputs, strict=True):
        kinds = leaked(source, output)
        values.update(kinds)
        leaking += bool(kinds)
        placeholders += any(found.group() not in source for found in PLACEHOLDER.finditer(output))
    return Leaks(leaking, dict(sorted(values.items())), placeholders)


def leaked(source: str, output: str) -> list[str]:
    """The kinds of value that `output` holds and `source` does not; a value counts as held in any case and spacing."""
    known = _bare(source)
    return [
        kind
        for kind, pattern in PATTERNS.items()
        if any(_plausible(kind, found.group()) and _bare(found.group()) not in known for found in pattern.finditer(output))
    ]


def _plausible(kind: str, value: str) -> bool:
    return kind != "PHONE_NUMBER" or sum(letter.isdigit() for letter in value) >= FEWEST_PHONE_DIGITS


def _bare(text: str) -> str:
    return re.sub(r"\s+", "", text).lower().rstrip(".,;:")


def copied(outputs: Sequence[str], references: Sequence[str]) -> tuple[int, int]:
    """How many of the placeholders in the references their outputs have too, and how many there are."""
    kept = wanted = 0
    for output, reference in zip(outputs, references, strict=True):
        asked = Counter(found.group() for found in PLACEHOLDER.finditer(reference))
        given = Counter(found.group() for found in PLACEHOLDER.finditer(output))
        kept += (asked & given).total()
        wanted += asked.total()
    return kept, wanted
