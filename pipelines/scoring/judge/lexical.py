"""A first hallucination judge: does the source hold the words, numbers and names that the output uses?

Lexical and pure standard library, so that it judges thousands of pairs a second beside a gateway. It measures support of
words, not truth: a free paraphrase looks unsupported, a false sentence made of the source's words looks supported. Its rates on
references and on shuffled references (see `scores.json`, `judge`) say how far to trust it; only a paired difference of flags
between two versions may gate.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

from pipelines.scoring.judge.verdict import SentenceVerdict, Span, Verdict, sentence_bounds

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
FEWEST_STEM_LETTERS = 3  # of an identifier's part too
FEWEST_INNER_LETTERS = 4
MARKS = frozenset("-_.+")
KEPT = 2**15  # words that are remembered: most come again


class Lexical:
    """The word-counting judge, with the share of unsupported content words (0 to 1) from which it flags."""

    name = "lexical"

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def judge(
        self,
        sources: Sequence[str],
        outputs: Sequence[str],
        logprobs: Sequence[float | None] | None = None,  # noqa: ARG002 - words alone are read
    ) -> list[Verdict]:
        return flags(sources, outputs, self.threshold)


def flags(sources: Sequence[str], outputs: Sequence[str], threshold: float) -> list[Verdict]:
    """Judge each output by its source.

    Flagged is an output without a content word; one with a number or a placeholder that its source lacks; and one of whose
    content words at least the share `threshold` (0 to 1) has no support. A content word has support when the source has a word
    of the same stem, when its stem (four letters or more) lies inside a word of the source, or when a part of an identifier
    in the source (`libfoo-dev`) begins it.

    A verdict's `support` is the share (0 to 1) of content words that have it, 0 for an output that says nothing, and
    `probability` is 1 - support; `unsupported` names the words (as written), numbers and placeholders that have none.
    """
    return [_judge(source, output, threshold) for source, output in zip(sources, outputs, strict=True)]


@lru_cache(KEPT)
def stem(word: str) -> str:
    """Cut one light suffix off a lower-case word, so that plural, -ing and -ed forms meet; at least three letters stay."""
    if not word.endswith(SUFFIXES):
        return word
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= FEWEST_STEM_LETTERS:
            cut = word[: -len(suffix)]
            return cut[:-1] if len(cut) > FEWEST_STEM_LETTERS and cut[-1] == cut[-2] else cut
    return word


class _Source:
    """What one source supports. Only the stretches between blanks that can hold what is asked for are read."""

    def __init__(self, text: str) -> None:
        marked = "<" in text
        bare = PLACEHOLDER.sub(" ", text) if marked else text
        self.marks = frozenset(PLACEHOLDER.findall(text)) if marked else frozenset[str]()
        self.text = bare.lower()
        self._bare = bare

    @cached_property
    def stretches(self) -> list[tuple[str, str]]:
        """Each as (lower-case, as it stands); no word runs over a blank."""
        return [(stretch.lower(), stretch) for stretch in set(self._bare.split())]

    def holds(self, part: str) -> bool:
        if part.startswith("<"):
            return part in self.marks
        if part.isdigit():
            return any(part in parts for parts, _, _ in self._near(part))
        root = stem(part)
        if len(root) >= FEWEST_INNER_LETTERS and root in self.text:
            return True
        # A word of the same stem, and an abbreviation of it, both hold its first letters.
        return any(root in stems or part.startswith(short) for _, stems, short in self._near(part[:FEWEST_STEM_LETTERS]))

    def _near(self, letters: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
        """What stands in the stretches with these letters (beyond ASCII, a part's lower case may be another than there)."""
        return (_read(whole) for lower, whole in self.stretches if letters in lower or not whole.isascii())


def _judge(source: str, output: str, threshold: float) -> Verdict:
    content = list(_content(output))
    if not content:
        return Verdict(True, 1.0, 0.0)
    known = _Source(source)
    missing = [(word, part) for word, part in content if not known.holds(part)]
    share = len(missing) / len(content)
    flagged = bool(missing) and (share >= threshold or any(_exact(part) for _, part in missing))
    return Verdict(flagged, share, 1.0 - share, _spans(missing), _sentences(output, content, missing, share))


def _spans(missing: Sequence[tuple[re.Match[str], str]]) -> tuple[Span, ...]:
    """A span a word, of the kind of its first exact part if it has one."""
    kinds: dict[tuple[int, int, str], str] = {}
    for word, part in missing:
        at = (*word.span(), word[0])
        if kinds.get(at, "word") == "word":
            kinds[at] = "placeholder" if part.startswith("<") else "number" if part.isdigit() else "word"
    return tuple(Span(*at, kind) for at, kind in kinds.items())


def _sentences(
    output: str, content: Sequence[tuple[re.Match[str], str]], missing: Sequence[tuple[re.Match[str], str]], share: float
) -> tuple[SentenceVerdict, ...]:
    """The share of unsupported words sentence by sentence."""
    bounds = sentence_bounds(output)
    if len(bounds) == 1:
        return (SentenceVerdict(*bounds[0], share),)
    found = []
    for start, end in bounds:
        said, lacking = (sum(start <= word.start() < end for word, _ in each) for each in (content, missing))
        found.append(SentenceVerdict(start, end, lacking / said if said else 0.0))
    return tuple(found)


def _content(output: str) -> Iterator[tuple[re.Match[str], str]]:
    """The words that carry content, part by part, each as (where it stands, lower-case part or placeholder)."""
    for word in WORD.finditer(output):
        if PLACEHOLDER.fullmatch(word[0]):
            yield word, word[0]
            continue
        for part in _parts(word[0]):
            if part not in STOP_WORDS and (len(part) > 1 or part.isdigit()):
                yield word, part


@lru_cache(KEPT)
def _read(stretch: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The parts of its words, their stems, and the parts of identifiers that may begin a word."""
    words = WORD.findall(stretch)
    parts = tuple([part for word in words for part in _parts(word)])
    short = [name for word in words if _compound(word) for name in IDENTIFIER.findall(word.lower())]
    return parts, tuple([stem(part) for part in parts]), tuple(short)


@lru_cache(KEPT)
def _parts(word: str) -> tuple[str, ...]:
    if word.isalpha() and word[1:].islower():
        return (word.lower(),)
    return tuple([part.lower() for piece in CAMEL.split(word) for part in PART.findall(piece)])


def _exact(part: str) -> bool:
    """Numbers and placeholders have support only as they are."""
    return part.isdigit() or part.startswith("<")


def _compound(word: str) -> bool:
    return word.startswith("lib") or not MARKS.isdisjoint(word)
