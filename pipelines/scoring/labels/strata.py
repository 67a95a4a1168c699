"""The strata of answers that people are asked about beside chance and the judge's verdict, because these may be wrong.

A stratum is a pool of traces in the order of the draw, a hash of their ids: the first of it that are not drawn yet are drawn
next. So whom a pool loses to the queue is chance, and a trace's probability of being drawn can be told (`chances`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rapidfuzz.distance import Levenshtein

from pipelines.registry.queues import Listed

FLAGGED, PASSED = "flagged", "passed"
NEGATIVE, DISAGREEMENT, RANDOM = "negative", "disagreement", "random"
LOW, FILTERED, DRIFTED = "low score", "filtered", "drifted"
BAD = frozenset({"down", "1", "2", "correction"})  # what a sender says of an answer that was bad
MOST, FEWEST = 0.1, 20
"""Of a ranking its first tenth are a stratum, or its first 20: the lowest supports, the strangest texts, the furthest apart."""
Pools = Mapping[str, Sequence[Listed]]


def pools(listed: Sequence[Listed], version: str, strange: Mapping[str, float]) -> Pools:
    """The answers of `version` that each stratum may draw, in its order.

    `listed` are the model's; `strange` says of a trace how little its source is like training (0: wholly), where that is known.
    """
    own = [each for each in listed if each.version == version]
    low = {each.trace: 1 - each.support for each in own if each.support is not None}
    return {
        NEGATIVE: shuffled(each for each in own if each.feedback in BAD),
        DISAGREEMENT: _most(own, apart(listed, version)),
        RANDOM: shuffled(own),
        LOW: _most(own, low),
        FILTERED: shuffled(each for each in own if each.flags),
        DRIFTED: _most(own, strange),
    }


def verdict_pool(listed: Iterable[Listed], flagged: bool) -> list[Listed]:
    """Of the traces with this verdict those kept for the draw, in its order; a random sample of all answers judged so."""
    own = [each for each in listed if each.flagged is flagged]
    most = max((each.weight for each in own), default=1.0)
    return shuffled(each for each in own if unit("kept", each.trace) * most < each.weight)


def apart(listed: Sequence[Listed], version: str) -> dict[str, float]:
    """How far the answers of `version` are from another version's to the same source of the same request, over 0 to 2.

    The share of words that differ, and one more where the judge tells them apart: what one of both answered is wrong.
    """
    pairs: Mapping[tuple[str, str], list[Listed]] = defaultdict(list)
    for each in listed:
        if each.request:
            pairs[each.request, each.source].append(each)
    found: dict[str, float] = {}
    for same in pairs.values():
        for each in same:
            others = [other for other in same if other.version != version] if each.version == version else []
            far = max((_difference(each, other) for other in others), default=0.0)
            if far > 0:
                found[each.trace] = far
    return found


def chances(
    listed: Sequence[Listed], found: Mapping[str, frozenset[str]], version: str, strange: Mapping[str, float]
) -> dict[str, float]:
    """With which probability each drawn answer of `version` is drawn by any stratum; of those alone where it rose.

    `found` is what is drawn now. All strata draw in one order, by a hash u that is even over [0, 1), so a pool whose first
    undrawn trace has u = t has drawn what is below t: with probability t (that trace is itself left out, so that an estimate
    that divides by t has no bias: Duffield, Lund and Thorup, Priority sampling, 2007). A trace of several pools is drawn below
    the largest t. Of a verdict's pool, a trace is a member with a probability too. A draw that was likelier before stays so.
    """
    own = [each for each in listed if each.version == version]
    drawn = {each.trace: each.drawn | found.get(each.trace, frozenset()) for each in own}
    sought: dict[str, float] = defaultdict(float)
    for name, pool in pools(listed, version, strange).items():
        bound = _bound(pool, name, drawn)
        for each in pool:
            sought[each.trace] = max(sought[each.trace], bound)
    told: dict[str, float] = {}
    most = {side: max((each.weight for each in own if each.flagged is side), default=1.0) for side in (True, False)}
    bounds = {side: _bound(verdict_pool(own, side), stratum_of(side), drawn) for side in (True, False)}
    for each in own:
        low = sought[each.trace]
        member = each.weight / most[each.flagged] if each.flagged is not None else 0.0
        high = max(low, bounds[each.flagged]) if each.flagged is not None else low
        chance = member * high + (1 - member) * low
        if drawn[each.trace] and chance > (each.chance or 0.0):
            told[each.trace] = chance
    return told


def stratum_of(flagged: bool) -> str:
    """The stratum of a verdict."""
    return FLAGGED if flagged else PASSED


def unit(salt: str, trace: str) -> float:
    """A trace's place in [0, 1) under `salt`, even and the same for ever."""
    return int.from_bytes(hashlib.sha256(f"{salt} {trace}".encode()).digest()[:7]) / 2**56


def shuffled(listed: Iterable[Listed]) -> list[Listed]:
    return sorted(listed, key=lambda each: (unit("order", each.trace), each.trace))


def _bound(pool: Sequence[Listed], name: str, drawn: Mapping[str, frozenset[str]]) -> float:
    """Below which place all of the pool are drawn by `name`: that of the first that is not; 0 where none is drawn at all."""
    if not any(name in drawn[each.trace] for each in pool):
        return 0.0
    return next((unit("order", each.trace) for each in pool if name not in drawn[each.trace]), 1.0)


def _most(own: Sequence[Listed], score: Mapping[str, float]) -> list[Listed]:
    """Those with the largest scores above 0."""
    ranked = sorted((each for each in own if score.get(each.trace, 0.0) > 0), key=lambda each: (-score[each.trace], each.trace))
    return shuffled(ranked[: max(FEWEST, int(len(ranked) * MOST))])


def _difference(one: Listed, other: Listed) -> float:
    told = None not in (one.flagged, other.flagged) and one.flagged is not other.flagged
    return Levenshtein.normalized_distance(one.output.split(), other.output.split()) + told
