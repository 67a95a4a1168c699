"""Overlap of outputs with references, a sentence at a time for paired comparison, and over the corpus with signatures.

BLEU (Papineni 2002) and chrF (Popović 2015) are sacrebleu's; ROUGE (Lin 2004) equals rouge_score's, without stemming. All
values run from 0 to 100. The same numbers as `overlap`'s, without what `evaluate` imports (ten seconds of it).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from pipelines.scoring.rouge import ROUGES, Rouge

METRICS = (*ROUGES, "chrf", "bleu")
RESAMPLED_SENTENCES = 2_000_000  # sacrebleu's bootstrap holds the statistics of all its resamples at once


def corpus(predictions: Sequence[str], references: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Corpus BLEU and chrF, each {"value", "interval": 95 % by sacrebleu's own bootstrap, "signature"}."""
    resamples = max(100, min(1_000, RESAMPLED_SENTENCES // max(1, len(predictions))))
    tests = {"bleu": BLEU(), "chrf": CHRF()}
    signatures, scores = PairedTest([("model", list(predictions))], tests, [list(references)], "bs", resamples)()
    found = {}
    for name, label in (("bleu", "BLEU"), ("chrf", "chrF2")):
        result: Any = scores[label][0]
        interval = [float(result.mean - result.ci), float(result.mean + result.ci)]
        found[name] = {"value": float(result.score), "interval": interval, "signature": str(signatures[label])}
    return found


def sentences(names: Sequence[str], predictions: Sequence[str], references: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Score each pair by each metric named (of METRICS): arrays of shape (pairs,), in the order given, for paired comparison.

    Sentence BLEU counts only the orders of n-gram that a sentence is long enough for (sacrebleu's `effective_order`).

    Raises:
        ValueError: an unknown metric, or sequences that differ in length.
    """
    unknown = sorted(set(names) - set(METRICS))
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]!r}: choose from {', '.join(METRICS)}")
    pairs = list(zip(predictions, references, strict=True))
    found: dict[str, list[float]] = {name: [] for name in names}
    rouges = [name for name in names if name in ROUGES]
    if rouges:
        scorer = _rouge(tuple(rouges))
        for prediction, reference in pairs:
            for name, score in scorer.score(reference, prediction).items():
                found[name].append(100 * score)
    by_sentence: dict[str, BLEU | CHRF] = {"bleu": BLEU(effective_order=True), "chrf": CHRF()}
    for name in set(names) & by_sentence.keys():
        found[name] = [by_sentence[name].sentence_score(prediction, [reference]).score for prediction, reference in pairs]
    return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}


@cache
def _rouge(names: tuple[str, ...]) -> Rouge:
    """One for all calls: every system is scored against the same references."""
    return Rouge(names)
