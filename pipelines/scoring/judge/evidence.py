"""Cheap evidence that a source supports an output: named columns of floats, a row a sentence. Pure, and without a model.

Each column has a reason, and most a sign that is known before any data: `SIGNS` says whether a higher value speaks for (+1) or
against (-1) "unsupported". Word and n-gram precision is what summaries' extrinsic faults miss (Maynez et al. 2020); windows and
one-sentence support look for true words in a false combination (intrinsic faults; Goyal & Durrett 2021); the model's own
length-normalised log-probability is the best free signal for translation (Guerreiro et al. 2023).
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from pipelines.scoring.judge.reading import CHARACTERS, WINDOW, Source, Token, tokens
from pipelines.scoring.judge.spans import contrary, misplaced
from pipelines.scoring.judge.verdict import sentence_bounds

SIGNS: Mapping[str, int] = {
    "words": -1,  # share of content words whose stem the source has
    "families": -1,  # the same, by family (robbed, robbery) or as part of another word
    "missing": 1,  # log(1 + content words without any such support)
    "rare": -1,  # `families`, each word by its rarity: a strange common word is mostly a rewording
    "rarest": 1,  # rarity, 0 to 1, of the rarest word without support
    "bigrams": -1,  # share of bigrams of stems that the source has
    "trigrams": -1,
    "joined": -1,  # of neighbouring words that the source both has: share that are neighbours there
    "breaks": 1,  # log(1 + such neighbours that are none there)
    "windows": -1,  # of neighbouring content words that the source both has: share that stand near each other there
    "one_sentence": -1,  # largest share of content words in one sentence of the source
    "names": 1,  # log(1 + names without support)
    "numbers": 1,  # log(1 + numbers without support)
    "placeholders": 1,  # log(1 + placeholders without support)
    "unbound": 1,  # share of names and numbers in the source that stand near none of their neighbours there
    "subsequence": -1,  # longest common subsequence over the sentence's words
    "copied": -1,  # longest run of words that stands in the source over the sentence's words
    "density": -1,  # log(1 + mean length of the copied stretch that a word lies in) (Grusky et al. 2018)
    "pieces": 1,  # log of the copied stretches it is made of: two are a cut or a fusion, one more of many tells little
    "jumps": 1,  # log(1 + stretches that do not follow in the source, a little later, on the one before)
    "characters": -1,  # share of its character 4-grams that the source has
    "negation": 1,  # 1: a negation here, and none in the sentence of the source that is nearest; or the reverse
    "repeated": 1,  # share of its trigrams that the output had before
    "echo": 0,  # longest common subsequence over the source's words: 1 for a copy
    "length": 0,  # log(1 + words)
    "ratio": 0,  # log of the length in words over the source's
    "empty": 1,  # 1: no content word
    "logprob": -1,  # mean log-probability of a token under the model that wrote it; its column's mean where unknown
    "unknown_logprob": 0,  # 1: the model's log-probability is not known
}
COLUMNS = tuple(SIGNS)
ALIKE, EXACT = 0.3, 1.0  # chosen on kinds of corruption, and of output, that were left out of the fit
EXPECTED: Mapping[str, float] = {name: sign * (EXACT if name == "numbers" else ALIKE) for name, sign in SIGNS.items()}
"""Log-odds of a standard deviation before any data. Equal weights of known sign do well where data say little (Dawes 1979); a
number is no matter of wording: one that the source lacks is a fault in itself, whether or not training showed such a fault."""
MOST_STEMS = 4_000

Stretch = tuple[int, list[int]]  # length in words, and the places in the source where it ends


@dataclass(frozen=True)
class Evidence:
    """A row a sentence: `columns[row, COLUMNS.index(name)]`; `pair[row]` is the output that the sentence output[start:end]
    (`bounds[row]`) belongs to. An output without a sentence has one row, for its whole."""

    columns: NDArray[np.float64]
    pair: NDArray[np.int64]
    bounds: tuple[tuple[int, int], ...]


def evidence(
    sources: Sequence[str | Source],
    outputs: Sequence[str],
    logprobs: Sequence[float | None] | None = None,
    rarity: Mapping[str, float] | None = None,
) -> Evidence:
    """Read every sentence of every output beside its source. `logprobs` are means over the output's tokens; NaN in the column
    where there is none. `rarity` (0 to 1) is of stems, 1 of those that it lacks (see `rarities`)."""
    known = logprobs if logprobs is not None else [None] * len(outputs)
    rows, pair, bounds = [], [], []
    last: Source | None = None
    for index, (source, output, logprob) in enumerate(zip(sources, outputs, known, strict=True)):
        if isinstance(source, Source):
            last = source
        elif last is None or last.text != source:
            last = Source(source)
        for span, row in _output(last, output, logprob, rarity or {}):
            rows.append(row)
            pair.append(index)
            bounds.append(span)
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))
    return Evidence(columns, np.array(pair, dtype=np.int64), tuple(bounds))


def rarities(texts: Sequence[str], most: int = MOST_STEMS) -> dict[str, float]:
    """Of the `most` most frequent stems: log(texts / texts with it) / log(texts), two decimals; 0 of one in every text."""
    count = Counter(key for text in texts for key in {token.key for token in tokens(text) if token.kind in ("word", "name")})
    frequent = sorted(count.items(), key=lambda item: (-item[1], item[0]))[:most]
    whole = math.log(max(len(texts), 2))
    return {key: round(1 - math.log(found) / whole, 2) for key, found in sorted(frequent)}


def _output(
    source: Source, output: str, logprob: float | None, rarity: Mapping[str, float]
) -> Iterator[tuple[tuple[int, int], list[float]]]:
    said = tokens(output)
    seen: set[tuple[str, str, str]] = set()
    own = [math.nan, 1.0] if logprob is None or not math.isfinite(logprob) else [logprob, 0.0]
    for start, end in sentence_bounds(output) or [(0, len(output))]:
        part = [token for token in said if start <= token.start < end]
        yield (start, end), [*_sentence(source, part, output[start:end].lower(), seen, rarity), *own]


def _sentence(
    source: Source, part: Sequence[Token], text: str, seen: set[tuple[str, str, str]], rarity: Mapping[str, float]
) -> list[float]:
    keys = [token.key for token in part]
    content = [token for token in part if token.kind != "stop"]
    held = [source.holds(token) for token in content]
    lacking = [token.kind for token, has in zip(content, held, strict=True) if not has]
    common = LCSseq.similarity(source.keys, keys)
    words = [token.key for token in content]
    stretches = list(_stretches(source, keys))
    lengths = [length for length, _ in stretches]
    joined = [gram in source.bigrams for gram in _both(source, keys)]
    rare = [rarity.get(word, 1.0) for word in words]
    strange = [each for each, has in zip(rare, held, strict=True) if not has]
    found = {
        "words": _share(word in source.places for word in words),
        "families": _share(held),
        "missing": math.log1p(len(lacking)),
        "rare": 1.0 - sum(strange) / sum(rare) if any(rare) else 1.0,
        "rarest": max(strange, default=0.0),
        "bigrams": _share(gram in source.bigrams for gram in itertools.pairwise(keys)),
        "trigrams": _share(gram in source.trigrams for gram in zip(keys, keys[1:], keys[2:], strict=False)),
        "joined": _share(joined),
        "breaks": math.log1p(joined.count(False)),
        "windows": _share(source.near(*pair) for pair in _both(source, words)),
        "one_sentence": _one_sentence(source, frozenset(words)),
        "names": math.log1p(lacking.count("name")),
        "numbers": math.log1p(lacking.count("number")),
        "placeholders": math.log1p(lacking.count("placeholder")),
        "unbound": 1.0 - _share(not wrong for _, wrong in misplaced(source, content)),
        "subsequence": common / len(keys) if keys else 1.0,
        "copied": max(lengths, default=0) / len(keys) if keys else 1.0,
        "density": math.log1p(sum(each**2 for each in lengths) / len(keys)) if keys else 0.0,
        "pieces": math.log(max(len(lengths), 1)),
        "jumps": math.log1p(sum(not _follows(*both) for both in itertools.pairwise(stretches))),
        "characters": _characters(source, text),
        "negation": float(contrary(source, frozenset(keys))),
        "repeated": _repeated(keys, seen),
        "echo": common / len(source.keys) if source.keys else 0.0,
        "length": math.log1p(len(keys)),
        "ratio": math.log((1 + len(keys)) / (1 + len(source.keys))),
        "empty": float(not content),
    }
    return list(found.values())


def _share(held: "Iterator[bool] | Sequence[bool]") -> float:
    """1 where there is nothing to hold."""
    values = list(held)
    return sum(values) / len(values) if values else 1.0


def _one_sentence(source: Source, words: frozenset[str]) -> float:
    if not words:
        return 1.0
    return max((len(words & sentence) for sentence in source.sentences), default=0) / len(words)


def _both(source: Source, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Neighbours that the source both has."""
    return (pair for pair in itertools.pairwise(keys) if pair[0] in source.places and pair[1] in source.places)


def _stretches(source: Source, keys: Sequence[str]) -> Iterator[Stretch]:
    """The stretches of `keys` that stand in the source, in order, each as long as it gets."""
    longest, running = 0, dict[int, int]()  # where in the source a stretch ends -> its length
    for key in [*keys, None]:
        grown = {place: running.get(place - 1, 0) + 1 for place in source.places.get(key, ())} if key is not None else {}
        reached = max(grown.values(), default=0)
        if longest and reached <= longest:
            yield longest, [place for place, length in running.items() if length == longest]
        longest, running = reached, grown


def _follows(one: Stretch, other: Stretch) -> bool:
    """Whether the second stands in the source somewhere a little after the first."""
    starts = [end - other[0] + 1 for end in other[1]]
    return any(0 < start - end <= WINDOW for end in one[1] for start in starts)


def _characters(source: Source, text: str) -> float:
    bare = " ".join(text.split())
    return _share(bare[at : at + CHARACTERS] in source.lower for at in range(len(bare) - CHARACTERS + 1))


def _repeated(keys: Sequence[str], seen: set[tuple[str, str, str]]) -> float:
    grams = list(zip(keys, keys[1:], keys[2:], strict=False))
    again = 0
    for gram in grams:
        again += gram in seen
        seen.add(gram)
    return again / len(grams) if grams else 0.0
