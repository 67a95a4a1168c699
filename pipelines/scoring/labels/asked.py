"""Which answers people are asked about next: most by the judge's verdict, at random within it; a few because they may be wrong.

Only those drawn at random by the verdict correct the judge's rate (labelled.py). What is sought out (a sender complained,
canary and champion were judged differently) teaches the judge and tests it, and would bias a rate.

A trace is among the traces with a probability that differs (a filter's doubt brings it in always, chance one in a hundred), so
each is kept for the draw with its weight over the largest one of its stratum. Then all answers of a stratum are equally likely,
as `corrected` asks. Every choice hangs on a hash of the trace's id and on past labels alone, so it can be repeated.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pipelines.registry.queues import Listed
from pipelines.scoring.labels.corrected import Stratum, next_labels

FLAGGED, PASSED = "flagged", "passed"
NEGATIVE, DISAGREEMENT, RANDOM = "negative", "disagreement", "random"
SOUGHT_SHARE = 0.1  # of the queue, for each of negative, disagreement and random
BAD = frozenset({"down", "1", "2", "correction"})  # what a sender says of an answer that was bad
Asked = dict[str, frozenset[str]]
"""Trace -> all strata that it is drawn by."""


def stratum_of(flagged: bool) -> str:
    """The stratum of a verdict."""
    return FLAGGED if flagged else PASSED


def ask(
    listed: Sequence[Listed], waiting: frozenset[str], sides: tuple[Stratum, Stratum] | None, size: int, version: str
) -> Asked:
    """What to put into the queue so that `size` answers of `version` wait in it: fewer where there are no more to ask about.

    `listed` are all sampled answers of the model, `waiting` those that nobody has finished with; `sides` counts what was
    flagged and passed of the version (labelled.strata), None where no judge reads it.
    """
    own = [each for each in listed if each.version == version]
    now = [each for each in own if each.trace in waiting]
    found: dict[str, set[str]] = defaultdict(set)
    room = size - len(now)
    if room <= 0:
        return {}
    for name, candidates in ((NEGATIVE, _negative(own)), (DISAGREEMENT, _disagreeing(listed, version)), (RANDOM, own)):
        quota = int(size * SOUGHT_SHARE) - sum(name in each.drawn for each in now)
        room -= _draw(_new(candidates, found), name, found, min(quota, room))
    if sides and sum(each.judged for each in sides):
        _by_verdict(own, now, found, sides, room)
    else:  # chance alone is left
        _draw(_new(own, found), RANDOM, found, room)
    drawn = {each.trace: each.drawn for each in own}
    return {trace: drawn[trace] | names for trace, names in found.items()}


def pool(listed: Iterable[Listed], flagged: bool) -> list[Listed]:
    """Of the traces with this verdict those kept for the draw, in its order; a random sample of all answers judged so."""
    own = [each for each in listed if each.flagged is flagged]
    most = max((each.weight for each in own), default=1.0)
    return _shuffled(each for each in own if unit("kept", each.trace) * most < each.weight)


def unit(salt: str, trace: str) -> float:
    """A trace's place in [0, 1) under `salt`, even and the same for ever."""
    return int.from_bytes(hashlib.sha256(f"{salt} {trace}".encode()).digest()[:7]) / 2**56


def _by_verdict(
    own: Sequence[Listed], now: Sequence[Listed], found: dict[str, set[str]], sides: tuple[Stratum, Stratum], room: int
) -> None:
    """Draw up to `room` labels into `found`, split as `next_labels` says; one that was drawn for another reason costs none."""
    waits = [sum(stratum_of(side) in each.drawn for each in now) for side in (True, False)]
    wanted = next_labels(*sides, room + sum(waits))
    for flagged, count, here in zip((True, False), wanted, waits, strict=True):
        room -= _draw(pool(own, flagged), stratum_of(flagged), found, min(count - here, room))
    for flagged in (True, False):  # what one stratum lacks, the other may have
        room -= _draw(pool(own, flagged), stratum_of(flagged), found, room)


def _draw(candidates: Sequence[Listed], name: str, found: dict[str, set[str]], count: int) -> int:
    """Mark up to `count` of the `candidates`, in their order, that are not drawn by `name` yet; how many are new labels."""
    marked = 0
    for each in candidates:
        if marked >= count:
            break
        if name not in each.drawn and name not in found.get(each.trace, ()):
            marked += not each.drawn and each.trace not in found
            found[each.trace].add(name)
    return marked


def _new(candidates: Iterable[Listed], found: Mapping[str, set[str]]) -> list[Listed]:
    """Those that were never drawn, in the order of the draw."""
    return _shuffled(each for each in candidates if not each.drawn and each.trace not in found)


def _negative(own: Sequence[Listed]) -> list[Listed]:
    return [each for each in own if each.feedback in BAD]


def _disagreeing(listed: Sequence[Listed], version: str) -> list[Listed]:
    """Answers of `version` judged otherwise than another version's to the same source of the same request."""
    verdicts: Mapping[tuple[str, str], dict[str, bool]] = defaultdict(dict)
    for each in listed:
        if each.flagged is not None and each.request:
            verdicts[each.request, each.source][each.version] = each.flagged
    return [each for each in listed if each.version == version and len(set(verdicts[each.request, each.source].values())) > 1]


def _shuffled(listed: Iterable[Listed]) -> list[Listed]:
    return sorted(listed, key=lambda each: (unit("order", each.trace), each.trace))
