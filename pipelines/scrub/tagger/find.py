"""The tagger at work: texts in, spans out."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.scrub.spans import Span
from pipelines.scrub.tagger.names import STREET
from pipelines.scrub.tagger.network import CLASSES, Network
from pipelines.scrub.tagger.words import SLOTS, Batch, Ints, Lexicon, digest, normal, split

SCORE = 0.85  # Presidio's own for what its tagger finds
FORMS = 200_000  # forms of words whose vectors are kept: some 30 MB
# By how many nats a class may be behind "nothing" and still be taken: a name left costs more than a word too many (F2).
# Chosen on tests/benchmarks/tagger.py's `validate` part and on technical text that no figure is measured on.
MARGINS = (-0.1, -0.8, -0.5, 0.0)
WEAK = 0.8  # nats less that a name's neighbour needs
PHONE, CARD = CLASSES.index("PHONE_NUMBER"), CLASSES.index("CREDIT_CARD")
DIGITS = {PHONE: (5, 17), CARD: (11, 19)}  # how many a number has
SMALL = re.compile(r"[^\W\d_A-Z]{1,2}\s+(?=\S)")  # "a", "of", "in": no name starts so, whatever the network says
ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")  # of a host
LONG_NUMBER = re.compile(r"(?<![\w.+])\d(?:[ -]?\d){11,18}(?![\w])(?!\.\d)")


class Vocabulary:
    """Forms of words by number, with their vectors; grows with what is read, in memory only."""

    def __init__(self, lexicon: Lexicon, network: Network) -> None:
        self.lexicon, self.network = lexicon, network
        self._starts = np.array(lexicon.starts[:SLOTS], np.int64)
        self._clear()

    def _clear(self) -> None:
        self._numbers: dict[str, int] = {"": 0}
        self.vectors = self.network.vectors(self.rows([""]))
        self.telling: NDArray[np.bool_] = np.zeros(1, bool)

    def rows(self, forms: Sequence[str]) -> Ints:
        return np.array([self.lexicon.features(form) for form in forms], np.int64).reshape(-1, SLOTS) + self._starts

    def number(self, tokens: Sequence[str]) -> Ints:
        """The number of each word; new ones are added. Only a whole batch may call it: numbers change when it is full."""
        if len(self._numbers) > FORMS:
            self._clear()
        new = [form for form in dict.fromkeys(tokens) if form not in self._numbers]
        if new:
            self._numbers.update(zip(new, range(len(self._numbers), len(self._numbers) + len(new)), strict=True))
            self.vectors = np.concatenate([self.vectors, self.network.vectors(self.rows(new))])
            self.telling = np.concatenate([self.telling, np.fromiter(map(self.lexicon.is_telling, new), bool, len(new))])
        return np.fromiter(map(self._numbers.__getitem__, tokens), np.int64, len(tokens))


class Finder:
    """Finds spans with a network."""

    def __init__(self, lexicon: Lexicon, network: Network, margins: Sequence[float] = MARGINS, weak: float = WEAK) -> None:
        self.vocabulary = Vocabulary(lexicon, network)
        self.margins = np.rint(np.array([0.0, *margins]) * network.nat).astype(np.float32)
        self.weak = float(round(weak * network.nat))

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        batch = Batch(texts, self.vocabulary.number)
        places = batch.active(self.vocabulary.telling)
        labels = np.zeros(len(batch.tokens), np.int8)
        scores = self.vocabulary.network.scores(self.vocabulary.vectors, batch.ids, places)
        labels[places] = _labels(scores - self.margins, places, self.weak)
        spans: list[list[Span]] = [[] for _ in texts]
        bases = batch.ends[np.array(batch.firsts, np.int64) - 1]
        for first, last, label in _runs(_agreed(labels, scores, places), batch):
            number = int(np.searchsorted(batch.firsts, first, "right")) - 1
            base = int(bases[number])
            start, end = int(batch.ends[first - 1]) - base, int(batch.ends[last]) - base
            span = _span(texts[number], start, end, label, self.vocabulary.lexicon)
            if span:
                spans[number].append(span)
        return [self._more(text, found) for text, found in zip(texts, spans, strict=True)]

    def _more(self, text: str, found: list[Span]) -> list[Span]:
        """The network's spans, what passes as a card number, and a person's name again: the last two by rule."""
        cards = [span for span in _cards(text) if span not in found]
        kept = [span for span in found if not any(span.start < card.end and card.start < span.end for card in cards)] + cards
        return sorted(kept + _again(text, kept, self.vocabulary.lexicon))


def _labels(scores: NDArray[np.float32], places: Ints, weak: float) -> NDArray[np.int8]:
    """The best class of each word; beside a word of a class, that class wins with `weak` less."""
    labels: NDArray[np.int8] = scores.argmax(1).astype(np.int8)
    beside = np.diff(places) == 1
    for _ in range(2):
        for side in (slice(1, None), slice(None, -1)):
            other = slice(None, -1) if side.start else slice(1, None)
            near = np.flatnonzero(beside & (labels[side] == 0) & (labels[other] > 0) & (labels[other] < PHONE))
            place = near + (1 if side.start else 0)
            wanted = labels[near + (0 if side.start else 1)]
            wins = scores[place, wanted] + weak > scores[place, 0]
            labels[place[wins]] = wanted[wins]
    return labels


def _agreed(labels: NDArray[np.int8], scores: NDArray[np.float32], places: Ints) -> NDArray[np.int8]:
    """Words of names and places that stand side by side are of one class: the one that scores more over all of them."""
    hits = np.flatnonzero((labels == 1) | (labels == 2))
    if not len(hits):
        return labels
    rows = scores[np.searchsorted(places, hits)]
    firsts = np.r_[0, np.flatnonzero(np.diff(hits) > 1) + 1]
    sums = np.add.reduceat(rows[:, 1:3], firsts)
    mixed = np.minimum.reduceat(labels[hits], firsts) != np.maximum.reduceat(labels[hits], firsts)
    sizes = np.diff(np.r_[firsts, len(hits)])
    labels[hits] = np.where(np.repeat(mixed & (sizes <= 4), sizes), np.repeat(sums.argmax(1) + 1, sizes), labels[hits])
    return labels


def _again(text: str, found: Sequence[Span], lexicon: Lexicon) -> list[Span]:
    """Where the words of a person's full name stand alone in the same text."""
    words = {word for span in found if span.entity == "PERSON" for word in _names(text[span.start : span.end], lexicon)}
    if not words:
        return []
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(words))) + r")(?!\w)")
    covered = [(span.start, span.end) for span in found]
    return [
        Span(match.start(), match.end(), "PERSON", SCORE)
        for match in pattern.finditer(text)
        if not any(start < match.end() and match.start() < end for start, end in covered)
    ]


def _names(name: str, lexicon: Lexicon) -> list[str]:
    words = [word.strip() for word in split(name) if word.strip()[:1].isalpha()]
    whole = [
        word
        for word in words
        if len(word) > 2 and not word.islower() and digest(normal(word), lexicon.salt) not in lexicon.common
    ]
    return whole if len(words) > 1 else []


def _runs(labels: NDArray[np.int8], batch: Batch) -> Iterator[tuple[int, int, int]]:
    """(first word, last word, class) of each run of words of one class; a gap of one mark or particle is closed."""
    hits = np.flatnonzero(labels)
    if not len(hits):
        return
    values = labels[hits]
    breaks = np.flatnonzero((np.diff(hits) > 1) | (np.diff(values) != 0))
    firsts, lasts = hits[np.r_[0, breaks + 1]], hits[np.r_[breaks, len(hits) - 1]]
    pending: tuple[int, int, int] | None = None
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        label = int(labels[first])
        if pending and pending[2] == label and first - pending[1] == 2 and _joins(batch.tokens[first - 1], label):
            pending = (pending[0], last, label)
            continue
        if pending:
            yield pending
        pending = (first, last, label)
    if pending:
        yield pending


def _joins(token: str, label: int) -> bool:
    """Whether what stands between two pieces is part of one value."""
    word = token.strip()
    if CLASSES[label] == "LOCATION":
        return len(word) <= 3
    return (
        word in (".", "-", "'", "de", "van", "von", "der", "la", "di", "da")
        if CLASSES[label] == "PERSON"
        else not word.isalpha()
    )


def _span(text: str, start: int, end: int, label: int, lexicon: Lexicon) -> Span | None:
    """The span without blanks and marks at its edges; None if it cannot be what it is taken for."""
    if label in DIGITS:
        return _number(text, start, end, label)
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    if text[end - 2 : end] in ("'s", "\u2019s") and end - 2 > start:
        end -= 2
    while match := SMALL.match(text, start, end):
        start = match.end()
    start, end = _trimmed(text, start, end, lexicon)
    value = text[start:end]
    if not value or not _may_be(value, CLASSES[label], lexicon):
        return None
    return Span(start, end, CLASSES[label], SCORE)


def _trimmed(text: str, start: int, end: int, lexicon: Lexicon) -> tuple[int, int]:
    """Less the plain words in lower case at its edges, unless the text has no capitals at all."""
    if text.islower():
        return start, end
    words = split(text[start:end])
    plain = [word.islower() and _is_plain(word.strip(), lexicon) for word in words]
    while words and (plain[-1] or not words[-1].strip().isalnum()):
        end -= len(words.pop())
        plain.pop()
    while words and (plain[0] or not words[0].strip().isalnum()):
        start += len(words.pop(0))
        plain.pop(0)
    return start + (len(words[0]) - len(words[0].lstrip()) if words else 0), end


def _is_plain(word: str, lexicon: Lexicon) -> bool:
    own = digest(normal(word), lexicon.salt)
    return len(word) > 3 and (own in lexicon.common or own in lexicon.lists[-1]) and own not in lexicon.lists[STREET]


def _may_be(value: str, entity: str, lexicon: Lexicon) -> bool:
    if value.isascii() and value.islower() and not any(map(lexicon.is_telling, split(value))):
        return False
    if entity == "PERSON":
        return not value.isdecimal() and (len(value) > 1 or not value.isascii())
    letters = sum(map(str.isalpha, value))
    return letters > 1 or sum(map(str.isdecimal, value)) > 3  # "60s" is no place, nor is a bare number that is no postcode


def _number(text: str, start: int, end: int, label: int) -> Span | None:
    while start < end and not (text[start].isdecimal() or text[start] in "+("):
        start += 1
    while end > start and not text[end - 1].isdecimal():
        end -= 1
    least, most = DIGITS[label]
    digits = sum(map(str.isdecimal, text[start:end]))
    if ADDRESS.fullmatch(text, start, end):
        return None
    return Span(start, end, CLASSES[label], SCORE) if least <= digits <= most + 8 * (label == PHONE) else None


def _cards(text: str) -> list[Span]:
    """Numbers as long as a payment card's that pass its check, however they are grouped."""
    found = []
    for match in LONG_NUMBER.finditer(text):
        digits = [int(digit) for digit in match[0] if digit.isdecimal()]
        total = sum(sum(divmod(digit * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits), start=1))
        if digits[0] in (1, 2, 3, 4, 5, 6) and total % 10 == 0:
            found.append(Span(match.start(), match.end(), "CREDIT_CARD", SCORE))
    return found
