"""sacrebleu's BLEU, chrF and TER, number for number and signature for signature, counted faster.

What the scores are made of, a row of counts a pair, is counted once for the sentences, the corpus and its bootstrap alike.
N-grams are numbered for all pairs at once: an n-gram can only be shared where both of its (n-1)-grams are, so each order looks
only at what the last one left. TER searches for shifts by sacrebleu's own code (tercom's), and only where one may help.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.lib_ter import _MAX_SHIFT_CANDIDATES, BeamEditDistance, _shift, translation_edit_rate
from sacrebleu.metrics.ter import TER

Integers = NDArray[np.int64]
Counts = list[list[int]]
KEPT = 16  # pairs of (predictions, references) whose counts are remembered: the systems of one report
CHARACTERS, WORDS = 6, 4  # the orders of chrF and of BLEU
BLANK = ord("\n")
SEEN_WHOLE = 24  # words of a reference up to which tercom's beam of 25 leaves nothing of the table out


def shared(predictions: Sequence[Integers], references: Sequence[Integers], orders: int) -> Integers:
    """How many n-grams each pair shares, (pairs, orders), each as often as in the side that has it less often.

    Both sides are sequences of units, as numbers from 0 on.
    """
    pairs = len(predictions)
    texts = [*predictions, *references]
    lengths = np.array([len(text) + 1 for text in texts], dtype=np.int64)
    owner = np.repeat(np.arange(2 * pairs, dtype=np.int64), lengths)
    apart = np.array([-1], dtype=np.int64)
    units = np.concatenate([part for text in texts for part in (text, apart)]) if texts else apart[:0]
    pair = owner % max(1, pairs)
    ours = owner < pairs
    wide = int(units.max(initial=0)) + 1
    gram = np.where(units >= 0, pair * wide + units, -1)  # of the order at hand, by where it starts; -1 where none is shared
    unit = gram
    found = np.zeros((pairs, orders), dtype=np.int64)
    for order in range(orders):
        starts = np.flatnonzero(gram >= 0)
        if not len(starts):
            break
        kinds, number = np.unique(gram[starts], return_inverse=True)
        mine = ours[starts]
        both = np.minimum(*(np.bincount(number[side], minlength=len(kinds)) for side in (mine, ~mine)))
        home = np.zeros(len(kinds), dtype=np.int64)
        home[number] = pair[starts]
        found[:, order] = np.bincount(home, weights=both, minlength=pairs).astype(np.int64)
        unit = np.full(len(gram), -1, dtype=np.int64)
        unit[starts] = np.where(both[number] > 0, number, -1)
        gram = np.full(len(unit), -1, dtype=np.int64)
        goes_on = (unit[:-1] >= 0) & (unit[1:] >= 0)
        gram[:-1][goes_on] = unit[:-1][goes_on] * len(kinds) + unit[1:][goes_on]
    return found


def of_characters(predictions: Sequence[str], references: Sequence[str]) -> Counts:
    """chrF's [the prediction's n-grams, the reference's, shared] for n = 1 to 6, blanks left out, a row a pair."""
    sides = [[_characters(text) for text in texts] for texts in (predictions, references)]
    both = shared(sides[0], sides[1], CHARACTERS)
    ours, theirs = (_totals(side, CHARACTERS) for side in sides)
    rows = np.stack([np.where(theirs > 0, ours, 0), theirs, both], axis=2)
    return rows.reshape(len(ours), 3 * CHARACTERS).tolist()


def of_words(predictions: Sequence[str], references: Sequence[str]) -> Counts:
    """BLEU's [length, the reference's, shared n-grams for n = 1 to 4, the prediction's for n = 1 to 4], a row a pair."""
    number: defaultdict[str, int] = defaultdict(count().__next__)
    sides = [
        [np.array([*map(number.__getitem__, bleu_words(text))], dtype=np.int64) for text in texts]
        for texts in (predictions, references)
    ]
    ours, theirs = (_totals(side, WORDS) for side in sides)
    return np.hstack([ours[:, :1], theirs[:, :1], shared(sides[0], sides[1], WORDS), ours]).tolist()  # type: ignore[no-any-return]


def of_edits(predictions: Sequence[str], references: Sequence[str]) -> Counts:
    """TER's [edits, the reference's length], a row a pair."""
    return [_edits(_ter_words(a), _ter_words(b)) for a, b in zip(predictions, references, strict=True)]


def _edits(words: tuple[str, ...], wanted: tuple[str, ...]) -> list[int]:
    if 0 < len(wanted) <= SEEN_WHOLE:
        distance = Levenshtein.distance(words, wanted)
        left = list(wanted)
        for word in words:
            if word in left:
                left.remove(word)
        # However the words are shifted, `least` edits remain; and a shift is an edit too.
        least = max(len(words), len(wanted)) - (len(wanted) - len(left))
        if distance <= least + 1:
            return [distance, len(wanted)]
        return [_shifted([*words], [*wanted]), len(wanted)]
    return [*translation_edit_rate([*words], [*wanted])]


def _shifted(words: list[str], wanted: list[str]) -> int:
    """The edits of `translation_edit_rate`, where tercom's beam leaves nothing out."""
    shifts = tried = 0
    while True:
        gain, better, tried = _shift(words, wanted, lambda text: _Distance(text, wanted), tried)
        if tried >= _MAX_SHIFT_CANDIDATES or gain <= 0:
            return shifts + Levenshtein.distance(words, wanted)
        shifts, words = shifts + 1, better


class _Distance:
    """tercom's (edits, trace) between two texts. Of most shifts that it tries it asks for the edits alone, which are
    Levenshtein's; who unpacks both gets tercom's."""

    __slots__ = ("_wanted", "_words")

    def __init__(self, words: list[str], wanted: list[str]) -> None:
        self._words, self._wanted = words, wanted

    def __getitem__(self, place: Literal[0]) -> int:
        return Levenshtein.distance(self._words, self._wanted)

    def __iter__(self) -> Iterator[int | str]:
        return iter(BeamEditDistance(self._wanted)(self._words))


def _totals(texts: Sequence[Integers], orders: int) -> Integers:
    """How many n-grams each text has."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    totals: Integers = np.maximum(0, lengths[:, None] - np.arange(orders, dtype=np.int64))
    return totals


def _characters(text: str) -> Integers:
    return np.frombuffer("".join(text.split()).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)


class _Counted(Metric):
    """Takes the place of sacrebleu's counting, of a metric with one reference a pair."""

    def _extract_corpus_statistics(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]] | None) -> Counts:
        (wanted,) = references or ()
        self.num_refs = 1  # for the signature
        return counts(type(self), tuple(hypotheses), tuple(wanted))


class Bleu(_Counted, BLEU):
    """BLEU (Papineni 2002)."""


class Chrf(_Counted, CHRF):
    """chrF (Popović 2015)."""


class Ter(_Counted, TER):
    """TER (Snover 2006): edits and shifts for each word of the reference; less is better, and it may pass 100."""


@lru_cache(KEPT)
def counts(metric: type[_Counted], predictions: tuple[str, ...], references: tuple[str, ...]) -> Counts:
    """The counts that `metric` is made of, a row a pair."""
    if not predictions:
        return []
    count_of = of_characters if issubclass(metric, Chrf) else of_words if issubclass(metric, Bleu) else of_edits
    return count_of(predictions, references)


_bleu, _ter = BLEU(force=True), TER()


@lru_cache(2**16)
def bleu_words(text: str) -> tuple[str, ...]:
    """The words of a text as BLEU counts them (sacrebleu's tokenizer 13a)."""
    return tuple(str(_bleu.tokenizer(text.rstrip())).split())


@lru_cache(2**16)
def _ter_words(text: str) -> tuple[str, ...]:
    return tuple(str(_ter.tokenizer(text.rstrip())).split())
