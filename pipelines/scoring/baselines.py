"""What a model must be compared with to mean anything: answers that need no model."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipelines.decode.windows import sentence_ends
from pipelines.scoring.metrics.sentences import sentences

CANDIDATES = 40
SAMPLE = 200
SEED = 7
LANGUAGE = "en"  # whose rules of where a sentence ends hold for most languages that end one by a full stop


def lead(source: str, words: int, after: str) -> str:
    """The first `words` words of `source`, counted after the first occurrence of `after` where it occurs."""
    return " ".join(told(source, after).split()[:words])


def sentence(source: str, after: str) -> str:
    """The first sentence of `source` (all of it, where there is one), counted as in `lead`."""
    text = told(source, after)
    return text[: next(iter(sentence_ends(text, LANGUAGE)), len(text))].strip()


def told(source: str, after: str) -> str:
    """What follows the first `after` in `source`; all of it, where there is none."""
    _, found, rest = source.partition(after) if after else ("", "", "")
    return rest if found else source


def constant(targets: Sequence[str], metric: str) -> str:
    """The training target that scores best, by the mean of `metric`, as the answer to every source.

    Searched in two passes: all targets are ranked by a cheap stand-in (the expected share of their words in another target),
    the CANDIDATES best are scored against SAMPLE targets, evenly spaced. Ties go to the earlier text.
    """
    if not targets:
        return ""
    bags = {text: set(text.lower().split()) for text in targets}
    frequency = Counter(word for text in targets for word in bags[text])
    usual = sum(len(bags[text]) for text in targets) / len(targets)
    promise = {text: sum(frequency[word] for word in bag) / (len(bag) + usual) for text, bag in bags.items() if bag}
    ranked = sorted(promise, key=lambda text: (-promise[text], text))[:CANDIDATES]
    sample = list(targets)[:: math.ceil(len(targets) / SAMPLE)]
    scored = {text: float(sentences([metric], [text] * len(sample), sample)[metric].mean()) for text in ranked}
    return min(scored, key=lambda text: (-scored[text], text), default="")


def derangement(n: int) -> list[int]:
    """A fixed permutation of range(n), n >= 2, that leaves nothing in its place: one random cycle through all."""
    order = np.random.default_rng(SEED).permutation(n)
    away = np.empty(n, dtype=np.int64)
    away[order] = np.roll(order, 1)
    return [int(index) for index in away]
