"""Where an output is unsupported: its words, numbers and names that the source lacks or has in another connection; and how
the doubts of its sentences add up.

Words say where to look, not that all of it is false: a rewording is named too, which is why `kind` tells what each span is.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.scoring.judge.reading import NEGATIONS, Source, Token, tokens
from pipelines.scoring.judge.verdict import Span, sentence_bounds

FACTS = ("name", "number", "placeholder")
BESIDE = 2  # content words on either side that a name or number has to stand near in the source too


def whole(probabilities: NDArray[np.float64], pair: NDArray[np.int64], outputs: int) -> NDArray[np.float64]:
    """P(unsupported), 0 to 1, of each of so many `outputs` from those of its sentences, of which `pair` says whose each is.

    An output is unsupported if one of its sentences is: 1 - the product of (1 - p), as if they failed independently. Never
    below the worst sentence, and the same in any batch. 1 for an output without sentences.
    """
    kept = np.ones(outputs)
    np.multiply.at(kept, pair, 1.0 - probabilities)
    worst = np.zeros(outputs)
    np.maximum.at(worst, pair, probabilities)
    found: NDArray[np.float64] = np.where(np.bincount(pair, minlength=outputs) > 0, np.maximum(1.0 - kept, worst), 1.0)
    return found


def unsupported(source: Source, output: str) -> tuple[Span, ...]:
    """The spans of `output` that `source` does not support, in order, none overlapping; neighbours of a kind are one span.

    Kinds: word, name, number, placeholder (the source lacks it); misplaced (a name or number that the source has, near none
    of the words that it stands beside here); negation (denied here, and not in the source's nearest sentence).
    """
    found: list[Span] = []
    said = tokens(output)
    for start, end in sentence_bounds(output):
        part = [token for token in said if start <= token.start < end]
        for token, kind in _doubted(source, part):
            if found and found[-1].kind == kind and not output[found[-1].end : token.start].strip(" -"):
                start_ = found.pop().start
                found.append(Span(start_, token.end, output[start_ : token.end], kind))
            else:
                found.append(Span(token.start, token.end, output[token.start : token.end], kind))
    return tuple(found)


def misplaced(source: Source, content: Sequence[Token]) -> Iterator[tuple[Token, bool]]:
    """Each name and number of a sentence's `content` words that the source has, and that has neighbours: is it misplaced?"""
    for place, token in enumerate(content):
        if token.kind in FACTS and token.key in source.places:
            around = content[max(0, place - BESIDE) : place + 1 + BESIDE]
            beside = [other for other in around if other.kind not in FACTS]  # parts of a name stand by each other anywhere
            if beside:
                yield token, not any(source.near(token.key, other.key) for other in beside)


def contrary(source: Source, keys: frozenset[str]) -> bool:
    """Whether a sentence of these words and the one that is nearest in the source differ in being denied."""
    bare = keys - NEGATIONS
    nearest = max(source.sentences, key=lambda sentence: len(sentence & bare), default=frozenset())
    return bool(bare & nearest) and bool(keys & NEGATIONS) != bool(nearest & NEGATIONS)


def _doubted(source: Source, part: Sequence[Token]) -> Iterator[tuple[Token, str]]:
    content = [token for token in part if token.kind != "stop"]
    wrong = {token.start for token, is_so in misplaced(source, content) if is_so}
    denied = contrary(source, frozenset(token.key for token in part))
    for token in part:
        if token.kind == "stop":
            if denied and token.key in NEGATIONS:
                yield token, "negation"
        elif not source.holds(token):
            yield token, token.kind
        elif token.start in wrong:
            yield token, "misplaced"
