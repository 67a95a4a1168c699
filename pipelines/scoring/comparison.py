"""The model against its opponents, over all pairs and slice by slice: what differs, how surely, and what that allows to say."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import spec
from pipelines.scoring import compare
from pipelines.scoring.heldout import HeldOut

Scores = NDArray[np.float64]
Rows = NDArray[np.int64]

ENTITY = re.compile(r"<[A-Z_]+_\d+>|\b\d[\w.,]*|(?<=[^\W\d_][ ,;])[A-Z]\w+")
"""A placeholder, a number, or a word with a capital that begins no sentence."""
DOMAINS = 12  # most that are told apart: the largest


@dataclass(frozen=True)
class Slice:
    """The pairs (by row) that `name` says, of the slices by `dimension`; `facts` go into the report."""

    dimension: str
    name: str
    rows: Rows
    facts: Mapping[str, Any]


def against(points: Mapping[str, Scores], scoring: spec.Scoring) -> dict[str, dict[str, Any]]:
    """For each opponent in `points` (scores by system, a pair each): the model's gain, its interval (paired bootstrap), the p
    of no gain (approximate randomization), and the verdict, for the champion by the gate's margin.
    """
    return {opponent: _gain(points, opponent, scoring) for opponent in points if opponent != "model"}


def _gain(points: Mapping[str, Scores], opponent: str, scoring: spec.Scoring) -> dict[str, Any]:
    margin = scoring.gate.margin if opponent == "champion" else 0.0
    ours, theirs = points["model"], points[opponent]
    gain = compare.difference(ours, theirs, confidence=scoring.confidence, resamples=scoring.resamples)
    return {
        "difference": gain.value,
        "interval": [gain.low, gain.high],
        "n": gain.n,
        "p": compare.randomization(ours, theirs, resamples=scoring.resamples),
        "margin": margin,
        "verdict": compare.verdict(gain, margin),
    }


def sliced(test: HeldOut, points: Mapping[str, Scores], scoring: spec.Scoring) -> list[dict[str, Any]]:
    """The model's scores in every slice that `scoring.slices` asks for, and its gain on the champion (on `lead` while there is
    none), with p also as Holm (1979) adjusts it over all slices.

    A slice is called better or worse only by its adjusted p: of twenty slices of equal models one looks different.
    """
    opponent = "champion" if "champion" in points else "lead"
    margin = (scoring.gate.slice_margin or scoring.gate.margin) if opponent == "champion" else 0.0
    parts = [part for part in slices(test, scoring.slices) if len(part.rows) >= scoring.slices.fewest]
    found = []
    for part in parts:
        ours, theirs = points["model"][part.rows], points[opponent][part.rows]
        level = compare.mean(ours, confidence=scoring.confidence, resamples=scoring.resamples)
        gain = compare.difference(ours, theirs, confidence=scoring.confidence, resamples=scoring.resamples)
        p = compare.randomization(ours, theirs, resamples=scoring.resamples)
        found.append((part, level, gain, p))
    adjusted = compare.holm([p for *_, p in found])
    return [
        {
            "dimension": part.dimension,
            "slice": part.name,
            "n": len(part.rows),
            **part.facts,
            "model": {"value": level.value, "interval": [level.low, level.high]},
            "against": opponent,
            "difference": {
                "value": gain.value,
                "interval": [gain.low, gain.high],
                "p": p,
                "p_adjusted": sure,
                "margin": margin,
                "verdict": _verdict(gain, margin, sure, 1 - scoring.confidence),
            },
        }
        for (part, level, gain, p), sure in zip(found, adjusted, strict=True)
    ]


def _verdict(gain: compare.Estimate, margin: float, adjusted: float, alpha: float) -> compare.Outcome:
    """That all are "not worse" needs no adjusting: it is asked of all slices at once, so that each is one more way to fail."""
    said = compare.verdict(gain, margin)
    if adjusted < alpha:
        return said
    return {"better": "not worse", "worse": "inconclusive"}.get(said, said)  # type: ignore[return-value]


def slices(test: HeldOut, asked: spec.Slices) -> Iterator[Slice]:
    """The parts of the test set, of every dimension asked for, however small they are; and, where the test set has grown since
    its first draw, what it had then beside what joined."""
    sources = test.sources
    if test.fresh:
        came = np.array([each in test.fresh for each in test.ids])
        yield Slice("fresh", "no", np.flatnonzero(~came), {})
        yield Slice("fresh", "yes", np.flatnonzero(came), {})
    if asked.length:
        yield from _by_length(sources)
    if asked.domain:
        yield from _by_domain(sources, asked.domain)
    if asked.entities:
        yield from _by_entities(sources)
    for term in asked.terms:
        whole = re.compile(rf"(?<!\w){re.escape(term)}(?!\w)", re.IGNORECASE)
        has = [bool(whole.search(a) or whole.search(b)) for a, b in zip(sources, test.references, strict=True)]
        yield Slice("terms", term, np.flatnonzero(has), {})


def _by_length(sources: Sequence[str]) -> Iterator[Slice]:
    words = np.array([len(source.split()) for source in sources])
    thirds = np.array_split(np.argsort(words, kind="stable"), 3)
    for name, part in zip(("short", "middle", "long"), thirds, strict=True):
        if len(part):
            yield Slice("length", name, part, {"words": [int(words[part].min()), int(words[part].max())]})


def _by_domain(sources: Sequence[str], mark: str) -> Iterator[Slice]:
    stated = [source.partition(mark)[2].partition("\n")[0].strip() for source in sources]
    largest = sorted(Counter(filter(None, stated)).items(), key=lambda item: (-item[1], item[0]))[:DOMAINS]
    for name, _ in largest:
        yield Slice("domain", name, np.flatnonzero([each == name for each in stated]), {})


def _by_entities(sources: Sequence[str]) -> Iterator[Slice]:
    dense = np.array([len(ENTITY.findall(source)) / max(1, len(source.split())) for source in sources])
    if not len(dense) or dense.max() == dense.min():
        return  # all alike
    order = np.argsort(-dense, kind="stable")
    third = len(order) // 3
    yield Slice("entities", "rich", np.sort(order[:third]), {})
    yield Slice("entities", "other", np.sort(order[third:]), {})
