"""Bad habits of a decoder: giving its source back, going round in a loop, knowing its training pairs by heart.

Each is set beside what the references do: some sources are rightly answered by themselves, and some data repeats.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from pipelines import spec
from pipelines.filters.echo import echoes
from pipelines.filters.loops import loops
from pipelines.filters.words import runs
from pipelines.scoring import compare
from pipelines.scoring.baselines import told

FEWEST = 4  # words: a shorter text may well begin as its source does
ALIKE = 0.8  # share of the words that are those of the source's beginning: the last one may be cut
VERBATIM = 95.0  # percent, rapidfuzz's ratio on letters

Texts = Sequence[str]


def copied(source: str, output: str, after: str) -> bool:
    """Whether `output` is its source, or the source's beginning (its own, or that of what follows `after` in it)."""
    if echoes(source, output):
        return True
    said = runs(output.casefold())
    if len(said) < FEWEST:
        return False
    heads = (runs(text.casefold())[: len(said)] for text in (source, told(source, after)))
    return any(Levenshtein.normalized_similarity(said, head) >= ALIKE for head in heads)


def copying(sources: Texts, outputs: Texts, references: Texts, scoring: spec.Scoring) -> dict[str, Any]:
    """The shares of outputs and of references that repeat their source."""
    after = scoring.lead_after
    return {
        name: _share([copied(*pair, after) for pair in zip(sources, texts, strict=True)], scoring)
        for name, texts in (("outputs", outputs), ("references", references))
    }


def looping(sources: Texts, outputs: Texts, references: Texts, scoring: spec.Scoring) -> dict[str, Any]:
    """The shares of outputs and of references that repeat themselves as no writer would (see filters.loops)."""
    return {
        name: _share([loops(*pair) for pair in zip(sources, texts, strict=True)], scoring)
        for name, texts in (("outputs", outputs), ("references", references))
    }


def overfit(
    seen: NDArray[np.float64], held_out: NDArray[np.float64], verbatim: Sequence[Sequence[bool]], scoring: spec.Scoring
) -> dict[str, Any] | None:
    """How much better the model does on pairs that it has trained on than on held-out ones, and how many of either it answers
    to the letter (`verbatim`: of the seen, of the held-out). None where either is too few to say anything.
    """
    if min(len(seen), len(held_out)) < compare.FEWEST:
        return None
    options = {"confidence": scoring.confidence, "resamples": scoring.resamples}
    means = {"seen": compare.mean(seen, **options), "held_out": compare.mean(held_out, **options)}  # type: ignore[arg-type]
    apart = compare.gap(seen, held_out, **options)  # type: ignore[arg-type]
    return {
        "n": len(seen),
        **{name: {"value": level.value, "interval": [level.low, level.high]} for name, level in means.items()},
        "gap": {"value": apart.value, "interval": [apart.low, apart.high]},
        "verbatim": {name: _share(flags, scoring) for name, flags in zip(("seen", "held_out"), verbatim, strict=True)},
    }


def by_heart(outputs: Texts, references: Texts) -> list[bool]:
    """Which outputs are their reference, but for a letter or two."""
    pairs = zip(outputs, references, strict=True)
    return [bool(b) and fuzz.ratio(a.casefold(), b.casefold(), score_cutoff=VERBATIM) >= VERBATIM for a, b in pairs]


def _share(flags: Sequence[bool], scoring: spec.Scoring) -> dict[str, Any]:
    found = compare.share(sum(flags), len(flags), confidence=scoring.confidence)
    return {"count": sum(flags), "value": found.value, "interval": [found.low, found.high]}
