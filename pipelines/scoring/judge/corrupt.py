"""Corruptions of true pairs: outputs that their source does not support, made by rule, so that the truth is known.

Eight kinds, after what summaries and translations get wrong (Kryscinski et al. 2020, FactCC: entity and number swaps, negation;
Guerreiro et al. 2023: detached translations; here also targets of near sources, inserted clauses and facts gone stale). A
corruption keeps the rest of the target as people wrote it, so that only the change tells. Everything is drawn by a seed and the
pair's own text: a pair's corruption is the same whatever else is corrupted, and in whatever order.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipelines.scoring.judge import wording
from pipelines.spec.judge import KINDS
from pipelines.spec.judge import Corruption as Kind

__all__ = ["KINDS", "Corrupted", "Kind", "Pairs", "corrupt"]

NAME = re.compile(r"<[A-Z_]+_\d+>|[^\W\d_][\w+./-]*[\w+]|[A-Z]\b")
NUMBER = re.compile(r"(?<![\w<])\d+(?:[.,]\d+)*(?![\w>])")
WORD = re.compile(r"<[A-Z_]+_\d+>|\w+")
CLAUSE = re.compile(r"[,;:]\s|\s[-\u2013(]+\s?|\)\s|(?<=[.!?])\s")
MOST_CLAUSE_WORDS = 8
TRIES = 20  # draws of a stand-in before a pair is left as it is
COMMON = 50  # sources that share a word, from which it tells none from another
SAME = 0.5  # share of words from which two targets may say the same


@dataclass(frozen=True)
class Corrupted:
    """`output` is no longer what pair `row` (an index) says; `start` and `end` are where in it the change lies (characters)."""

    row: int
    kind: Kind
    output: str
    start: int
    end: int


class Pairs:
    """True pairs and what is drawn from them: names, clauses and targets of others, near sources."""

    def __init__(
        self, sources: Sequence[str], targets: Sequence[str], language: str = "en", *, translated: bool = False
    ) -> None:
        """`language` is that of the targets. `translated`: names are what source and target share, since in a German text
        every noun has a capital."""
        self.sources, self.targets = list(sources), list(targets)
        self.words = wording.of(language)
        self.translated = translated

    @cached_property
    def names(self) -> list[str]:
        """Every name of a target once, most frequent first."""
        found = Counter(
            match.group()
            for source, target in zip(self.sources, self.targets, strict=True)
            for match in self.named(source, target)
        )
        return [name for name, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))]

    @cached_property
    def holders(self) -> Mapping[str, list[int]]:
        """The sources that hold a word, for words that not too many hold."""
        found: dict[str, list[int]] = {}
        for row, source in enumerate(self.sources):
            for word in dict.fromkeys(WORD.findall(source.lower())):
                found.setdefault(word, []).append(row)
        return {word: rows for word, rows in found.items() if 1 < len(rows) <= COMMON}

    def named(self, source: str, target: str) -> list[re.Match[str]]:
        """The names in `target`: words with a capital that does not merely begin a sentence, identifiers, placeholders."""
        found = []
        for match in NAME.finditer(target):
            word = match.group()
            inner = any(letter.isupper() or letter.isdigit() or letter in "_+" for letter in word[1:])
            before = target[: match.start()].rstrip().rstrip("\"'(\u201e\u00bb-").rstrip()
            begins = not before or before[-1] in ".!?:"
            if word[0] == "<" or inner or (word[0].isupper() and (not begins or word in source)):
                found.append(match)
        return [match for match in found if match.group() in source] if self.translated else found

    def nearest(self, row: int) -> list[int]:
        """Rows whose sources share the most rare words with that of `row`, nearest first."""
        shared: Counter[int] = Counter()
        for word in dict.fromkeys(WORD.findall(self.sources[row].lower())):
            rows = self.holders.get(word, ())
            for other in rows:
                if other != row:
                    shared[other] += 1000 // len(rows)
        return [other for other, _ in sorted(shared.items(), key=lambda item: (-item[1], item[0]))[:TRIES]]


def corrupt(pairs: Pairs, rows: Sequence[int], kind: Kind, seed: int) -> list[Corrupted]:
    """A corruption of `kind` of each pair in `rows` that can be so corrupted (a target without a number has none to swap).

    Each output differs from its target, and is not empty.
    """
    make, found = MAKERS[kind], []
    for row in rows:
        draw = random.Random(f"{seed} {kind} {pairs.sources[row]}\0{pairs.targets[row]}")  # noqa: S311  no secret
        made = make(pairs, row, draw)
        if made and made[0].strip() and made[0] != pairs.targets[row]:
            found.append(Corrupted(row, kind, *made))
    return found


Made = tuple[str, int, int] | None


def _entity(pairs: Pairs, row: int, draw: random.Random) -> Made:
    """Another name in the place of one."""
    source, target = pairs.sources[row], pairs.targets[row]
    matches = pairs.named(source, target)
    if not matches:
        return None
    match = draw.choice(matches)
    old = match.group()
    if old.startswith("<"):
        kind, _, number = old[1:-1].rpartition("_")
        return _put(target, match.span(), f"<{kind}_{int(number) + draw.randint(1, 3)}>")
    for _ in range(TRIES):
        new = draw.choice(pairs.names)
        if new[0] != "<" and new.lower() not in source.lower() and new.lower() not in target.lower():
            return _put(target, match.span(), new)
    return None


def _number(pairs: Pairs, row: int, draw: random.Random) -> Made:
    """Another number in the place of one, as long, in digits or in words."""
    source, target = pairs.sources[row], pairs.targets[row]
    spans = [match.span() for match in NUMBER.finditer(target)]
    said = [match.span() for match in pairs.words.numbers.finditer(target)] if pairs.words.number_words else []
    if not spans and not said:
        return None
    start, end = draw.choice(spans + said)
    old = target[start:end]
    for _ in range(TRIES):
        new = _other_digits(old, draw) if old[0].isdigit() else _cased(draw.choice(pairs.words.number_words), old)
        if new != old and not re.search(rf"(?<!\w){re.escape(new)}(?!\w)", source):
            return _put(target, (start, end), new)
    return None


def _other_digits(old: str, draw: random.Random) -> str:
    """`old` with one of its digits changed; no leading zero comes about."""
    at = draw.choice([place for place, letter in enumerate(old) if letter.isdigit()])
    return old[:at] + draw.choice("123456789" if at == 0 else "0123456789") + old[at + 1 :]


def _negation(pairs: Pairs, row: int, draw: random.Random) -> Made:
    """The contrary: a negation put in, or taken out, or a word turned into its opposite."""
    target = pairs.targets[row]
    found = [(match.span(), new) for pattern, new in pairs.words.opposites for match in pattern.finditer(target)]
    if not found:
        return None
    span, new = draw.choice(found)
    return _put(target, span, _cased(new, target[span[0] : span[1]]))


def _unrelated(pairs: Pairs, row: int, draw: random.Random) -> Made:
    """The target of another source."""
    for _ in range(TRIES):
        other = pairs.targets[draw.randrange(len(pairs.targets))]
        if not _alike(other, pairs.targets[row]):
            return other, 0, len(other)
    return None


def _neighbour(pairs: Pairs, row: int, draw: random.Random) -> Made:  # noqa: ARG001  the nearest is no draw
    """The target of a near source, one that says something else."""
    for other in pairs.nearest(row):
        if not _alike(pairs.targets[other], pairs.targets[row]):
            return pairs.targets[other], 0, len(pairs.targets[other])
    return None


def _inserted(pairs: Pairs, row: int, draw: random.Random) -> Made:
    """A clause of another target, put in after one of its own."""
    target = pairs.targets[row]
    ends = [match.start() for match in CLAUSE.finditer(target) if target[: match.start()].strip()]
    at = len(target[: draw.choice([*ends, len(target)])].rstrip(" .!?"))
    for _ in range(TRIES):
        clause = _clause(pairs.targets[draw.randrange(len(pairs.targets))], draw)
        if clause and not _alike(clause, pairs.sources[row]):
            put = f" {draw.choice(pairs.words.links)} {clause}"
            return target[:at] + put + target[at:], at, at + len(put)
    return None


def _stale(pairs: Pairs, row: int, draw: random.Random) -> Made:
    """What was true once: an earlier year or version, another month, or a state that is over."""
    target, words = pairs.targets[row], pairs.words
    found = [(match.span(), _earlier(match.group(), draw)) for match in NUMBER.finditer(target) if match.group().strip("0.,")]
    found += [(match.span(), draw.choice(words.months)) for match in words.month.finditer(target)]
    found += [(match.span(), new) for pattern, new in words.over for match in pattern.finditer(target)]
    found = [(span, new) for span, new in found if new != target[span[0] : span[1]]]
    if found:
        span, new = draw.choice(found)
        return _put(target, span, _cased(new, target[span[0] : span[1]]))
    at = len(target.rstrip(" .!?"))
    put = " " + draw.choice(words.until).format(year=draw.randint(1996, 2019), version=draw.randint(1, 9))
    return target[:at] + put + target[at:], at, at + len(put)


def _earlier(old: str, draw: random.Random) -> str:
    """A number a little below `old`, written alike."""
    head, mark, tail = old.rpartition(".") if "." in old else ("", "", old)
    digits = tail.replace(",", "")
    lower = int(digits) - draw.randint(1, max(1, min(9, int(digits) // 2))) if int(digits) else 0
    return f"{head}{mark}{lower}"


def _detached(pairs: Pairs, row: int, draw: random.Random) -> Made:
    """Fluent pieces of other targets, one after another, about as long as the target and of other words than the source."""
    wanted, pieces, length = len(pairs.targets[row].split()), [], 0
    for _ in range(TRIES):
        piece = _clause(pairs.targets[draw.randrange(len(pairs.targets))], draw)
        if piece and not _alike(piece, pairs.sources[row]):
            pieces.append(piece)
            length += len(piece.split())
        if pieces and length >= wanted:
            break
    text = f" {draw.choice(pairs.words.links)} ".join(pieces)
    return (text, 0, len(text)) if text else None


def _clause(text: str, draw: random.Random) -> str:
    """A clause of `text`, at most MOST_CLAUSE_WORDS long."""
    clauses = [clause.split() for clause in CLAUSE.split(text)]
    whole = [clause for clause in clauses if clause]
    return " ".join(draw.choice(whole)[:MOST_CLAUSE_WORDS]).strip(" .!?") if whole else ""


def _alike(one: str, other: str) -> bool:
    """Most of the words of the shorter text stand in the other: they may say the same."""
    words = [set(WORD.findall(text.lower())) for text in (one, other)]
    fewest = min(len(each) for each in words)
    return not fewest or len(words[0] & words[1]) >= SAME * fewest


def _put(text: str, span: tuple[int, int], new: str) -> Made:
    start, end = span
    return text[:start] + new + text[end:], start, start + len(new)


def _cased(new: str, old: str) -> str:
    return new[0].upper() + new[1:] if old[0].isupper() and new else new


MAKERS: Mapping[Kind, Callable[[Pairs, int, random.Random], Made]] = {
    "entity": _entity,
    "number": _number,
    "negation": _negation,
    "unrelated": _unrelated,
    "neighbour": _neighbour,
    "inserted": _inserted,
    "stale": _stale,
    "detached": _detached,
}
