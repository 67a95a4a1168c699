"""What a report keeps of every test pair, for its page, for MLflow's table and for whoever looks again."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipelines import spec
from pipelines.scoring.judge import Judge
from pipelines.scoring.metrics.sentences import sentences

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.decode import Answer
    from pipelines.scoring.heldout import HeldOut

DIGITS = 4


def rows(
    test: "HeldOut", decoded: "Sequence[Answer]", champion: Sequence[str] | None, scoring: spec.Scoring, judge: Judge
) -> "pa.Table":
    """A row a pair, in the test split's order.

    id, output; score (by the metric that gates, 0 to 100), logprob (natural log, mean of the output's tokens; null where the
    answer was made in parts), finished (the model ended it itself), probability (the judge's P(unsupported)), spans (JSON:
    what of the output the judge does not find in the source; characters), champion (its output; null without one),
    champion_score.
    """
    import pyarrow as pa

    outputs = [answer.text for answer in decoded]
    scores, theirs = (_scores(texts, test.references, scoring.metric) for texts in (outputs, champion))
    logprobs = [mean_logprob(answer) for answer in decoded]
    verdicts = judge.judge(test.sources, outputs, logprobs)
    spans = [json.dumps([asdict(span) for span in verdict.unsupported], ensure_ascii=False) for verdict in verdicts]
    columns = {
        "id": list(test.ids),
        "output": outputs,
        "score": scores,
        "logprob": logprobs,
        "finished": [answer.finished for answer in decoded],
        "probability": [round(verdict.probability, DIGITS) for verdict in verdicts],
        "spans": spans,
        "champion": list(champion) if champion is not None else [None] * len(outputs),
        "champion_score": theirs,
    }
    kinds = {name: pa.float64() for name in ("score", "logprob", "probability", "champion_score")} | {"finished": pa.bool_()}
    return pa.table(columns, schema=pa.schema([(name, kinds.get(name, pa.string())) for name in columns]))


def _scores(outputs: Sequence[str] | None, references: Sequence[str], metric: str) -> Sequence[float | None]:
    if outputs is None:
        return [None] * len(references)
    return [round(float(score), DIGITS) for score in sentences([metric], outputs, references)[metric]]


def mean_logprob(answer: "Answer") -> float | None:
    """Per token, the end mark among them where the model wrote it: longer answers are not doubted for being long."""
    if answer.logprob is None:
        return None
    return round(answer.logprob / max(answer.target_tokens + answer.finished, 1), DIGITS)
