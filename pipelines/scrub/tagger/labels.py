"""What the tagger learns from: the user's texts as the teacher labels them, denoised, every name replaced."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from pipelines.scrub.spans import Span
from pipelines.scrub.tagger.names import COUNTRY, FAMILY, GIVEN, PLACE, lists
from pipelines.scrub.tagger.network import CLASSES
from pipelines.scrub.tagger.sentences import Writer
from pipelines.scrub.tagger.words import normal, split

IGNORED = -1
CERTAIN = 1.0  # score of a span that is no guess: a checked card number, or a label of the user's own


@dataclass(frozen=True)
class Usage:
    """How the data uses words (in `normal` form): the number of texts that hold one, and that hold it in lower case."""

    texts: Counter[str]
    lower: Counter[str]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Usage":
        everywhere: Counter[str] = Counter()
        lower: Counter[str] = Counter()
        for text in texts:
            words = {word for token in split(text) if (word := token.strip()) and not word[0].isdecimal()}
            everywhere.update({normal(word) for word in words})
            lower.update({normal(word) for word in words if word.islower()})
        return cls(everywhere, lower)

    def is_common(self, word: str) -> bool:
        """A word that at least three texts hold in lower case, and a third of those that hold it at all."""
        plain = normal(word)
        return self.lower[plain] >= 3 and 3 * self.lower[plain] >= self.texts[plain]

    def may_be_missed(self, word: str) -> bool:
        """A capitalised word of the lists of names that few texts hold."""
        if not word[:1].isupper():
            return False
        plain = normal(word)
        return self.texts[plain] < 10 and not self.is_common(word) and any(plain in names for names in lists()[:COUNTRY])


@dataclass(frozen=True)
class Judged:
    """A span, and whether it is believed (None: neither learnt nor counted); `certain` if the user labelled the text."""

    start: int
    end: int
    entity: str
    believed: bool | None
    certain: bool = False


def judge(text: str, spans: Sequence[Span], usage: Usage) -> list[Judged]:
    """Tell the teacher's good spans from its bad ones, by lists of names and the words' use.

    It calls "Java" a person where the data also says "java", or where hundreds of texts speak of it.
    """
    names = lists()
    judged = []
    for span in spans:
        if span.entity not in CLASSES[1:]:
            continue
        if span.score >= CERTAIN:
            judged.append(Judged(span.start, span.end, span.entity, True, True))
            continue
        for start, end in _lines(text, span.start, span.end):
            words = [word.strip() for word in split(text[start:end]) if word.strip()[:1].isalnum()]
            judged.append(Judged(start, end, span.entity, _believed(words, span.entity, names, usage)))
    return judged


def _lines(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A span, a piece a line; the teacher runs over line breaks."""
    pieces = []
    for line in text[start:end].split("\n"):
        left = start + len(line) - len(line.lstrip())
        right = start + len(line.rstrip())
        if right > left:
            pieces.append((left, right))
        start += len(line) + 1
    return pieces


def _believed(words: Sequence[str], entity: str, names: Sequence[frozenset[str]], usage: Usage) -> bool | None:
    if entity in ("PHONE_NUMBER", "CREDIT_CARD"):
        return None  # the recognizers' own; planted ones teach better
    listed = names[GIVEN] | names[FAMILY] if entity == "PERSON" else names[PLACE] | names[COUNTRY]
    letters = [word for word in words if not word[0].isdecimal()]
    if not letters or any(word.islower() and len(word) > 3 for word in letters) or len(letters) < len(words):
        return False
    known = [normal(word) in listed and not usage.is_common(word) for word in letters]
    often = max(usage.texts[normal(word)] for word in letters)
    if entity == "PERSON" and len(letters) > 1:
        if any(known) and not usage.is_common(letters[-1]):
            return True
        return False if all(usage.is_common(word) for word in letters) else None
    if all(known) and len(letters[0]) > 2:
        return True
    return False if often >= 10 or all(usage.is_common(word) for word in letters) else None


def relabel(text: str, judged: Sequence[Judged], writer: Writer) -> tuple[str, list[tuple[int, int, int]]]:
    """The text with each believed value replaced by a drawn one, and (start, end, class or IGNORED)."""
    parts: list[str] = []
    labels = []
    at = done = 0
    for span in sorted(judged, key=lambda span: (span.start, -span.end)):
        if span.start < done or span.believed is False:
            continue
        value = text[span.start : span.end]
        if span.believed:
            value = _stand_in(value, span.entity, writer)
        parts += [text[done : span.start], value]
        at += span.start - done
        labels.append((at, at + len(value), CLASSES.index(span.entity) if span.believed else IGNORED))
        at += len(value)
        done = span.end
    return "".join([*parts, text[done:]]), labels


Names = Mapping[str, Sequence[tuple[str, ...]]]


def known_names(texts: Sequence[tuple[str, Sequence[Judged]]]) -> dict[str, list[tuple[str, ...]]]:
    """Full names that are believed somewhere, as words by the first of them, the longest first."""
    found = {
        words
        for text, judged in texts
        for span in judged
        if span.believed and span.entity == "PERSON" and not span.certain
        if len(words := tuple(word.strip() for word in split(text[span.start : span.end]))) > 1
    }
    by_first: dict[str, list[tuple[str, ...]]] = {}
    for words in sorted(found, key=lambda words: (-len(words), words)):
        by_first.setdefault(words[0], []).append(words)
    return by_first


def spread(text: str, judged: Sequence[Judged], known: Names) -> list[Judged]:
    """With the known names that the teacher passed over in this text."""
    tokens = split(text)
    words = [token.strip() for token in tokens]
    ends = np.cumsum([len(token) for token in tokens]).tolist()
    added: list[Judged] = []
    for place, word in enumerate(words):
        for name in known.get(word, ()):
            last = place + len(name) - 1
            if tuple(words[place : last + 1]) != name:
                continue
            start, end = ends[place] - len(tokens[place].lstrip()), ends[last]
            added.append(Judged(start, end, "PERSON", True))
            break
    kept = [span for span in judged if not any(span.start < other.end and other.start < span.end for other in added)]
    return sorted([*kept, *added], key=lambda span: (span.start, -span.end))


NAMING = re.compile(r"(?i)\b(?:by|thanks|author|copyright|maintain\w*|from|written|named|after)\b|@|\xa9")


def quiet_lines(texts: Sequence[str], usage: Usage) -> list[str]:
    """Lines in which nothing speaks of a person: no word of the lists of names, and no word that goes with names."""
    public = lists()
    names = public[GIVEN] | public[FAMILY] | public[PLACE] | public[COUNTRY]
    lines = dict.fromkeys(line.strip() for text in texts for line in text.split("\n"))
    return [
        line
        for line in lines
        if " " in line
        and not line.islower()
        and not NAMING.search(line)
        and not any(
            word[:1].isupper() and normal(word) in names and not usage.is_common(word) for word in map(str.strip, split(line))
        )
    ]


def titled(text: str, random: Random) -> str:
    """With more capitals than its author gave it: a capital alone makes no name."""
    share = random.choice((0.2, 0.5, 1.0))
    words = split(text)
    for place, word in enumerate(words):
        bare = word.lstrip()
        if bare[:1].islower() and random.random() < share:
            words[place] = word[: -len(bare)] + bare[0].upper() + bare[1:]
    return "".join(words)


def _stand_in(value: str, entity: str, writer: Writer) -> str:
    draw = writer.values
    if entity == "LOCATION":
        digits = any(map(str.isdecimal, value))
        return (
            draw.address()
            if "\n" in value
            else draw.line()
            if digits and " " in value
            else draw.postcode()
            if digits
            else draw.place()
        )
    if entity == "PERSON":
        return draw.person() if " " in value else draw.someone()
    return draw.phone() if entity == "PHONE_NUMBER" else draw.card()


def words_and_labels(
    text: str, spans: Sequence[tuple[int, int, int]], usage: Usage | None = None
) -> tuple[list[str], NDArray[np.int64]]:
    """The words of a text and the class of each: that of the span it stands in.

    With `usage` the text is real: a rare word of the lists of names that the teacher passed over is not learnt as "nothing".
    """
    tokens = split(text)
    ends = np.cumsum([len(token) for token in tokens]) if tokens else np.zeros(0, np.int64)
    starts = ends - [len(token.lstrip() or token) for token in tokens] if tokens else ends
    labels = np.zeros(len(tokens), np.int64)
    for start, end, label in spans:
        labels[(starts < end) & (ends > start)] = label
    if usage:
        for place in np.flatnonzero(labels == 0).tolist():
            if usage.may_be_missed(tokens[place].strip()):
                labels[place] = IGNORED
    return tokens, labels
