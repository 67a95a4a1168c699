"""What the judge says of a whole test set: `judge` in scores.json."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines import spec
from pipelines.scoring import compare
from pipelines.scoring.baselines import derangement
from pipelines.scoring.judge import Judge
from pipelines.scoring.judge.head import auroc

if TYPE_CHECKING:
    from pipelines.scoring.heldout import HeldOut

Logprobs = Mapping[str, Sequence[float | None]]


def judged(
    test: "HeldOut", answers: Mapping[str, Sequence[str]], scoring: spec.Scoring, judge: Judge, logprobs: Logprobs
) -> dict[str, Any]:
    """Shares flagged: of the model's outputs, and of texts whose truth is known: each source's own reference, and another's.

    Beside them the judge's name and threshold, and how well its probabilities tell these references from those (`auroc`).
    `logprobs` are the mean log-probabilities of tokens, of the systems that have them.
    """
    shuffled = [test.references[index] for index in derangement(len(test.ids))]
    texts = {"flagged": answers["model"], "references": test.references, "shuffled": shuffled}
    if "champion" in answers:
        texts["champion"] = answers["champion"]
    known = {"flagged": logprobs.get("model"), "champion": logprobs.get("champion")}
    verdicts = {name: judge.judge(test.sources, each, known.get(name)) for name, each in texts.items()}
    flagged = {name: [float(verdict.flagged) for verdict in each] for name, each in verdicts.items()}
    found: dict[str, Any] = {"name": judge.name, "threshold": judge.threshold, "n": len(test.ids)}
    for name, each in flagged.items():
        estimate = compare.share(int(sum(each)), len(each), confidence=scoring.confidence)
        found[name] = {"count": int(sum(each)), "value": estimate.value, "interval": [estimate.low, estimate.high]}
    doubts = [verdict.probability for name in ("references", "shuffled") for verdict in verdicts[name]]
    told = auroc(doubts, [False] * len(shuffled) + [True] * len(shuffled), confidence=scoring.confidence)
    found["auroc"] = {"value": told.value, "interval": [told.low, told.high]}
    if "champion" in flagged:
        ours, theirs = flagged["flagged"], flagged["champion"]
        change = compare.difference(ours, theirs, confidence=scoring.confidence, resamples=scoring.resamples)
        found["champion"]["difference"] = {"value": change.value, "interval": [change.low, change.high]}
    return found
