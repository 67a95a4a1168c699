"""Words that a tagger takes for persons and that are none: learnt from how the slice as a whole writes them.

That a value stands in many records proves nothing: a person may have made hundreds of them. What tells a word from a name is
that a word is also written in lower case. So a value is allowed when each of its words is

- common: written in lower case more often than as a name (capitalised, within a sentence), as in `Generate`, `config files`,
  `JSON`; or
- a thing's name: in more values than chance gives, and now and then in lower case or in an identifier (java, linux, qt6-base).

It is not allowed when an address stands beside it anywhere (`Ann Lee <ann@example.org>`), or when one of its words is the first
or last word of a person's name: of one that stands beside an address and whose last word is not common (`Debian Java
Maintainers` is no person, and blocks nothing).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pipelines.scrub.spans import LITERAL, TAGGED, Span

MOST_WORDS = 400_000  # words counted: of a larger vocabulary those with the smallest hashes, wherever they come from
MOST_VALUES = 100_000
OFTEN = 3  # times in lower case from which a word counts as written so
RECORDS = 5  # records from which a word of values is too frequent for chance,
SHARE = 0.0002  # and their share
LOWER = 0.02  # lower-case uses that a thing's name must have for each use as a name
CLEAN = 10  # times that a word of clean text is in lower case for each time it is a name
SENTENCE = 3  # words, at least, of a clean sentence

_end = re.compile(r"(?<=[.!?:;])\s+|\n")
_word = re.compile(r"[^\W\d_]+")
# paths, names of files and packages: in lower case, and no words of a text
_other = re.compile(r"\S*(?:[@/\\_<>]|\w[.:=+&'\u2019-]\w|\d)\S*")
_name = re.compile(r"(?:(?<=\w )|(?<=\w, ))[^\W\d_]+")
_before_address = re.compile(r"\s*(?:\([^()\n]{0,40}\)\s*)?[<(\[]\s*(?:mailto:)?[^\s@<>()]+@")
_after_address = re.compile(r"\w@[\w.-]+>?\s*\(\s*$")  # and no decorator of Python
NEAR = 80  # characters before a value in which the address that ends there may begin


@dataclass
class Counts:
    """What `learn` needs to know of a slice, text by text; sums of parts in any order and grouping are the same.

    Memory is bounded: a Tally that grows past its bound keeps the keys with the smallest hashes, and their exact counts.
    """

    texts: int = 0
    lower: Counter[str] = field(default_factory=Counter)
    """Word -> uses in lower case, as a word of running text."""
    name: Counter[str] = field(default_factory=Counter)
    """Word, casefolded -> uses with a capital (Xxxx) within a sentence, not beside an address."""
    part: Counter[str] = field(default_factory=Counter)
    """Word -> uses in lower case as a part of an identifier."""
    values: Counter[str] = field(default_factory=Counter)
    """Value of a tagger's PERSON or LOCATION -> texts that hold it."""
    tied: Counter[str] = field(default_factory=Counter)
    """Value -> texts in which an address or a pattern ties it to a person."""

    def update(self, text: str, spans: Sequence[Span]) -> None:
        """Count a text and its spans, resolved: disjoint and in order."""
        self.texts += 1
        plain = text
        values: dict[str, bool] = {}
        for start, end, entity, score in reversed(spans):
            tied = bool(_before_address.match(text, end) or _after_address.search(text, max(0, start - NEAR), start))
            if entity in TAGGED and score < LITERAL:
                values[text[start:end]] = values.get(text[start:end], False) or tied
            if tied or entity not in TAGGED:
                plain = f"{plain[:start]} . {plain[end:]}"
        self.values.update(values.keys())
        self.tied.update(value for value, tied in values.items() if tied)
        self._count_words(plain)
        self._bound()

    def _count_words(self, text: str) -> None:
        identifiers: list[str] = []
        running = _other.sub(lambda match: identifiers.append(match[0]) or ".", text)  # type: ignore[func-returns-value]
        self.lower.update(word for word in _word.findall(running) if word.islower())
        self.part.update(word for word in _word.findall(" ".join(identifiers)) if word.islower() and len(word) > 1)
        self.name.update(word.casefold() for word in _name.findall(running) if word.istitle())

    def merge(self, other: "Counts") -> None:
        self.texts += other.texts
        for mine, theirs in zip(self._tallies(), other._tallies(), strict=True):
            mine.update(theirs)
        self._bound()

    def exact(self) -> "Counts":
        """The counts that are the same however the slice was divided: those of the keys that were never dropped."""
        same = Counts(self.texts, *(tally.copy() for tally in self._tallies()))
        same._bound(slack=0.0)
        return same

    def _tallies(self) -> tuple[Counter[str], ...]:
        return self.lower, self.name, self.part, self.values, self.tied

    def _bound(self, slack: float = 0.25) -> None:
        for tally, most in zip(self._tallies(), (MOST_WORDS, MOST_WORDS, MOST_WORDS, MOST_VALUES, MOST_VALUES), strict=True):
            if len(tally) > most + slack * most:
                _shrink(tally, most)


def _shrink(tally: Counter[str], most: int) -> None:
    """Keep the `most` keys of the smallest hashes: which ones depends on the keys alone, and none that stays was ever gone."""
    gone = sorted(tally, key=_hash)[most:]
    for key in gone:
        del tally[key]


def _hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def learn(counts: Counts) -> frozenset[str]:
    """The values of the slice that are nobody's name, by the rules above."""
    counts = counts.exact()
    split = {value: _words(value) for value in counts.values}
    records: Counter[str] = Counter()
    for value, words in split.items():
        records.update(dict.fromkeys(words, counts.values[value]))
    names = _names(counts)
    often = max(RECORDS, SHARE * counts.texts)

    def allowed(word: str) -> bool:
        if word in names:
            return False
        seldom = counts.lower[word] + counts.part[word] < max(OFTEN, LOWER * counts.name[word])
        return _is_common(word, counts) or (records[word] >= often and not seldom)

    return frozenset(value for value, words in split.items() if words and value not in counts.tied and all(map(allowed, words)))


def _words(value: str) -> list[str]:
    return [word.casefold() for word in _word.findall(value)]


def _is_common(word: str, counts: Counts) -> bool:
    return counts.lower[word] >= OFTEN and counts.lower[word] > counts.name[word]


def _names(counts: Counts) -> set[str]:
    """The first and last words of the names of persons."""
    persons = (words for value in counts.tied if len(words := _words(value)) > 1 and not _is_common(words[-1], counts))
    return {word for words in persons for word in (words[0], words[-1])}


def false_positives(texts: Iterable[tuple[str, Sequence[Span]]], counts: Counts, allowed: Collection[str]) -> dict[str, float]:
    """Names that a tagger sees in text known to hold none, per 1,000 words, before and after `allowed` values are taken out.

    Known clean are the sentences of common words only, whatever their case here: written in lower case elsewhere, ten times as
    often as capitalised, and no word of a person's name. This is the floor of the real rate: a text that names things (Java,
    Qt) is not among them, though it may name nobody. `share` tells how much of all words the clean ones are. The spans must be
    resolved; patterns' spans do not count, but make a sentence unclean.
    """
    names = _names(counts)
    known: dict[str, bool] = {}
    every = clean = before = after = 0
    for text, spans in texts:
        for start, end in _sentences(text):
            words = _words(text[start:end])
            every += len(words)
            for word in words:
                if word not in known:
                    lower = counts.lower[word]
                    known[word] = lower >= OFTEN and lower >= CLEAN * counts.name[word] and word not in names
            inside = [span for span in spans if span.start < end and start < span.end]
            if len(words) < SENTENCE or not all(map(known.__getitem__, words)) or any(s.entity not in TAGGED for s in inside):
                continue
            clean += len(words)
            before += len(inside)
            after += sum(text[span.start : span.end] not in allowed for span in inside)
    rates = {"before": 1_000 * before / max(clean, 1), "after": 1_000 * after / max(clean, 1)}
    return {"words": clean, "share": round(clean / max(every, 1), 4)} | {name: round(rate, 3) for name, rate in rates.items()}


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _end.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)
