"""A text as the judge reads it: words with their stems, places and kinds; and what a source supports of them."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pipelines.scoring.judge.lexical import CAMEL, PART, PLACEHOLDER, STOP_WORDS, WORD, stem
from pipelines.scoring.judge.verdict import sentence_bounds

WINDOW = 10  # words between which two words of a source still say something of each other: about a clause and a half
PREFIX = 5  # letters in common from which two words are of one family: robbed, robbery
CHARACTERS = 4
_NEGATIONS = (
    "no not none never nor neither without cannot nothing nobody nowhere isn't aren't wasn't weren't don't doesn't didn't "
    "won't can't couldn't shouldn't wouldn't hasn't haven't hadn't kein keine keinen keinem keiner nicht nie niemals ohne weder"
)
_NUMBERS = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
NEGATIONS = frozenset(_NEGATIONS.split())
NUMBER_WORDS = {word: str(value) for value, word in enumerate(_NUMBERS.split(), start=2)}  # `one` is mostly a pronoun
stem_of = lru_cache(maxsize=65_536)(stem)


@dataclass(frozen=True, slots=True)
class Token:
    """text[start:end]; `key` is what is compared (a stem, a number, a placeholder); `kind` is stop, word, name, number or
    placeholder."""

    key: str
    start: int
    end: int
    kind: str


def tokens(text: str) -> list[Token]:
    """The words of `text`, identifiers in their parts. A name begins with a capital where no sentence begins."""
    begins = {start for start, _ in sentence_bounds(text)}
    return [token for match in WORD.finditer(text) for token in _parts(match, match.start() in begins)]


def _parts(match: re.Match[str], first: bool) -> Iterator[Token]:
    word, at = match[0], match.start()
    if PLACEHOLDER.fullmatch(word):
        yield Token(word, at, match.end(), "placeholder")
        return
    if (lower := word.lower()) in STOP_WORDS or lower in NEGATIONS:
        yield Token(lower, at, match.end(), "stop")
        return
    for piece_at, piece in _camel(word):
        for part in PART.finditer(piece):
            yield _token(part[0], at + piece_at + part.start(), first)


def _camel(word: str) -> Iterator[tuple[int, str]]:
    if word.islower() or word.isupper():
        yield 0, word
        return
    start = 0
    for cut in [*(match.start() for match in CAMEL.finditer(word)), len(word)]:
        yield start, word[start:cut]
        start = cut


def _token(part: str, start: int, first: bool) -> Token:
    end, lower = start + len(part), part.lower()
    if part.isdigit():
        return Token(part, start, end, "number")
    if lower in NUMBER_WORDS:
        return Token(NUMBER_WORDS[lower], start, end, "number")
    if lower in STOP_WORDS or len(part) == 1:
        return Token(lower, start, end, "stop")
    return Token(stem_of(lower), start, end, "name" if part[0].isupper() and not first else "word")


class Source:
    """What one source supports."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.text = text
        self.lower = text.lower()
        self.keys = [token.key for token in self.tokens]
        self.places: dict[str, list[int]] = {}
        for place, key in enumerate(self.keys):
            self.places.setdefault(key, []).append(place)
        self.bigrams = set(itertools.pairwise(self.keys))
        self.trigrams = set(zip(self.keys, self.keys[1:], self.keys[2:], strict=False))

    @cached_property
    def prefixes(self) -> frozenset[str]:
        return frozenset(key[:PREFIX] for key in self.places if len(key) >= PREFIX)

    @cached_property
    def sentences(self) -> list[frozenset[str]]:
        """The words of each sentence."""
        found: list[set[str]] = []
        bounds = iter(sentence_bounds(self.text))
        end = -1
        for token in self.tokens:
            while token.start >= end:
                end = next(bounds)[1]
                found.append(set())
            found[-1].add(token.key)
        return [frozenset(each) for each in found]

    def holds(self, token: Token) -> bool:
        """Numbers and placeholders as they are; words also by family or as part of another."""
        key = token.key
        if key in self.places:
            return True
        if token.kind in ("number", "placeholder"):
            return False
        if len(key) >= PREFIX and key[:PREFIX] in self.prefixes:
            return True
        return len(key) >= 4 and key in self.lower

    def near(self, one: str, other: str) -> bool:
        """Whether both stand within WINDOW words somewhere."""
        left, right = self.places.get(one, ()), self.places.get(other, ())
        return any(abs(a - b) <= WINDOW for a in left for b in right)
