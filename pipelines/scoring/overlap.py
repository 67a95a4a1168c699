"""Overlap of an output with its reference: BLEU, chrF and ROUGE as `evaluate.Metric` subclasses that need no hub and no disk.

`evaluate.load` fetches a script from the hub and keeps its inputs under ~/.cache; these classes are imported, keep their inputs
in memory, and take part in `evaluate.combine`. BLEU (Papineni 2002) and chrF (Popović 2015) are sacrebleu's, with the
signatures; ROUGE (Lin 2004) equals rouge_score's, without stemming. All values run from 0 to 100.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from pipelines.scoring.rouge import ROUGES
from pipelines.scoring.sentences import sentences


class _Overlap(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
    """One output and one reference a pair, both strings."""

    description = ""

    def __init__(self, **options: Any) -> None:
        super().__init__(keep_in_memory=True, **options)

    def _build_data_dir(self) -> str:
        return ""  # the base class makes a folder in the user's cache, even for what stays in memory

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description=type(self).__doc__ or "", citation="", inputs_description="", features=features)


class Bleu(_Overlap):
    """Corpus BLEU: {"bleu", "bleu_signature"}."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        metric = BLEU()
        score = metric.corpus_score(list(predictions), [list(references)]).score
        return {"bleu": score, "bleu_signature": str(metric.get_signature())}


class Chrf(_Overlap):
    """Corpus chrF: {"chrf", "chrf_signature"}."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        metric = CHRF()
        score = metric.corpus_score(list(predictions), [list(references)]).score
        return {"chrf": score, "chrf_signature": str(metric.get_signature())}


class Rouge(_Overlap):
    """Mean F1 of ROUGE-1, -2 and -L: {"rouge1", "rouge2", "rougeL"}."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        rows = sentences(ROUGES, predictions, references)
        return {name: float(rows[name].mean()) for name in ROUGES}


def metrics() -> evaluate.CombinedEvaluations:
    """All of them as one: `add_batch` and `compute` give every value and signature."""
    return evaluate.combine([Bleu(), Chrf(), Rouge()])
