"""Which answers people are asked about next: most by the judge's verdict, at random within it; a few because they may be wrong.

Only those drawn at random by the verdict correct the judge's rate (labelled.py). What is sought out (strata.py: a sender
complained, canary and champion differ, the judge found little support, a filter doubted, the text is like none of training)
teaches the judge and tests it, and would bias that rate; with its probability (`strata.chances`) it can still be weighed.

A trace is among the traces with a probability that differs (a filter's doubt brings it in always, chance one in a hundred), so
each is kept for the draw with its weight over the largest one of its stratum. Then all answers of a stratum are equally likely,
as `corrected` asks. Every choice hangs on a hash of the trace's id and on past labels alone, so it can be repeated.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipelines.registry.queues import Listed
from pipelines.scoring.labels.corrected import Stratum, next_labels
from pipelines.scoring.labels.strata import RANDOM, pools, shuffled, stratum_of, verdict_pool

SOUGHT_SHARE, SOUGHT_MOST = 0.1, 0.3  # of the queue: for one stratum, and for all but the verdicts' together
Asked = dict[str, frozenset[str]]
"""Trace -> all strata that it is drawn by."""


def ask(
    listed: Sequence[Listed],
    waiting: frozenset[str],
    sides: tuple[Stratum, Stratum] | None,
    size: int,
    version: str,
    strange: Mapping[str, float] | None = None,
) -> Asked:
    """What to put into the queue so that `size` answers of `version` wait in it: fewer where there are no more to ask about.

    `listed` are all sampled answers of the model, `waiting` those that nobody has finished with; `sides` counts what was
    flagged and passed of the version (labelled.strata), None where no judge reads it; `strange` as in `pools`.
    """
    own = [each for each in listed if each.version == version]
    now = [each for each in own if each.trace in waiting]
    found: dict[str, set[str]] = defaultdict(set)
    room = size - len(now)
    if room <= 0:
        return {}
    sought = {name: pool for name, pool in pools(listed, version, strange or {}).items() if pool}
    for name, most in _quotas(list(sought), size).items():
        quota = most - sum(name in each.drawn for each in now)
        room -= _draw(sought[name], name, found, min(quota, room))
    if sides and sum(each.judged for each in sides):
        _by_verdict(own, now, found, sides, room)
    else:  # chance alone is left
        _draw(shuffled(own), RANDOM, found, room)
    drawn = {each.trace: each.drawn for each in own}
    return {trace: drawn[trace] | names for trace, names in found.items()}


def _quotas(names: Sequence[str], size: int) -> dict[str, int]:
    """How many of `size` each stratum may have: a tenth, or its part of what they may have together; the first get more."""
    whole, over = divmod(int(size * SOUGHT_MOST), max(1, len(names)))
    return {name: min(int(size * SOUGHT_SHARE), whole + (number < over)) for number, name in enumerate(names)}


def _by_verdict(
    own: Sequence[Listed], now: Sequence[Listed], found: dict[str, set[str]], sides: tuple[Stratum, Stratum], room: int
) -> None:
    """Draw up to `room` labels into `found`, split as `next_labels` says; one that was drawn for another reason costs none."""
    waits = [sum(stratum_of(side) in each.drawn for each in now) for side in (True, False)]
    wanted = next_labels(*sides, room + sum(waits))
    for flagged, count, here in zip((True, False), wanted, waits, strict=True):
        room -= _draw(verdict_pool(own, flagged), stratum_of(flagged), found, min(count - here, room))
    for flagged in (True, False):  # what one stratum lacks, the other may have
        room -= _draw(verdict_pool(own, flagged), stratum_of(flagged), found, room)


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
