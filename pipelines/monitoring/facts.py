"""What is to be seen in one text without asking what it means: numbers, marks, words, and a short vector for the whole.

Scrubbed text goes in. A text counts by its first SHOWN characters, on the side of the training data as on that of the
traffic: so much of it stands in the list of traces, which can be read without opening each.
"""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHOWN = 1_000  # characters
WIDTH = 128  # of the hashed vector: two texts' common words stand out of the collisions of some 100 others
PLACEHOLDER = re.compile(r"<([A-Z_]+?)_\d+>")
WORD = re.compile(r"[^\W\d_][\w'+-]*[\w+]|[^\W\d_]")
FIELD = re.compile(r"^([A-Z][A-Za-z-]{1,23}): {0,2}(\S{1,40})$", re.MULTILINE)
"""A line such as `Section: fonts`, of one value: many inputs are records made text."""

Vectors = NDArray[np.float32]


class Pieces(NamedTuple):
    """How a model's own tokenizer takes a text: how many pieces, how many unknown, and whether it is longer than it may be."""

    number: int
    unknown: int
    cut: bool


@dataclass(frozen=True)
class Tools:
    """What this step cannot know itself; each is left out where it is None.

    `language` names a text's language ("" too short, "unsure"), `pieces` takes many texts through the model's tokenizer,
    `embed` turns many texts into unit vectors of meaning; `embedder` is its name, so that no vector meets another kind.
    """

    language: Callable[[str], str] | None = None
    pieces: Callable[[Sequence[str]], list[Pieces]] | None = None
    embed: Callable[[Sequence[str]], Vectors] | None = None
    embedder: str = "hashed words"

    @property
    def names(self) -> list[str]:
        """Which of them are there: a profile made with others cannot be compared."""
        return [name for name in ("language", "pieces") if getattr(self, name) is not None]


@dataclass(frozen=True)
class Facts:
    """Of one text: measures, what can be said of it in a word ("language: de"), and its words, each once."""

    numbers: dict[str, float]
    marks: frozenset[str]
    words: frozenset[str]


def facts(texts: Sequence[str], tools: Tools) -> list[Facts]:
    """The facts of each of `texts`, scrubbed."""
    heads = [text[:SHOWN] for text in texts]
    pieces: Sequence[Pieces | None] = tools.pieces(heads) if tools.pieces else [None] * len(heads)
    return [_of_one(text, each, tools) for text, each in zip(heads, pieces, strict=True)]


def _of_one(text: str, pieces: Pieces | None, tools: Tools) -> Facts:
    kinds = Counter(PLACEHOLDER.findall(text))
    plain = PLACEHOLDER.sub(" ", text)
    words = WORD.findall(plain)
    length = max(1, len(plain))
    numbers = {
        "words": float(len(plain.split())),
        "letters a word": sum(map(len, words)) / max(1, len(words)),
        "digits, % of the text": 100 * sum(map(str.isdigit, plain)) / length,
        "capitals, % of the text": 100 * sum(map(str.isupper, plain)) / length,
        "signs, % of the text": 100 * sum(not each.isalnum() and not each.isspace() for each in plain) / length,
        "lines": float(1 + plain.strip().count("\n")),
    }
    marks = {f"{name.lower()}: {value}" for name, value in FIELD.findall(plain)}
    marks |= {f"placeholders: {kind}" for kind in kinds} | {f"placeholders: 2 or more {k}" for k, n in kinds.items() if n > 1}
    if tools.language:
        marks.add(f"language: {tools.language(text) or 'too short to tell'}")
    if pieces:
        # Not how many pieces: a tokenizer takes what it was fitted to in fewer, and the reference is that.
        numbers["unknown pieces, %"] = 100 * pieces.unknown / max(1, pieces.number)
        marks |= {"cut: longer than the model reads"} if pieces.cut else set()
    if not plain.strip():
        marks.add("empty: no text")
    return Facts(numbers, frozenset(marks), frozenset(word.lower() for word in words))


def vectors(texts: Sequence[str], tools: Tools) -> Vectors:
    """A unit vector a text: the embedder's, or its words and pairs of words hashed into WIDTH signed places.

    Hashed as Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009.
    """
    heads = [text[:SHOWN] for text in texts]
    if tools.embed:
        return tools.embed(heads)
    made = np.zeros((len(heads), WIDTH), dtype=np.float32)
    for row, text in zip(made, heads, strict=True):
        words = [word.lower() for word in WORD.findall(PLACEHOLDER.sub(" ", text))]
        for gram in {*words, *map(" ".join, pairwise(words))}:
            code = zlib.crc32(gram.encode())
            row[code % WIDTH] += 1.0 if code & 0x10000 else -1.0
    made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)
    return made
