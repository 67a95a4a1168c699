"""ROUGE-1, -2, -L and -Lsum (Lin 2004), value for value rouge_score's, some times faster.

A text is read once for all the texts that it is compared with; words are numbers; the longest common subsequence is
rapidfuzz's, a machine word of the table at a time (Hyyrö 2004), where rouge_score fills the table cell by cell in Python.
-Lsum, of texts of several lines, needs to know which words were found: its rows of bits are kept, and read backwards.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain, count, pairwise

from rapidfuzz.distance import LCSseq

ROUGES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
APART = bytes(byte if chr(byte).isalnum() and byte < 128 else ord(" ") for byte in range(256))
"""Lin's words are of a-z and 0-9: everything else parts them, other letters too (a text without any of these scores 0)."""
KEPT = 2**16
"""Texts whose words are remembered."""


class Grams:
    """The n-grams of a text, as numbers: in order, and each once."""

    __slots__ = ("every", "kinds")

    def __init__(self, every: list[int]) -> None:
        self.every, self.kinds = every, frozenset(every)

    def shared(self, other: "Grams") -> int:
        """How many the two have in common, each as often as in the one that has it less often."""
        both = self.kinds & other.kinds
        if len(self.every) == len(self.kinds) or len(other.every) == len(other.kinds):
            return len(both)  # one of the two has each but once
        ours, theirs = Counter(self.every), Counter(other.every)
        return sum([min(ours[gram], theirs[gram]) for gram in both])


class Rouge:
    """Scores pairs of texts by the measures named."""

    def __init__(self, names: Sequence[str] = ROUGES, stem: Callable[[str], str] | None = None) -> None:
        """`names` out of ROUGES; `stem` is applied to words of more than three letters, once each."""
        self._names = tuple(names)
        self._stem = lru_cache(KEPT)(stem) if stem else None
        self._number: defaultdict[bytes, int] = defaultdict(count().__next__)
        self._read = lru_cache(KEPT)(self._reading)

    def score(self, reference: str, prediction: str) -> dict[str, float]:
        """The F1 (0 to 1) of each measure."""
        (words, pairs, lines), (our_words, our_pairs, our_lines) = self._read(reference), self._read(prediction)
        found = {}
        for name in self._names:
            if name == "rouge2":
                found[name] = _f1(our_pairs.shared(pairs), len(our_pairs.every), len(pairs.every))
                continue
            ours, theirs = our_words.every, words.every
            if name == "rouge1":
                shared = our_words.shared(words)
            elif name == "rougeL" or len(lines) == len(our_lines) == 1:
                shared = LCSseq.similarity(theirs, ours)
            else:
                shared = _by_lines(lines, our_lines)
            found[name] = _f1(shared, len(ours), len(theirs))
        return found

    def _reading(self, text: str) -> tuple[Grams, Grams, list[list[int]]]:
        """Its words, their pairs (none where rouge2 is not asked for), and the words line by line."""
        lines = [words for line in text.split("\n") if (words := self._words(line))]
        words = [*chain.from_iterable(lines)]
        pairs = [first << 32 | second for first, second in pairwise(words)] if "rouge2" in self._names else []
        return Grams(words), Grams(pairs), lines

    def _words(self, line: str) -> list[int]:
        tokens = line.lower().encode("ascii", "replace").translate(APART).split()
        if self._stem:
            stemmed = [self._stem(token.decode()) if len(token) > 3 else token.decode() for token in tokens]
            tokens = [token.encode() for token in stemmed if token]
        return [*map(self._number.__getitem__, tokens)]


def _by_lines(reference: list[list[int]], prediction: list[list[int]]) -> int:
    """How many words the lines of the reference share with all of the prediction's (their union), each word of a side once."""
    ours, theirs = (Counter(chain.from_iterable(lines)) for lines in (prediction, reference))
    hits = 0
    for line in reference:
        union = {place for other in prediction for place in _places(line, other)}
        for word in (line[place] for place in sorted(union)):
            if ours[word] > 0 and theirs[word] > 0:
                hits += 1
                ours[word] -= 1
                theirs[word] -= 1
    return hits


def _places(line: list[int], other: list[int]) -> list[int]:
    """Where in `line` stand the words of a longest common subsequence with `other`: the one that rouge_score takes."""
    masks: defaultdict[int, int] = defaultdict(int)
    for place, word in enumerate(other):
        masks[word] |= 1 << place
    every = (1 << len(other)) - 1
    rows = [every]  # a 0 in place j: one word more is shared with other[: j + 1] than with other[:j]
    for word in line:
        last, mask = rows[-1], masks[word]
        rows.append(((last + (last & mask)) | (last & ~mask)) & every)
    found, i, j = [], len(line), len(other)
    while i and j:
        if line[i - 1] == other[j - 1]:
            i, j = i - 1, j - 1
            found.append(i)
        elif _length(rows[i], j - 1) > _length(rows[i - 1], j):
            j -= 1
        else:
            i -= 1
    return found


def _length(row: int, j: int) -> int:
    return j - (row & ((1 << j) - 1)).bit_count()


def _f1(shared: int, ours: int, theirs: int) -> float:
    """In rouge_score's order of operations, so that not even the last bit differs."""
    if not shared:
        return 0.0
    precision, recall = shared / ours, shared / theirs
    return 2 * precision * recall / (precision + recall)
