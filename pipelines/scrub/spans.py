"""From spans of personal data to placeholders and back: the pure half of the scrubber."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from pipelines.spec import Privacy

TAGGED = ("LOCATION", "PERSON")  # found by a statistical tagger: its edges are guesses, so a pattern's span cuts it
CARRIED = 0.8  # score of a span found by its value alone: below the recognizers' own
LITERAL = 2.0  # score of a text that looks like a placeholder already: above any of Presidio's
WORD = r"\w[\w\u0300-\u036f]*"  # a word, with the accents that stand as characters of their own (NFD)

_words = re.compile(WORD).findall
_is_mark = re.compile(r"[\w\u0300-\u036f]").match
_placeholder = re.compile(r"<[A-Z_]+_\d+>")
_inner = {
    True: re.compile(r"\w(?:.*[\w\u0300-\u036f])?"),  # of a name: from letter to letter
    False: re.compile(r"\S(?:.*\S)?"),
}


class Span(NamedTuple):
    """text[start:end] is an `entity`, with Presidio's confidence."""

    start: int
    end: int
    entity: str
    score: float


class Replaced(NamedTuple):
    """text[start:end] of the original text became `placeholder`."""

    start: int
    end: int
    entity: str
    score: float
    placeholder: str


@dataclass(frozen=True)
class Scrubbed:
    """Texts with placeholders for the values in them.

    `values` maps each placeholder to what it stands for (its first form, where the texts write one value in several). A
    placeholder that several values share (the last number) is not in it: no answer is better than another person's name.
    `replaced` has, for each text, what was replaced where, in order; `found` every (entity, value) replaced, in order.
    """

    texts: tuple[str, ...]
    values: Mapping[str, str]
    replaced: tuple[tuple[Replaced, ...], ...] = ()
    found: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def placeholders(privacy: Privacy) -> tuple[str, ...]:
    """Every placeholder that the scrubber can write under this policy, e.g. `<PERSON_1>`."""
    return tuple(f"<{entity}_{number}>" for entity in privacy.entities for number in range(1, privacy.placeholders + 1))


def restore(text: str, values: Mapping[str, str]) -> str:
    """`text` with each placeholder that `values` knows put back; in one pass: a value is never read as a placeholder."""
    return _placeholder.sub(lambda match: values.get(match[0], match[0]), text)


def put_back(text: str, replaced: Sequence[Replaced], values: Sequence[str]) -> str:
    """The original of a scrubbed `text`, byte for byte, from what was replaced in it and the `values` that stood there."""
    parts, position, shift = [], 0, 0
    for each, value in zip(replaced, values, strict=True):
        start = each.start + shift
        parts += [text[position:start], value]
        position = start + len(each.placeholder)
        shift += len(each.placeholder) - (each.end - each.start)
    return "".join([*parts, text[position:]])


def lookalikes(text: str, entities: Sequence[str]) -> list[Span]:
    """Parts of a raw text that look like placeholders. They count as values, so that theirs and ours are never confused."""
    if "<" not in text:
        return []
    matches = _lookalike(tuple(entities)).finditer(text)
    return [Span(match.start(), match.end(), match[1], LITERAL) for match in matches]


@lru_cache(maxsize=64)
def _lookalike(entities: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"<({'|'.join(entities)})_\d+>")


def resolve(text: str, spans: Iterable[Span]) -> list[Span]:
    """Disjoint spans, in order, that cover every letter and digit of `spans`.

    After Presidio's `remove_intersections`: of equal spans the surer one counts; a contained one goes; where two overlap in
    part, the pattern's cuts the tagger's, else the longer the shorter, and what is left of the other is hidden too. A name
    does not run over a line break.
    """

    whole = [span if span.score >= LITERAL else _whole_words(text, span) for span in spans]
    if len(whole) < 2:
        return [piece for span in whole for piece in _trim(text, span)]
    taken: list[Span] = []
    for span in sorted(whole, key=_rank):
        for start, end in free(span, taken):
            taken += _trim(text, Span(start, end, span.entity, span.score))
    return sorted(taken)


def _rank(span: Span) -> tuple[object, ...]:
    """The order in which spans take their letters: later ones get what is left."""
    start, end, entity, score = span
    tagged = entity in TAGGED
    return (score < LITERAL, tagged, -score if tagged else 0.0, start - end, -score, entity, start)


def free(span: Span, taken: Sequence[Span]) -> list[tuple[int, int]]:
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
    for match in _inner[span.entity in TAGGED].finditer(text, span.start, span.end):
        start, end = match.span()
        if end < span.end and text[end] == ")" and "(" in match[0]:
            end += 1
        if _words(match[0]):
            pieces.append(Span(start, end, span.entity, span.score))
    return pieces


def _whole_words(text: str, span: Span) -> Span:
    """`span` with an edge inside a word moved to the edge of the word: half a word, hidden, tells the other half."""
    start, end = whole(text, span.start, span.end)
    return span if (start, end) == span[:2] else Span(start, end, span.entity, span.score)


def whole(text: str, start: int, end: int) -> tuple[int, int]:
    """The smallest range of whole words that holds text[start:end]."""
    while 0 < start < len(text) and _is_mark(text, start) and _is_mark(text, start - 1):
        start -= 1
    while 0 < end < len(text) and _is_mark(text, end) and _is_mark(text, end - 1):
        end += 1
    return start, end


def replace(
    texts: Sequence[str], spans: Sequence[Sequence[Span]], limit: int, keys: Sequence[Sequence[Hashable]] | None = None
) -> Scrubbed:
    """Put placeholders for disjoint `spans`: one value, one placeholder over all texts, numbered by first appearance.

    More than `limit` values of an entity share the last number. `keys`, one a span, say which spans of an entity are forms of
    one value; by default those that are equal letter for letter.
    """
    numbers: dict[tuple[str, Hashable], str] = {}
    counts: dict[str, int] = {}
    sharing: dict[str, list[str]] = {}
    written, replaced, found = [], [], []
    for index, (text, ordered) in enumerate(zip(texts, spans, strict=True)):
        parts, position, done = [], 0, []
        for order, (start, end, entity, score) in enumerate(ordered):
            value = text[start:end]
            key = (entity, value if keys is None else keys[index][order])
            placeholder = numbers.get(key)
            if placeholder is None:
                counts[entity] = counts.get(entity, 0) + 1
                numbers[key] = placeholder = f"<{entity}_{min(counts[entity], limit)}>"
                sharing.setdefault(placeholder, []).append(value)
            found.append((entity, value))
            done.append(Replaced(start, end, entity, score, placeholder))
            parts += [text[position:start], placeholder]
            position = end
        written.append("".join([*parts, text[position:]]) if parts else text)
        replaced.append(tuple(done))
    values = {placeholder: originals[0] for placeholder, originals in sharing.items() if len(originals) == 1}
    return Scrubbed(tuple(written), values, tuple(replaced), tuple(found))


class Lookup:
    """Finds given values in texts, on word bounds: a dictionary by rarest word, so that thousands of values cost one pass."""

    def __init__(self, values: Mapping[str, str], score: float) -> None:
        """`values` maps a value to its entity."""
        self._score = score
        self._by_word: dict[str, list[tuple[str, str]]] = {}
        words = {value: sorted(set(_words(value))) for value in values}
        # not by the first word: five thousand addresses begin with https
        common = Counter(word for its in words.values() for word in its)
        for value, entity in values.items():
            if words[value]:
                rarest = min(words[value], key=common.__getitem__)
                self._by_word.setdefault(rarest, []).append((value, entity))

    def find(self, text: str) -> list[Span]:
        # most texts hold no such word of any value: two C calls tell so
        hits = self._by_word.keys() & set(_words(text))
        return [
            Span(start, start + len(value), entity, self._score)
            for word in sorted(hits)
            for value, entity in self._by_word[word]
            for start in occurrences(text, value)
        ]


def occurrences(text: str, value: str) -> list[int]:
    """Where `value` stands in `text` beginning and ending no word in its middle; overlapping ones too."""
    starts, start = [], text.find(value)
    while start >= 0:
        if whole(text, start, start + len(value)) == (start, start + len(value)):
            starts.append(start)
        start = text.find(value, start + 1)
    return starts


def agree(texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[list[Span]]:
    """Disjoint spans for texts that belong together: what was found in one of them is hidden in all of them."""
    resolved = [resolve(text, found) for text, found in zip(texts, spans, strict=True)]
    values = {
        text[span.start : span.end]: span.entity
        for text, found in zip(texts, resolved, strict=True)
        for span in reversed(found)
        if span.score < LITERAL
    }
    return [_with_values(text, found, values) for text, found in zip(texts, resolved, strict=True)]


def _with_values(text: str, found: list[Span], values: Mapping[str, str]) -> list[Span]:
    known = {span[:3] for span in found}
    new = [
        Span(start, start + len(value), entity, CARRIED)
        for value, entity in values.items()
        for start in occurrences(text, value)
        if (start, start + len(value), entity) not in known
    ]
    return resolve(text, [*found, *new]) if new else found
