"""Pairs that stay pairs: one value, one placeholder on both sides, whatever form each side gives it.

A translation says on both sides the same: a value that cannot be found on the other side, or not as often, makes its pair
Disagreed. A summary may leave a value out, but what is hidden on one side of it stands clear on neither.

A value is projected from the side where it was found to the other by the surest means that finds it: the same letters, case
and accents aside; the same digits, however grouped; Latin letters for others; an ending or a compound; a part of a name whose
edges the tagger drew too wide; likeness; words associated over the slice; what alone is left on both sides. Whatever is found
so is hidden, as whole words: nothing here ever uncovers a span.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipelines.scrub.align import Aligner
from pipelines.scrub.forms import Text, words
from pipelines.scrub.spans import CARRIED, LITERAL, TAGGED, Lookup, Scrubbed, Span, free, replace, resolve, whole
from pipelines.spec import Privacy

ONE_SIDED = "a value stands on one side only"
COUNTS = "a value stands on one side more often than on the other"
ASIDE = 2  # words that may lie between aligned ones


@dataclass(frozen=True)
class Disagreed:
    """The sides of a pair cannot be brought to the same placeholders; `reason` is ONE_SIDED or COUNTS, and holds no value."""

    reason: str


def scrub_pair(
    texts: tuple[str, str],
    spans: tuple[Sequence[Span], Sequence[Span]],
    everywhere: Lookup | None,
    privacy: Privacy,
    aligner: Aligner | None = None,
) -> Scrubbed | Disagreed:
    """Placeholders for the `spans` detected on either side, and for the values of `everywhere`, on both sides.

    With `privacy.target_language` the texts are a translation: the placeholders are the same ones, each as often, or the pair
    is Disagreed. `aligner` then knows the words of the slice.
    """
    found = [
        resolve(text, [*its, *(everywhere.find(text) if everywhere else ())]) for text, its in zip(texts, spans, strict=True)
    ]
    if not any(found):
        return Scrubbed(texts, {}, ((), ()))
    pair = _Pair(texts, found)
    pair.carry(privacy.target_language is not None)
    if privacy.target_language is not None:
        pair.balance(aligner)
        if reason := pair.disagreement():
            return Disagreed(reason)
    return pair.replaced(privacy.placeholders)


@dataclass
class _Mark:
    """A range of one side that will be hidden, and the cluster (the value) that it belongs to."""

    start: int
    end: int
    entity: str
    score: float
    cluster: int


Ranges = Iterable[tuple[int, int]]
Means = Callable[[int, str], Ranges]  # of (a side, a value): where it may stand there


class _Pair:
    """The marks of both sides, and which of them are one value (clusters, united as forms are found to be the same)."""

    def __init__(self, texts: tuple[str, str], spans: Sequence[Sequence[Span]]) -> None:
        self.sides = [Text(text) for text in texts]
        self.marks: list[list[_Mark]] = [[], []]
        self._parent: list[int] = []
        clusters: dict[tuple[bool, str], int] = {}
        for side, its in enumerate(spans):
            for span in its:
                value = texts[side][span.start : span.end]
                key = (span.score >= LITERAL, value)
                if key not in clusters:
                    clusters[key] = len(self._parent)
                    self._parent.append(clusters[key])
                self.marks[side].append(_Mark(*span, clusters[key]))

    # ------------------------------------------------------------------------------------------------ clusters

    def _root(self, cluster: int) -> int:
        while self._parent[cluster] != cluster:
            cluster = self._parent[cluster]
        return cluster

    def _unite(self, one: int, other: int) -> None:
        one, other = self._root(one), self._root(other)
        self._parent[max(one, other)] = min(one, other)

    def _of(self, side: int, cluster: int) -> list[_Mark]:
        return [mark for mark in self.marks[side] if self._root(mark.cluster) == self._root(cluster)]

    def _value(self, side: int, mark: _Mark) -> str:
        return self.sides[side].text[mark.start : mark.end]

    # ------------------------------------------------------------------------------------------------ projection

    def carry(self, translation: bool) -> None:
        """Hide each value wherever it stands on either side, the longest first; a form found so is looked for too."""
        done: set[tuple[int, str]] = set()
        waiting = [(side, self._value(side, mark), mark) for side in (0, 1) for mark in self.marks[side]]
        while waiting:
            found: list[tuple[int, str, _Mark]] = []
            for side, value, mark in sorted(waiting, key=lambda item: (-len(item[1]), item[0], item[2].start)):
                for other in (1 - side, side):
                    if (other, value) not in done and mark.score < LITERAL:
                        done.add((other, value))
                        unite = translation and other != side
                        new = self._hide(other, self._same(other, value, mark), mark, unite=unite)
                        found += [(other, self._value(other, each), each) for each in new]
            waiting = found

    def _same(self, side: int, value: str, mark: _Mark) -> Ranges:
        return sorted(set(self.sides[side].same(value, mark.entity)), key=lambda one: (one[0] - one[1], one))

    def _hide(self, side: int, ranges: Ranges, mark: _Mark, most: int | None = None, *, unite: bool = True) -> list[_Mark]:
        """Mark `ranges` as of the value of `mark`; returns the new marks.

        Args:
            most: new marks, at most; by default any number, and what overlaps a range joins it.
            unite: a longer mark around a range becomes one value with it.
        """
        made: list[_Mark] = []
        for found in ranges:
            if most is not None and len(made) >= most:
                break
            start, end = whole(self.sides[side].text, *found)
            overlapped = [each for each in self.marks[side] if each.start < end and start < each.end]
            if overlapped and most is not None:
                continue  # by weak means, only what is clear is hidden
            if any(self._keeps(side, each, mark) for each in overlapped):
                new = self._rest(side, Span(start, end, mark.entity, CARRIED), overlapped, mark)
            elif not unite and any(each.start <= start and end <= each.end for each in overlapped):
                continue  # hidden as a part of another value
            else:
                new = [self._joined(side, start, end, overlapped, mark)]
            self.marks[side] += new
            made += new
        return made

    def _rest(self, side: int, span: Span, overlapped: Sequence[_Mark], mark: _Mark) -> list[_Mark]:
        """What of `span` the overlapping marks leave clear."""
        taken = [Span(each.start, each.end, each.entity, each.score) for each in overlapped]
        runs = [words(self.sides[side].text, *part) for part in free(span, taken)]
        return [_Mark(run[0].start, run[-1].end, mark.entity, CARRIED, mark.cluster) for run in runs if run]

    def _joined(self, side: int, start: int, end: int, overlapped: Sequence[_Mark], mark: _Mark) -> _Mark:
        """One mark for a range and all that overlaps it."""
        for each in overlapped:
            self._unite(each.cluster, mark.cluster)
            self.marks[side].remove(each)
        entity = next((each.entity for each in overlapped if each.entity not in TAGGED), mark.entity)
        score = max((each.score for each in overlapped), default=CARRIED)
        start, end = min([start, *(each.start for each in overlapped)]), max([end, *(each.end for each in overlapped)])
        return _Mark(start, end, entity, score, mark.cluster)

    def _keeps(self, side: int, mark: _Mark, other: _Mark) -> bool:
        """Whether `mark` of `side` stays as it is though a form of `other`'s value overlaps it."""
        if mark.score >= LITERAL or self._root(mark.cluster) == self._root(other.cluster):
            return True
        if mark.entity != other.entity and mark.entity not in TAGGED:
            return True  # ann in ann@example.org
        return bool(self._of(1 - side, mark.cluster))  # it has its own counterpart already

    # ------------------------------------------------------------------------------------------------ translations

    def balance(self, aligner: Aligner | None) -> None:
        """Look by ever weaker means for the values that one side has less often, until the sides are even."""
        means: list[tuple[Means, bool]] = [
            (lambda side, value: self.sides[side].loose(value), True),
            (lambda side, value: self.sides[side].alike(value), False),
            (lambda side, value: self.sides[side].part(value), False),
        ]
        if aligner:
            means.append((lambda side, value: self._aligned(side, value, aligner), False))
        for find, again in means:
            for side, mark, short in self._uneven():
                # the weaker means look for what is nowhere on the other side; a further time there proves too little
                if mark.entity in TAGGED and (again or not self._of(1 - side, mark.cluster)):
                    self._hide(1 - side, find(1 - side, self._value(side, mark)), mark, short)
        self._pair_rest()
        self.carry(translation=True)  # the forms found now, wherever else they stand

    def _uneven(self) -> Iterator[tuple[int, _Mark, int]]:
        """(the side that has more, a mark there, how many the other lacks) for each form of each uneven value."""
        seen = set()
        for side in (0, 1):
            for mark in list(self.marks[side]):
                short = len(self._of(side, mark.cluster)) - len(self._of(1 - side, mark.cluster))
                form = (side, self._root(mark.cluster), self._value(side, mark))
                if short > 0 and mark.score < LITERAL and form not in seen:
                    seen.add(form)
                    yield side, mark, short

    def _aligned(self, side: int, value: str, aligner: Aligner) -> Ranges:
        """The words on `side` that the words of `value`, of the other side, are translated by, as one range."""
        wanted = {other for word in words(value) for other in aligner.other(1 - side, word.folds[0])}
        hits = [(number, word) for number, word in enumerate(self.sides[side].words) if word.folds[0] in wanted]
        runs: list[list[tuple[int, int, int]]] = []
        for number, word in hits:
            if runs and number - runs[-1][-1][0] <= ASIDE:
                runs[-1].append((number, word.start, word.end))
            else:
                runs.append([(number, word.start, word.end)])
        runs.sort(key=lambda run: (-len(run), run[0]))
        return [(run[0][1], run[-1][2]) for run in runs]

    def _pair_rest(self) -> None:
        """What alone of its kind is left on each side, as often: names that are translated (Moskau), addresses (/en/, /de/)."""
        for tagged in (True, False):
            left: list[dict[int, _Mark]] = [{}, {}]
            for side, mark, _ in self._uneven():
                if (mark.entity in TAGGED) == tagged and not self._of(1 - side, mark.cluster):
                    left[side].setdefault(self._root(mark.cluster), mark)
            if len(left[0]) == len(left[1]) == 1:
                (one,), (other,) = left[0].values(), left[1].values()
                if tagged or one.entity == other.entity:
                    self._unite(one.cluster, other.cluster)

    # ------------------------------------------------------------------------------------------------ result

    def disagreement(self) -> str | None:
        counts = [Counter(self._root(mark.cluster) for mark in marks) for marks in self.marks]
        if counts[0] == counts[1]:
            return None
        return ONE_SIDED if counts[0].keys() != counts[1].keys() else COUNTS

    def replaced(self, limit: int) -> Scrubbed:
        entities: dict[int, str] = {}
        for mark in sorted((mark for marks in self.marks for mark in marks), key=lambda mark: mark.entity in TAGGED):
            entities.setdefault(self._root(mark.cluster), mark.entity)
        ordered = [sorted(marks, key=lambda mark: mark.start) for marks in self.marks]
        keys = [[self._root(mark.cluster) for mark in marks] for marks in ordered]
        spans = [
            [Span(mark.start, mark.end, entities[key], mark.score) for mark, key in zip(marks, its, strict=True)]
            for marks, its in zip(ordered, keys, strict=True)
        ]
        return replace([side.text for side in self.sides], spans, limit, keys)
