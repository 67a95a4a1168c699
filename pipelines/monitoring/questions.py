"""The yes-or-no questions that are put to every text, chosen on training texts that are not compared with later.

Were they chosen on the very texts that the traffic is compared with, a word picked for being frequent there would be rarer
anywhere else, and unchanged traffic would seem to have lost it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.monitoring.facts import Facts

QUANTILES = (0.1, 0.5, 0.9)
FEWEST = 3  # training texts with a mark, below which it counts as `another`
VALUES = 60  # marks of one family that are asked for by name
COVERED = 0.5  # a family whose named values cover less is one of names, not of kinds (`Package: ...`)
WORDS = 800
COMMON, RARE = 0.6, 0.004  # shares of the texts between which a word is asked for
ANOTHER = "another"
NEW_WORDS = "words that training hardly knows, %"


@dataclass(frozen=True)
class Questions:
    """`cuts`: is the number above; `marks`: does it stand there, `families`: does another of the family; `words`: the same.

    `known` are words that two or more of the texts share on which the questions were chosen.
    """

    cuts: tuple[tuple[str, float], ...]
    marks: tuple[str, ...]
    families: tuple[str, ...]
    words: tuple[str, ...]
    known: frozenset[str]

    @property
    def names(self) -> list[str]:
        """Each question in words, the order that of `answers`."""
        return [
            *(f"{name}: more than {cut:.4g}" for name, cut in self.cuts),
            *self.marks,
            *(f"{family}: {ANOTHER}" for family in self.families),
            *(f"word: {word}" for word in self.words),
        ]

    @property
    def shares(self) -> NDArray[np.float64]:
        """How the evidence that a false alarm takes is shared out: two thirds to all but the words, a third to the words."""
        shape, words = len(self.cuts) + len(self.marks) + len(self.families), len(self.words)
        shares = np.repeat([1.0 if not words else 2 / 3, 1 / 3], [shape, words])
        shares[:shape] /= max(1, shape)
        shares[shape:] /= max(1, words)
        return shares

    def answers(self, read: Sequence[Facts]) -> NDArray[np.bool_]:
        """A row a text, a column a question."""
        numbers = [self._numbers(each) for each in read]
        at = {name: column for column, name in enumerate(self.names)}
        found = np.zeros((len(read), len(at)), dtype=np.bool_)
        for column, (name, cut) in enumerate(self.cuts):
            found[:, column] = [each.get(name, 0.0) > cut for each in numbers]
        named = set(self.marks)
        for row, each in zip(found, read, strict=True):
            for mark in each.marks:
                column_of = at.get(mark if mark in named else f"{family(mark)}: {ANOTHER}")
                if column_of is not None:
                    row[column_of] = True
            row[[at[f"word: {word}"] for word in each.words if f"word: {word}" in at]] = True
        return found

    def _numbers(self, read: Facts) -> dict[str, float]:
        return read.numbers | {NEW_WORDS: 100 * len(read.words - self.known) / max(1, len(read.words))}

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"known": sorted(self.known)}


def questions(content: dict[str, Any]) -> Questions:
    """From JSON."""
    cuts = tuple((str(name), float(cut)) for name, cut in content["cuts"])
    marks, families, words = (tuple(map(str, content[name])) for name in ("marks", "families", "words"))
    return Questions(cuts, marks, families, words, frozenset(map(str, content["known"])))


def chosen(read: Sequence[Facts]) -> Questions:
    """The questions that these training texts suggest. The known words come from the first half and are tried on the second."""
    half = len(read) // 2
    told = Counter(word for each in read[:half] for word in each.words)
    known = frozenset(word for word, n in told.items() if n > 1)  # what one text alone holds may be somebody's name
    marks, families = _marks(read)
    counted = Counter(word for each in read for word in each.words)
    words = sorted((-n, word) for word, n in counted.items() if max(RARE * len(read), FEWEST) <= n <= COMMON * len(read))
    bare = Questions((), marks, families, tuple(word for _, word in words[:WORDS]), known)
    numbers = [bare._numbers(each) for each in read[half:]]
    cuts = sorted({(name, float(np.quantile([each[name] for each in numbers], q))) for name in numbers[0] for q in QUANTILES})
    return Questions(tuple(cuts), marks, families, bare.words, known)


def family(mark: str) -> str:
    """Of "language: de", the language."""
    return mark.partition(": ")[0]


def _marks(read: Sequence[Facts]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    counted = Counter(mark for each in read for mark in each.marks)
    families: defaultdict[str, list[str]] = defaultdict(list)
    for mark, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        families[family(mark)].append(mark)
    named: list[str] = []
    kinds: list[str] = []
    for name, marks in sorted(families.items()):
        listed = [mark for mark in marks[:VALUES] if counted[mark] >= FEWEST]
        if sum(counted[mark] for mark in listed) >= COVERED * sum(counted[mark] for mark in marks):
            named += listed
            kinds.append(name)
    for always in ("cut", "empty", "placeholders", "language"):  # what no training text has is news when it comes
        if always not in kinds:
            kinds.append(always)
    return tuple(named), tuple(sorted(kinds))
