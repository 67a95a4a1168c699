"""Overlap of outputs with references, a sentence at a time for paired comparison, and over the corpus with signatures.

BLEU (Papineni 2002), chrF (Popović 2015) and TER (Snover 2006) are sacrebleu's; ROUGE (Lin 2004) equals rouge_score's, without
stemming; METEOR is nltk's. All values run from 0 to 100, but for TER, where less is better and which may pass 100. The same
numbers as `overlap`'s, without what `evaluate` imports (ten seconds of it).
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.significance import PairedTest

from pipelines.scoring.metrics.meteor import meteor
from pipelines.scoring.metrics.ngrams import KEPT, Bleu, Chrf, Ter, counts
from pipelines.scoring.metrics.rouge import ROUGES, Rouge

METRICS = (*ROUGES, "chrf", "bleu", "ter")
KNOWN = (*METRICS, "meteor")
"""METEOR is measured where it is asked for: English alone, and it needs WordNet."""
LABELS = {"bleu": "BLEU", "chrf": "chrF2", "ter": "TER"}  # sacrebleu's
RESAMPLED_SENTENCES = 2_000_000  # sacrebleu's bootstrap holds the statistics of all its resamples at once


def corpus(predictions: Sequence[str], references: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Corpus BLEU, chrF and TER, each {"value", "interval": 95 % by sacrebleu's own bootstrap, "signature"}."""
    resamples = max(100, min(1_000, RESAMPLED_SENTENCES // max(1, len(predictions))))
    tests = {"bleu": Bleu(force=True), "chrf": Chrf(), "ter": Ter()}
    signatures, scores = PairedTest([("model", list(predictions))], tests, [list(references)], "bs", resamples)()
    found = {}
    for name, label in LABELS.items():
        result: Any = scores[label][0]
        interval = [float(result.mean - result.ci), float(result.mean + result.ci)]
        found[name] = {"value": float(result.score), "interval": interval, "signature": str(signatures[label])}
    return found


def sentences(names: Sequence[str], predictions: Sequence[str], references: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Score each pair by each metric named (of KNOWN): arrays of shape (pairs,), in the order given, for paired comparison.

    Sentence BLEU counts only the orders of n-gram that a sentence is long enough for (sacrebleu's `effective_order`).

    Raises:
        ValueError: an unknown metric, or sequences that differ in length.
        UserError: METEOR without WordNet.
    """
    unknown = sorted(set(names) - set(KNOWN))
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]!r}: choose from {', '.join(KNOWN)}")
    ours, theirs = tuple(predictions), tuple(references)
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} outputs and {len(theirs)} references: a pair has one of each")
    found: dict[str, Sequence[float]] = dict.fromkeys(names, ())
    rouges = tuple(name for name in names if name in ROUGES)
    found |= _rouges(rouges, ours, theirs) if rouges else {}
    found |= {"meteor": meteor(ours, theirs)} if "meteor" in names else {}
    by_counts: dict[str, Any] = {"bleu": Bleu(effective_order=True), "chrf": Chrf(), "ter": Ter()}
    for name in set(names) & by_counts.keys():
        kind: Any = type(by_counts[name])
        rows = counts(kind, ours, theirs)
        found[name] = [by_counts[name]._compute_score_from_stats(row).score for row in rows]
    return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}


@lru_cache(KEPT)
def _rouges(names: tuple[str, ...], predictions: tuple[str, ...], references: tuple[str, ...]) -> dict[str, list[float]]:
    scorer = _rouge(names)
    rows = [scorer.score(reference, prediction) for prediction, reference in zip(predictions, references, strict=True)]
    return {name: [100 * row[name] for row in rows] for name in names}


@cache
def _rouge(names: tuple[str, ...]) -> Rouge:
    """One for all calls: every system is scored against the same references."""
    return Rouge(names)
