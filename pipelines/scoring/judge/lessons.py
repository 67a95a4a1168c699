"""What a judge of evidence learns from: outputs whose truth is known because they were made.

Of each true pair: its target; a quote, that is sentences of its source shortened and reworded by rule, since summaries of long
sources quote more than references do; and corruptions of both. Two more faults of quotes are made of the source's own words,
so that every word is known and what is said is not: half of one sentence with half of another (crossed), and a word or name of
elsewhere in the source in the place of one (swapped).

A quote is loose by a degree of its own: words left out, in another form, or, where a synonym would stand, another word. So what
is learnt is that a strange name counts for more than a strange word, and not that every rewording is false.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.scoring.judge.corrupt import KINDS, Kind, Pairs, corrupt
from pipelines.scoring.judge.lexical import STOP_WORDS
from pipelines.scoring.judge.verdict import sentence_bounds

Part = Literal["target", "quote"]

SHARES: Mapping[str, float] = {
    "entity": 0.22, "swapped": 0.16, "crossed": 0.14, "inserted": 0.1, "number": 0.08, "negation": 0.08, "neighbour": 0.08,
    "unrelated": 0.05, "detached": 0.05, "stale": 0.04, "looped": 0.04,
}  # fmt: skip  # of faults in use: most are noun phrases, from elsewhere or misplaced (Pagnoni et al. 2021; Cao & Wang 2021)
MOST_SENTENCES = 3
FEWEST_WORDS, MOST_WORDS = 5, 40
LOOSEST = 0.4  # most words of a quote that are not as in the source; half the quotes have less than a quarter of that
SYNONYMS = 300  # frequent words that stand for synonyms
WORD = re.compile(r"[^\W\d_][\w+-]{3,}")


@dataclass(frozen=True)
class Lesson:
    """`false` is what the source does not support: (start, end) in `output`; None of a true output. `kind` is how it was made:
    true or a fault's."""

    source: str
    output: str
    part: Part
    kind: str
    false: tuple[int, int] | None = None


def lessons(
    sources: Sequence[str], targets: Sequence[str], seed: int, *, after: str = "", kinds: Sequence[Kind] = KINDS
) -> list[Lesson]:
    """Lessons of true pairs, the same for the same `seed`. Quotes are from behind `after` in a source, where it occurs."""
    found = [*_part("target", sources, targets, kinds, seed)]
    synonyms = _frequent(targets)
    told = [source.partition(after)[2] or source if after else source for source in sources]
    quotes = [_quote(each, synonyms, seed) for each in told]
    rows = [row for row, quote in enumerate(quotes) if quote]
    found += _part("quote", [sources[row] for row in rows], [quotes[row] for row in rows], kinds, seed)
    for row in rows:
        for kind, (output, *place) in _misplaced(told[row], quotes[row], synonyms, seed):
            found.append(Lesson(sources[row], output, "quote", kind, (place[0], place[1])))
    return found


def weights(kinds: Sequence[str], false: Sequence[bool]) -> list[float]:
    """What each sentence counts: true ones alike, and false ones of a kind together as SHARES says, however many there are."""
    count = Counter(kind for kind, bad in zip(kinds, false, strict=True) if bad)
    return [SHARES[kind] / count[kind] if bad else 1.0 for kind, bad in zip(kinds, false, strict=True)]


def looped(lesson: Lesson, seed: int) -> Lesson:
    """A true lesson whose end comes again and again, as a model's does that is lost (Guerreiro et al. 2023: oscillations)."""
    draw = random.Random(f"{seed} looped {lesson.source}\0{lesson.output}")  # noqa: S311  no secret
    said = lesson.output.rstrip(" .!?")
    words = said.split()
    end = " ".join(words[-draw.randint(2, 6) :])
    again = f" {end}" * draw.randint(2, 5)
    return Lesson(lesson.source, said + again, lesson.part, "looped", (len(said), len(said + again)))


def _part(part: Part, sources: Sequence[str], outputs: Sequence[str], kinds: Sequence[Kind], seed: int) -> Iterator[Lesson]:
    for source, output in zip(sources, outputs, strict=True):
        true = Lesson(source, output, part, "true")
        yield true
        if output.strip(" .!?"):
            yield looped(true, seed)
    pairs = Pairs(sources, outputs)
    for kind in kinds:
        for made in corrupt(pairs, range(len(sources)), kind, seed):
            yield Lesson(sources[made.row], made.output, part, kind, (made.start, made.end))


def _frequent(texts: Sequence[str]) -> list[str]:
    found = Counter(word for text in texts for word in WORD.findall(text) if word.islower() and word not in STOP_WORDS)
    return [word for word, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:SYNONYMS]]


def _whole(told: str) -> list[list[str]]:
    words = (told[start:end].split() for start, end in sentence_bounds(told))
    return [each for each in words if FEWEST_WORDS <= len(each) <= MOST_WORDS]


def _quote(told: str, synonyms: Sequence[str], seed: int) -> str:
    """Up to MOST_SENTENCES sentences, in order; empty if there is none."""
    draw = random.Random(f"{seed} quote {told}")  # noqa: S311  no secret
    whole = _whole(told)
    if not whole:
        return ""
    looseness = LOOSEST * draw.random() ** 2
    picked = sorted(draw.sample(range(len(whole)), min(len(whole), draw.randint(1, MOST_SENTENCES))))
    return " ".join(_loose(_shortened(whole[at], draw), looseness, synonyms, draw) for at in picked)


def _shortened(words: list[str], draw: random.Random) -> list[str]:
    """Without one of its clauses, half the time."""
    ends = [place + 1 for place, word in enumerate(words[:-1]) if word[-1] in ",;:"]
    if not ends or draw.random() < 0.5:
        return words
    start, end = sorted(draw.sample([0, *ends, len(words)], 2))
    kept = words[:start] + words[end:]
    return kept if len(kept) >= FEWEST_WORDS else words


def _loose(words: Sequence[str], looseness: float, synonyms: Sequence[str], draw: random.Random) -> str:
    """As a sentence, each word with the probability `looseness` left out, in another form, or another. Names stay."""
    kept = []
    for word in words:
        plain = word.strip(",;:.()")
        if not plain.islower() or draw.random() >= looseness:
            kept.append(word)
        elif draw.random() < 0.5 and plain not in STOP_WORDS and synonyms:
            kept.append(word.replace(plain, draw.choice([plain.rstrip("s"), plain + "s", *draw.sample(synonyms, 2)])))
    text = " ".join(kept or words).rstrip(" ,;:.")
    return f"{text[:1].upper()}{text[1:]}."


def _misplaced(told: str, quote: str, synonyms: Sequence[str], seed: int) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """(kind, (output, start, end)) of the faults that are made of the source's own words."""
    draw = random.Random(f"{seed} misplaced {told}")  # noqa: S311  no secret
    whole = _whole(told)
    if len(whole) > 1:
        one, other = draw.sample(whole, 2)
        words = [*one[: len(one) // 2], *other[len(other) // 2 :]]
        text = _loose(words, LOOSEST * draw.random() ** 2, synonyms, draw)
        yield "crossed", (text, 0, len(text))
    own = set(WORD.findall(quote.lower()))
    others = [word for word in WORD.findall(told) if word.lower() not in own | STOP_WORDS]
    places = [match for match in WORD.finditer(quote) if match[0].lower() not in STOP_WORDS]
    names = [match for match in places if match[0][0].isupper() and match.start()]
    if others and places:
        match = draw.choice(names if names and draw.random() < 0.5 else places)
        alike = [word for word in others if word[0].isupper() == match[0][0].isupper()] or others
        new = draw.choice(alike)
        yield "swapped", (quote[: match.start()] + new + quote[match.end() :], match.start(), match.start() + len(new))
