"""From spans of personal data to placeholders and back: the pure half of the scrubber."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pipelines.spec import Privacy

TAGGED = ("LOCATION", "PERSON")  # found by a statistical tagger: its edges are guesses, so a pattern's span cuts it
CARRIED = 0.8  # score of a span found by its value alone: below the recognizers' own
LITERAL = 2.0  # score of a text that looks like a placeholder already: above any of Presidio's


class Span(NamedTuple):
    """text[start:end] is an `entity`, with Presidio's confidence."""

    start: int
    end: int
    entity: str
    score: float


@dataclass(frozen=True)
class Scrubbed:
    """Texts with placeholders for the values in them.

    `values` maps each placeholder to what it stands for. A placeholder that several values share (the last number) is not
    in it: no answer is better than another person's name. `found` lists every (entity, value) replaced, in order.
    """

    texts: tuple[str, ...]
    values: Mapping[str, str]
    found: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def placeholders(privacy: Privacy) -> tuple[str, ...]:
    """Every placeholder that the scrubber can write under this policy, e.g. `<PERSON_1>`."""
    return tuple(f"<{entity}_{number}>" for entity in privacy.entities for number in range(1, privacy.placeholders + 1))


def restore(text: str, values: Mapping[str, str]) -> str:
    """`text` with each placeholder that `values` knows put back; in one pass: a value is never read as a placeholder."""
    return re.sub(r"<[A-Z_]+_\d+>", lambda match: values.get(match[0], match[0]), text)


def lookalikes(text: str, entities: Sequence[str]) -> list[Span]:
    """Parts of a raw text that look like placeholders. They count as values, so that theirs and ours are never confused."""
    if "<" not in text:
        return []
    pattern = rf"<({'|'.join(entities)})_\d+>"
    return [Span(match.start(), match.end(), match[1], LITERAL) for match in re.finditer(pattern, text)]


def resolve(text: str, spans: Iterable[Span]) -> list[Span]:
    """Disjoint spans, in order, that cover every letter and digit of `spans`.

    After Presidio's `remove_intersections`: of equal spans the surer one counts; a contained one goes; where two overlap in
    part, the pattern's cuts the tagger's, else the longer the shorter, and what is left of the other is hidden too. A name
    does not run over a line break.
    """

    def rank(span: Span) -> tuple[object, ...]:
        tagged = span.entity in TAGGED
        return (span.score < LITERAL, tagged, -span.score if tagged else 0.0, span.start - span.end, -span.score, span.entity)

    taken: list[Span] = []
    whole = [span if span.score >= LITERAL else _whole_words(text, span) for span in spans]
    for span in sorted(whole, key=lambda span: (*rank(span), span.start)):
        for start, end in _free(span, taken):
            taken += _trim(text, span._replace(start=start, end=end))
    return sorted(taken)


def _free(span: Span, taken: Sequence[Span]) -> list[tuple[int, int]]:
    """The parts of `span` that no span in `taken` covers."""
    parts = [(span.start, span.end)]
    for other in taken:
        if other.start < span.end and span.start < other.end:
            sides = [((start, min(end, other.start)), (max(start, other.end), end)) for start, end in parts]
            parts = [part for pair in sides for part in pair if part[0] < part[1]]
    return parts


def _trim(text: str, span: Span) -> list[Span]:
    """`span` as whole words, a piece a line, without the punctuation that a tagger leaves at its edges; empty pieces gone."""
    if span.score >= LITERAL:
        return [span]
    pieces = []
    for match in re.compile(r"\w(?:.*\w)?" if span.entity in TAGGED else r"\S(?:.*\S)?").finditer(text, span.start, span.end):
        start, end = match.span()
        if "(" in match[0] and text[end : end + 1] == ")" and end < span.end:
            end += 1
        if re.search(r"\w", match[0]):
            pieces.append(span._replace(start=start, end=end))
    return pieces


def _whole_words(text: str, span: Span) -> Span:
    """`span` with an edge inside a word moved to the edge of the word: half a word, hidden, tells the other half."""
    start, end = span.start, span.end
    while 0 < start < len(text) and _is_word(text[start - 1]) and _is_word(text[start]):
        start -= 1
    while 0 < end < len(text) and _is_word(text[end - 1]) and _is_word(text[end]):
        end += 1
    return span._replace(start=start, end=end)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def replace(texts: Sequence[str], spans: Sequence[Sequence[Span]], limit: int) -> Scrubbed:
    """Put placeholders for disjoint `spans`: one value, one placeholder over all texts, numbered by first appearance.

    More than `limit` values of an entity share the last number.
    """
    numbers: dict[tuple[str, str], int] = {}
    counts: dict[str, int] = {}
    sharing: dict[str, list[str]] = {}
    written, found = [], []
    for text, ordered in zip(texts, spans, strict=True):
        parts, position = [], 0
        for span in ordered:
            value = text[span.start : span.end]
            key = (span.entity, value)
            if key not in numbers:
                counts[span.entity] = counts.get(span.entity, 0) + 1
                numbers[key] = min(counts[span.entity], limit)
                sharing.setdefault(f"<{span.entity}_{numbers[key]}>", []).append(value)
            found.append(key)
            parts += [text[position : span.start], f"<{span.entity}_{numbers[key]}>"]
            position = span.end
        written.append("".join([*parts, text[position:]]))
    values = {placeholder: originals[0] for placeholder, originals in sharing.items() if len(originals) == 1}
    return Scrubbed(tuple(written), values, tuple(found))


class Lookup:
    """Finds given values in texts, on word bounds: a dictionary by first word, so that thousands of values cost one pass."""

    def __init__(self, values: Mapping[str, str], score: float) -> None:
        """`values` maps a value to its entity."""
        self._score = score
        self._by_word: dict[str, list[tuple[int, str, str]]] = {}
        for value, entity in values.items():
            first = re.search(r"\w+", value)
            if first:
                self._by_word.setdefault(first[0], []).append((first.start(), value, entity))

    def find(self, text: str) -> list[Span]:
        spans = []
        for word in re.finditer(r"\w+", text):
            for offset, value, entity in self._by_word.get(word[0], ()):
                start = word.start() - offset
                end = start + len(value)
                if start >= 0 and text.startswith(value, start) and _bounded(text, start, end):
                    spans.append(Span(start, end, entity, self._score))
        return spans


def _bounded(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] neither begins nor ends inside a word."""
    before = start > 0 and _is_word(text[start - 1]) and _is_word(text[start])
    after = end < len(text) and _is_word(text[end - 1]) and _is_word(text[end])
    return not before and not after


def agree(texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[list[Span]]:
    """Disjoint spans for texts that belong together: what was found in one of them is hidden in all of them."""
    resolved = [resolve(text, found) for text, found in zip(texts, spans, strict=True)]
    values = {
        text[span.start : span.end]: span.entity
        for text, found in zip(texts, resolved, strict=True)
        for span in reversed(found)
        if span.score < LITERAL
    }
    everywhere = Lookup(values, CARRIED)
    return [resolve(text, [*found, *everywhere.find(text)]) for text, found in zip(texts, resolved, strict=True)]
