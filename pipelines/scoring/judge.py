"""A first hallucination judge: does the source hold the words, numbers and names that the output uses?

Lexical and pure standard library, so that it judges thousands of pairs a second beside a gateway. It measures support of
words, not truth: a free paraphrase looks unsupported, a false sentence made of the source's words looks supported. Its rates on
references and on shuffled references (see `scores.json`, `judge`) say how far to trust it; only a paired difference of flags
between two versions may gate.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_STOP = (
    "a about above across after again against all along also although am among an and another any are around as at "
    "away be became because been before behind being below beside between beyond both but by can cannot could did "
    "do does doing done down during each either else even ever every few first following for from further get had "
    "has have having he her here hers him his how however i if in inside into is it its itself just last least less "
    "like made make makes many may me might more most much must my near need neither never new next no non nor not "
    "of off often on once one only onto or other others our out outside over own per rather same several shall she "
    "should since so some still such than that the their them then there these they this those through thus to "
    "together too toward two under until up upon us use used useful user users uses using various very via was we "
    "well were what when where whether which while who whom whose why will with within without would yet you your"
)
_SUFFIXES = "ations ation ically ments ment ings ing ions ion ers ies ed er es ly al s y e"
STOP_WORDS = frozenset(_STOP.split())
SUFFIXES = tuple(_SUFFIXES.split())  # the longest that fits is cut
WORD = re.compile(r"<[A-Z_]+_\d+>|[^\W_]+(?:['\u2019.+_-][^\W_]+)*[+]{0,2}")
PLACEHOLDER = re.compile(r"<[A-Z_]+_\d+>")
PART = re.compile(r"\d+|[^\W\d_]+")
IDENTIFIER = re.compile(r"(?:(?<![^\W\d_])lib(?=[^\W\d_]{2})|[^\W\d_]{3,})")  # libfoo-dev: lib, foo, dev
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
FEWEST_STEM_LETTERS = 3
FEWEST_ABBREVIATION_LETTERS = 3
FEWEST_INNER_LETTERS = 4


@dataclass(frozen=True)
class Verdict:
    """`support` is the share (0 to 1) of the output's content words that the source holds, 0 for an output that says nothing;
    `unsupported` names the words, numbers and placeholders that it does not hold, in order."""

    flagged: bool
    support: float
    unsupported: tuple[str, ...]


def flags(sources: Sequence[str], outputs: Sequence[str], threshold: float) -> list[Verdict]:
    """Judge each output by its source.

    Flagged is an output without a content word; one with a number or a placeholder that its source lacks; and one of whose
    content words at least the share `threshold` (0 to 1) has no support. A content word has support when the source has a word
    of the same stem, when its stem (four letters or more) lies inside a word of the source, or when a part of an identifier
    in the source (`libfoo-dev`) begins it.
    """
    return [_judge(source, output, threshold) for source, output in zip(sources, outputs, strict=True)]


def stem(word: str) -> str:
    """Cut one light suffix off a lower-case word, so that plural, -ing and -ed forms meet; at least three letters stay."""
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= FEWEST_STEM_LETTERS:
            cut = word[: -len(suffix)]
            return cut[:-1] if len(cut) > FEWEST_STEM_LETTERS and cut[-1] == cut[-2] else cut
    return word


class _Source:
    """What one source supports."""

    def __init__(self, text: str) -> None:
        bare = PLACEHOLDER.sub(" ", text)
        words = WORD.findall(bare)
        self.text = bare.lower()
        self.parts = frozenset(PLACEHOLDER.findall(text)) | {part for word in words for part in _parts(word)}
        self.stems = frozenset(stem(part) for part in self.parts)
        self.abbreviations = frozenset(part for word in words for part in IDENTIFIER.findall(word.lower()) if _compound(word))

    def holds(self, part: str) -> bool:
        if part in self.parts:
            return True
        if _exact(part):
            return False
        root = stem(part)
        if root in self.stems or (len(root) >= FEWEST_INNER_LETTERS and root in self.text):
            return True
        return any(part[:end] in self.abbreviations for end in range(FEWEST_ABBREVIATION_LETTERS, len(part) + 1))


def _judge(source: str, output: str, threshold: float) -> Verdict:
    content = list(_content(WORD.findall(output)))
    if not content:
        return Verdict(True, 0.0, ())
    known = _Source(source)
    missing = [(word, part) for word, part in content if not known.holds(part)]
    share = len(missing) / len(content)
    flagged = bool(missing) and (share >= threshold or any(_exact(part) for _, part in missing))
    return Verdict(flagged, 1.0 - share, tuple(dict.fromkeys(word for word, _ in missing)))


def _content(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The words that carry content, part by part, each as (word as written, lower-case part or placeholder)."""
    for word in words:
        if PLACEHOLDER.fullmatch(word):
            yield word, word
            continue
        for part in _parts(word):
            if part not in STOP_WORDS and (len(part) > 1 or part.isdigit()):
                yield word, part


def _parts(word: str) -> list[str]:
    return [part.lower() for piece in CAMEL.split(word) for part in PART.findall(piece)]


def _exact(part: str) -> bool:
    """Numbers and placeholders have support only as they are."""
    return part.isdigit() or part.startswith("<")


def _compound(word: str) -> bool:
    return word.startswith("lib") or any(mark in word for mark in "-_.+")
