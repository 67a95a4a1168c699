"""From answers to scores: every number of scores.json, each with its interval. Pure: texts in, numbers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import spec
from pipelines.masking import Masked
from pipelines.scoring import compare, judge, leaks
from pipelines.scoring.baselines import constant, derangement, lead, sentence
from pipelines.scoring.compare import Estimate
from pipelines.scoring.sentences import METRICS, corpus, sentences

FEWEST_IN_SLICE = 30

Sentences = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class HeldOut:
    """The held-out pairs: ids, sources, references, one each."""

    ids: Sequence[str]
    sources: Sequence[str]
    references: Sequence[str]


def baselines(
    test: HeldOut, outputs: Sequence[str], training_targets: Sequence[str], scoring: spec.Scoring
) -> dict[str, list[str]]:
    """The answers that need no model of their own: `lead`, `sentence`, `constant`, and `other` (`outputs`, deranged)."""
    fixed = constant(training_targets, scoring.metric)
    return {
        "lead": [lead(source, scoring.lead_words, scoring.lead_after) for source in test.sources],
        "sentence": [sentence(source, scoring.lead_after) for source in test.sources],
        "constant": [fixed] * len(outputs),
        "other": [outputs[index] for index in derangement(len(outputs))],
    }


def measure(test: HeldOut, answers: Mapping[str, Sequence[str]], scoring: spec.Scoring) -> dict[str, Any]:
    """Score the answers of every system (`model`, and those it is compared with; one text a pair) against the references.

    Metrics are means of sentence scores, 0 to 100; shares run from 0 to 1.
    """
    points = {system: sentences(METRICS, texts, test.references) for system, texts in answers.items()}
    model = points["model"]
    return {
        "metric": scoring.metric,
        "n": len(test.ids),
        "confidence": scoring.confidence,
        "model": _means(model, scoring),
        "corpus": corpus(answers["model"], test.references),
        "baselines": {
            system: {**_means(theirs, scoring), "difference": _difference(model, theirs, scoring)}
            for system, theirs in points.items()
            if system != "model"
        },
        "slices": _slices(test, points, scoring),
        "judge": _judge(test, answers, scoring),
        "leaks": _leaks(test, answers["model"], scoring),
        "empty": sum(not text.strip() for text in answers["model"]),
        "distinct": len(set(answers["model"])),
    }


def copying(
    pairs: Sequence[Masked], outputs: Sequence[str], given: Sequence[str], scoring: spec.Scoring
) -> dict[str, Any] | None:
    """How well placeholders are copied: shares of the pairs whose output (of `outputs`, by row) holds the shared word as it
    was, and whose output for the masked source (`given`, one a pair) holds the placeholder. None without pairs.

    A summary need not name what its source and reference share: there the two shares are to be compared.
    """
    if not pairs:
        return None
    words = sum(pair.word in outputs[pair.row] for pair in pairs)
    kept = sum(pair.placeholder in output for pair, output in zip(pairs, given, strict=True))
    return {"n": len(pairs), "words": _share(words, len(pairs), scoring), "placeholders": _share(kept, len(pairs), scoring)}


def differences(test: HeldOut, answers: Mapping[str, Sequence[str]], opponent: str, metric: str) -> NDArray[np.float64]:
    """The model's score minus the opponent's, a pair each."""
    ours, theirs = (sentences([metric], answers[system], test.references)[metric] for system in ("model", opponent))
    return ours - theirs


def _means(points: Sentences, scoring: spec.Scoring) -> dict[str, Any]:
    return {
        name: _plain(compare.mean(values, confidence=scoring.confidence, resamples=scoring.resamples))
        for name, values in points.items()
    }


def _difference(ours: Sentences, theirs: Sentences, scoring: spec.Scoring, pick: Any = slice(None)) -> dict[str, Any]:
    a, b = ours[scoring.metric][pick], theirs[scoring.metric][pick]
    estimate = compare.difference(a, b, confidence=scoring.confidence, resamples=scoring.resamples)
    return {**_plain(estimate), "verdict": compare.verdict(estimate)}


def _slices(test: HeldOut, points: Mapping[str, Sentences], scoring: spec.Scoring) -> list[dict[str, Any]]:
    """By terciles of the source's length in words; none when they would be too small to say anything."""
    if len(test.ids) < 3 * FEWEST_IN_SLICE:
        return []
    words = np.array([len(source.split()) for source in test.sources])
    order = np.argsort(words, kind="stable")
    opponent = "champion" if "champion" in points else "lead"
    found = []
    for name, part in zip(("short", "middle", "long"), np.array_split(order, 3), strict=True):
        values = points["model"][scoring.metric][part]
        estimate = compare.mean(values, confidence=scoring.confidence, resamples=scoring.resamples)
        gain = _difference(points["model"], points[opponent], scoring, part)
        span = [int(words[part].min()), int(words[part].max())]
        found.append(
            {"slice": name, "words": span, "n": len(part), "model": _plain(estimate), "against": opponent, "difference": gain}
        )
    return found


def _judge(test: HeldOut, answers: Mapping[str, Sequence[str]], scoring: spec.Scoring) -> dict[str, Any]:
    """Shares flagged: of the model's outputs, and of texts whose truth is known: each source's own reference, and another's."""
    shuffled = [test.references[index] for index in derangement(len(test.ids))]
    columns = {"flagged": answers["model"], "references": test.references, "shuffled": shuffled}
    if "champion" in answers:
        columns["champion"] = answers["champion"]
    flagged = {
        name: np.array([v.flagged for v in judge.flags(test.sources, texts, scoring.judge_threshold)], dtype=np.float64)
        for name, texts in columns.items()
    }
    found: dict[str, Any] = {"threshold": scoring.judge_threshold, "n": len(test.ids)}
    found |= {name: _share(int(values.sum()), len(values), scoring) for name, values in flagged.items()}
    if "champion" in flagged:
        change = compare.difference(
            flagged["flagged"], flagged["champion"], confidence=scoring.confidence, resamples=scoring.resamples
        )
        found["champion"]["difference"] = _plain(change)
    return found


def _leaks(test: HeldOut, outputs: Sequence[str], scoring: spec.Scoring) -> dict[str, Any]:
    ours, theirs = leaks.count(test.sources, outputs), leaks.count(test.sources, test.references)
    kept, wanted = leaks.copied(outputs, test.references)
    n = len(test.ids)
    return {
        "n": n,
        "outputs": _share(ours.outputs, n, scoring),
        "kinds": ours.values,
        "placeholders": _share(ours.placeholders, n, scoring),
        "copied": _share(kept, wanted, scoring) if wanted else None,
        "references": _share(theirs.outputs, n, scoring),
    }


def _share(hits: int, n: int, scoring: spec.Scoring) -> dict[str, Any]:
    return {"count": hits, **_plain(compare.share(hits, n, confidence=scoring.confidence))}


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": [estimate.low, estimate.high]}
