"""Overlap with a reference, and what is right besides, as `evaluate.Metric` subclasses that need no hub and no disk.

`evaluate.load` fetches a script from the hub and keeps its inputs under ~/.cache; these classes are imported, keep their inputs
in memory, and take part in `evaluate.combine`. BLEU (Papineni 2002), chrF (Popović 2015) and TER (Snover 2006) are sacrebleu's,
with the signatures; ROUGE (Lin 2004) equals rouge_score's, without stemming; METEOR (Lavie and Agarwal 2007) is nltk's: all
from 0 to 100 (TER: less is better, and it may pass 100). Shares, of `tasks`, run from 0 to 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate

from pipelines import spec
from pipelines.errors import UserError
from pipelines.scoring.metrics import ngrams, tasks
from pipelines.scoring.metrics.meteor import signature
from pipelines.scoring.metrics.rouge import ROUGES
from pipelines.scoring.metrics.sentences import sentences

Texts = Sequence[str]


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

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:
        return _corpus("bleu", ngrams.Bleu(force=True), predictions, references)


class Chrf(_Overlap):
    """Corpus chrF: {"chrf", "chrf_signature"}."""

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:
        return _corpus("chrf", ngrams.Chrf(), predictions, references)


class Ter(_Overlap):
    """Corpus TER: {"ter", "ter_signature"}."""

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:
        return _corpus("ter", ngrams.Ter(), predictions, references)


class Rouge(_Overlap):
    """Mean F1 of ROUGE-1, -2, -L and -Lsum: {"rouge1", "rouge2", "rougeL", "rougeLsum"}."""

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:
        rows = sentences(ROUGES, predictions, references)
        return {name: float(rows[name].mean()) for name in ROUGES}


class Meteor(_Overlap):
    """Mean METEOR, of English: {"meteor", "meteor_signature"}."""

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:
        value = float(sentences(["meteor"], predictions, references)["meteor"].mean())
        return {"meteor": value, "meteor_signature": signature()}


class ExactMatch(_Overlap):
    """Share of the outputs that are their reference, blanks aside: {"exact_match"}."""

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:
        return {"exact_match": float(tasks.exact(predictions, references).mean())}


class Fields(_Overlap):
    """Mean share of right fields, of JSON objects or of lines `key: value`: {"fields"}."""

    def __init__(self, form: tasks.Form = "json", **options: Any) -> None:
        super().__init__(**options)
        self._form = form

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:
        return {"fields": float(tasks.fields(predictions, references, self._form).mean())}


class JsonSchema(_Overlap):
    """Share of the outputs that a JSON Schema accepts: {"json_schema"}."""

    def __init__(self, schema: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._schema = dict(schema or {})

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:  # noqa: ARG002 - the schema is the reference
        return {"json_schema": float(tasks.valid(predictions, self._schema).mean())}


class Steps(_Overlap):
    """Mean share of the steps that are there and in their order: {"steps"}."""

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:
        return {"steps": float(tasks.steps(predictions, references).mean())}


class Style(_Overlap):
    """Share of the outputs that keep to a style: {"style"}."""

    def __init__(self, style: spec.Style | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._style = style or spec.Style()

    def _compute(self, predictions: Texts, references: Texts) -> dict[str, Any]:  # noqa: ARG002 - the style is the reference
        return {"style": float(tasks.conformity(predictions, self._style).mean())}


METRICS = {
    "bleu": Bleu, "chrf": Chrf, "ter": Ter, "rouge": Rouge, "meteor": Meteor, "exact_match": ExactMatch, "fields": Fields,
    "json_schema": JsonSchema, "steps": Steps, "style": Style,
}  # fmt: skip
OVERLAP = ("bleu", "chrf", "ter", "rouge")


def metrics(names: Sequence[str] = OVERLAP) -> evaluate.CombinedEvaluations:
    """Those named (of METRICS) as one: `add_batch` and `compute` give every value and signature.

    Raises:
        UserError: an unknown metric.
    """
    for name in names:
        if name not in METRICS:
            raise UserError(f"unknown metric {name!r}: choose from {', '.join(METRICS)}")
    return evaluate.combine([METRICS[name]() for name in names])


def _corpus(name: str, metric: Any, predictions: Texts, references: Texts) -> dict[str, Any]:
    score = metric.corpus_score(list(predictions), [list(references)]).score
    return {name: score, f"{name}_signature": str(metric.get_signature())}
