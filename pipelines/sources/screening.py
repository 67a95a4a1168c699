"""Which corrections nothing should be learned from: lies, as far as the data's own pairs tell them from the truth. Pure.

Whoever may correct answers can teach a model what he likes, and a held-out score that stays as it was says nothing of it. Two
things give such corrections away, in those of one reviewer or in all of them together. Both are judged by what the data's own
pairs do, with room for honest people, who correct the hard cases and have habits of their own:

- *unsupported*: their sources explain them less than targets are explained. The data's own targets explained worst (a tenth
  of them) set the mark; three times as many below it are allowed. Nonsense is caught so, and the answers to other questions.
- *repeated*: the same word is in one in ten of them or more, though their sources do not explain it and targets of the data
  seldom have it. A slogan or an address that is added to right answers is caught so, whoever adds it.

One mistake in a million looks is allowed for (`ALPHA`). So fewer than seven corrections are never set aside, nor a word in a
tenth of them: that much influence a liar keeps. What a model should learn of a language or a topic that its data never had
looks the same as a lie: a person has to vouch for it (`screened: false`).

Measured on the default's data: `python -m tests.benchmarks.screening`.
"""

import hashlib
import heapq
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.registry.labels import Correction

WORD = re.compile(r"\w+")
LEARNT, COMPARED = 6_000, 2_000  # pairs whose words teach what goes together, and pairs that corrections are compared with
FEWEST = 200  # pairs, below which nothing can be told
LOW, ROOM = 0.1, 3.0  # the worst share of the data's own targets; how many times as often corrections may be as bad
HALF = 0.5  # a correction that is explained so far is never unsupported, however well all of the data is
SHARED = 0.1  # of the corrections may bring in one word
EXPLAINED = 0.3  # from which association a word of the source explains one of the target
ALPHA = 1e-6
UNSUPPORTED, REPEATED = "unsupported by their sources", "the same words brought in again and again"
Pair = tuple[str, str]
"""(source, target)."""


@dataclass(frozen=True)
class Screened:
    """For each correction why it is set aside, "" if it stays; and what could not be looked for, in words, if anything."""

    reasons: list[str]
    blind: str = ""


def screen(corrections: "Sequence[Correction]", pairs: Iterable[Pair]) -> Screened:
    """Compare the corrections with the data's own `pairs`; the order of neither matters."""
    first = heapq.nsmallest(LEARNT + COMPARED, pairs, key=lambda pair: hashlib.sha256("\0".join(pair).encode()).digest())
    chosen = list(dict.fromkeys(first))
    if len(chosen) < FEWEST:
        return Screened([""] * len(corrections), f"{len(chosen)} pairs of data to compare them with, {FEWEST} are needed")
    cut = min(COMPARED, len(chosen) // 2)
    words = _Words(chosen[cut:])
    own = [words.read(*pair) for pair in chosen[:cut]]
    said = [words.read(each.source, each.expected) for each in corrections]
    mark = min(HALF, sorted(support for support, _ in own)[int(LOW * len(own))])
    brought = Counter(word for _, new in own for word in new)
    allowed = {word: max(SHARED, ROOM * count / len(own)) for word, count in brought.items()}
    judge = _Judge([support < mark for support, _ in said], [new for _, new in said], allowed)
    by_reviewer: dict[str, list[int]] = defaultdict(list)
    for index, each in enumerate(corrections):
        by_reviewer[each.reviewer].append(index)
    reasons = [""] * len(corrections)
    for group in by_reviewer.values():
        for index, reason in judge.of(group, whole=True).items():
            reasons[index] = reason
    rest = [index for index, reason in enumerate(reasons) if not reason]
    for index, reason in judge.of(rest, whole=False).items():
        reasons[index] = reason
    return Screened(reasons, "" if mark else "in this data the words of a source do not tell whether they support a target")


class _Words:
    """What words of sources and targets go together in some pairs. A set of pairs is a whole number, a bit a pair."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._count = len(pairs)
        self._sources: dict[str, int] = defaultdict(int)
        self._targets: dict[str, int] = defaultdict(int)
        for number, pair in enumerate(pairs):
            for text, where in zip(pair, (self._sources, self._targets), strict=True):
                for word in _words(text):
                    where[word] |= 1 << number
        self._linked: dict[tuple[str, str], float] = {}

    def read(self, source: str, target: str) -> tuple[float, frozenset[str]]:
        """How far the source explains the target, 0 to 1, a rare word weighing more; and the words that it does not explain.

        A target without a word is not explained at all.
        """
        held, total, gained, new = _words(source), 0.0, 0.0, set()
        for word in sorted(_words(target)):  # a sum of floats depends on its order
            best = 1.0 if word in held else max((self._link(word, other) for other in held), default=0.0)
            weight = math.log((self._count + 1) / (self._targets.get(word, 0).bit_count() + 1)) + 1e-9
            total, gained = total + weight, gained + weight * best
            if best < EXPLAINED:
                new.add(word)
        return (round(gained / total, 6) if total else 0.0), frozenset(new)

    def _link(self, word: str, other: str) -> float:
        """Normalised pointwise mutual information (Bouma 2009) of a target's word and a source's; below 0 counts 0."""
        found = self._linked.get((word, other))
        if found is None:
            one, two = self._targets.get(word, 0), self._sources.get(other, 0)
            both = (one & two).bit_count()
            chance = one.bit_count() * two.bit_count()
            told = 0 < both < self._count
            found = math.log(both * self._count / chance) / math.log(self._count / both) if told else 0.0
            self._linked[word, other] = found = max(0.0, found)
        return found


@dataclass(frozen=True)
class _Judge:
    """Of each correction: is it explained worse than the mark, and which words does it bring in; how often a word may be."""

    bad: Sequence[bool]
    new: Sequence[frozenset[str]]
    may_bring: dict[str, float]

    def of(self, group: Sequence[int], *, whole: bool) -> dict[int, str]:
        """{correction: reason} of those set aside; all of an unsupported group if it is to go as a `whole`."""
        bad = [index for index in group if self.bad[index]]
        if _too_many(len(bad), len(group), ROOM * LOW):
            return dict.fromkeys(group if whole else bad, UNSUPPORTED)
        counts = Counter(word for index in group for word in self.new[index])
        often = {
            word
            for word, count in counts.items()
            if _too_many(count, len(group), self.may_bring.get(word, SHARED), looks=len(counts))
        }
        return {index: REPEATED for index in group if self.new[index] & often}


def _too_many(count: int, of: int, allowed: float, looks: int = 1) -> bool:
    """Whether `count` `of` so many would come by chance less than once in a million times, each being so with chance `allowed`.

    That is the upper tail of a binomial, as an incomplete beta function.
    """
    from scipy.special import betainc

    return count > allowed * of and allowed < 1 and bool(betainc(count, of - count + 1, allowed) * looks < ALPHA)


def _words(text: str) -> frozenset[str]:
    return frozenset(WORD.findall(text.lower()))
