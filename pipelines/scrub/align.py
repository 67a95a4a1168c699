"""Which words stand for each other on the two sides of a translated slice, learnt from the slice by counting."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.scrub.forms import words

LEAST = 2  # pairs in which two words must stand together
DICE = 0.2  # 2 n(a, b) / (n(a) + n(b)): from here on two words count as associated
MOST = 4  # associated words kept for a word, the surest first
TOGETHER = 40  # words of the other side counted for one pair: long texts associate everything with everything


@dataclass(frozen=True)
class Aligner:
    """For each side, a word (folded) and the words of the other side that it is translated by, the surest first."""

    table: tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]]

    def other(self, side: int, word: str) -> Sequence[str]:
        return self.table[side].get(word, ())


def learn(pairs: Iterable[tuple[str, str]], wanted: tuple[Collection[str], Collection[str]]) -> Aligner:
    """Dice's coefficient of each wanted word (folded, by side) with the words of the other side that it stands in pairs with.

    Dice (1945); as a word aligner: Melamed, Models of translational equivalence among words, 2000. The order of `pairs` changes
    nothing. Memory grows with the vocabulary of the pairs that hold a wanted word: give a sample of some ten thousands.
    """
    seen: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    together: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = ({}, {})
    for pair in pairs:
        folded = [sorted({word.folds[0] for word in words(text)}) for text in pair]
        for side, its in enumerate(folded):
            seen[side].update(its)
            if len(folded[1 - side]) <= TOGETHER:
                for word in its:
                    if word in wanted[side]:
                        together[side].setdefault(word, Counter()).update(folded[1 - side])
    return Aligner((_table(seen, together[0], 0), _table(seen, together[1], 1)))


def _table(
    seen: tuple[Counter[str], Counter[str]], together: Mapping[str, Counter[str]], side: int
) -> dict[str, tuple[str, ...]]:
    table = {}
    for word, counts in sorted(together.items()):
        scored = [
            (-2 * count / (seen[side][word] + seen[1 - side][other]), other)
            for other, count in counts.items()
            if count >= LEAST
        ]
        best = tuple(other for score, other in sorted(scored)[:MOST] if -score >= DICE)
        if best:
            table[word] = best
    return table
