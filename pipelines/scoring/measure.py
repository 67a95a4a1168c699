"""From answers to scores: every number of scores.json, each with its interval. Pure: texts in, numbers out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import spec
from pipelines.masking import Masked
from pipelines.scoring import compare, comparison, habits
from pipelines.scoring.baselines import constant, derangement, lead, sentence
from pipelines.scoring.compare import Estimate
from pipelines.scoring.heldout import HeldOut
from pipelines.scoring.judge import Judge
from pipelines.scoring.judge.judged import Logprobs, judged
from pipelines.scoring.judge.lexical import Lexical
from pipelines.scoring.metrics import tasks
from pipelines.scoring.metrics.sentences import KNOWN, METRICS, corpus, sentences
from pipelines.scoring.safety import leaks

Sentences = Mapping[str, NDArray[np.float64]]


def baselines(
    test: HeldOut, outputs: Sequence[str], training_targets: Sequence[str], scoring: spec.Scoring
) -> dict[str, list[str]]:
    """The answers that need no model of their own: `lead`, `sentence`, `copy` (the source), `constant`, and `other` (`outputs`,
    deranged)."""
    fixed = constant(training_targets, scoring.metric)
    return {
        "lead": [lead(source, scoring.lead_words, scoring.lead_after) for source in test.sources],
        "sentence": [sentence(source, scoring.lead_after) for source in test.sources],
        "copy": list(test.sources),
        "constant": [fixed] * len(outputs),
        "other": [outputs[index] for index in derangement(len(outputs))],
    }


def measure(
    test: HeldOut,
    answers: Mapping[str, Sequence[str]],
    scoring: spec.Scoring,
    judge: Judge | None = None,
    logprobs: Logprobs | None = None,
) -> dict[str, Any]:
    """Score the answers of every system (`model`, and those it is compared with; one text a pair) against the references.

    Metrics are means of sentence scores, 0 to 100 (TER may pass it); shares run from 0 to 1. The `judge` (the lexical one where
    none is given) may read `logprobs`, the mean log-probabilities of tokens, by system.

    Raises:
        UserError: a metric of `scoring.tasks` finds nothing to measure in a reference, or METEOR is asked for without WordNet.
    """
    names = KNOWN if scoring.asks_meteor else METRICS
    points = {system: sentences(names, texts, test.references) for system, texts in answers.items()}
    model = points["model"]
    gating = {system: theirs[scoring.metric] for system, theirs in points.items()}
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
        "comparison": comparison.against(gating, scoring),
        "slices": comparison.sliced(test, gating, scoring),
        "tasks": _tasks(test, answers, scoring),
        "copied": habits.copying(test.sources, answers["model"], test.references, scoring),
        "looping": habits.looping(test.sources, answers["model"], test.references, scoring),
        "judge": judged(test, answers, scoring, judge or Lexical(scoring.judge_threshold), logprobs or {}),
        "leaks": _leaks(test, answers["model"], scoring),
        "empty": sum(not text.strip() for text in answers["model"]),
        "distinct": len(set(answers["model"])),
    }


def overfit(
    test: HeldOut, outputs: Sequence[str], seen: HeldOut, seen_outputs: Sequence[str], scoring: spec.Scoring
) -> dict[str, Any] | None:
    """What the model does with pairs that it has trained on (`seen`), beside held-out ones; None where they are too few."""
    ours, theirs = (
        sentences([scoring.metric], texts, pairs.references)[scoring.metric]
        for texts, pairs in ((seen_outputs, seen), (outputs, test))
    )
    known = habits.by_heart(seen_outputs, seen.references), habits.by_heart(outputs, test.references)
    return habits.overfit(ours, theirs, known, scoring)


def copying(
    pairs: Sequence[Masked], outputs: Sequence[str], given: Sequence[str], scoring: spec.Scoring
) -> dict[str, Any] | None:
    """How well placeholders are copied: shares of the pairs whose output (of `outputs`, by row) holds the shared word as it
    was, and whose output for the masked source (`given`, one a pair) holds the placeholder; and of the former, those that are
    of the latter, too. None without pairs.

    A summary need not name what its source and reference share: only where it names the word must it name the placeholder.
    """
    if not pairs:
        return None
    named = [pair.word in outputs[pair.row] for pair in pairs]
    kept = [pair.placeholder in output for pair, output in zip(pairs, given, strict=True)]
    words, placeholders = (_share(sum(each), len(pairs), scoring) for each in (named, kept))
    both = sum(map(all, zip(named, kept, strict=True)))
    also = _share(both, sum(named), scoring) if any(named) else None
    return {"n": len(pairs), "words": words, "placeholders": placeholders, "where_named": also}


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


def _tasks(test: HeldOut, answers: Mapping[str, Sequence[str]], scoring: spec.Scoring) -> dict[str, Any]:
    """Each metric that `scoring.tasks` asks for: the model's, and in `beside` those of the champion and of the references."""
    known = {**answers, "references": test.references}
    by_system = {
        system: tasks.of_pairs(known[system], test.references, scoring.tasks)
        for system in ("model", "champion", "references")
        if system in known
    }
    found = {}
    for name, values in by_system.pop("model").items():
        beside = {system: _level(theirs[name], scoring) for system, theirs in by_system.items()}
        found[name] = {**_level(values, scoring), "n": len(values), "beside": beside}
    return found


def _level(values: NDArray[np.float64], scoring: spec.Scoring) -> dict[str, Any]:
    """A mean of shares: exact where all are 0 or 1, else by bootstrap."""
    if np.isin(values, (0.0, 1.0)).all():
        return _plain(compare.share(int(values.sum()), len(values), confidence=scoring.confidence))
    return _plain(compare.mean(values, confidence=scoring.confidence, resamples=scoring.resamples))


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
        "reference_placeholders": _share(theirs.placeholders, n, scoring),
    }


def _share(hits: int, n: int, scoring: spec.Scoring) -> dict[str, Any]:
    return {"count": hits, **_plain(compare.share(hits, n, confidence=scoring.confidence))}


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": [estimate.low, estimate.high]}
