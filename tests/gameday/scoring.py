"""A fault's score, of what was seen of it: detected and recovered in how many seconds, requests failed, data lost. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tests.gameday.senders import Fate

GOOD, TOO_MUCH, REFUSED, STARTING = "200", "429", "refused", "starting"
NOT_YET = re.compile("no model in production yet|the model in production is being started")
"""What a gateway says that has just been started: it lets nobody in yet."""


@dataclass
class Seen:
    """What was seen of a fault. Times are seconds since the epoch, None for what never came.

    It `struck`; the system said so (`detected`, in its own words: `by`); it was `mended`, as its own state says (`how`); the
    senders were looked at `until` then. `right` are the versions that may answer.
    """

    fault: str
    struck: float = 0.0
    detected: float | None = None
    by: str = ""
    mended: float | None = None
    how: str = ""
    until: float = 0.0
    right: frozenset[str] = frozenset()
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str = ""


@dataclass(frozen=True)
class Score:
    """One line of the table. Seconds from the strike; requests that were on their way then or sent later, until the end.

    `turned_away` were never admitted (no connection, or a gateway that says that it is being started); `overloaded` had to
    come later (429); all others that were not answered by a right version have `failed`. `lost` names what is gone, answered
    requests without an event among it. It struck `at` (seconds since the epoch).
    """

    fault: str
    detected: float | None
    by: str
    recovered: float | None
    how: str
    sent: int
    failed: int
    turned_away: int
    overloaded: int
    longest: float
    statuses: Mapping[str, int]
    lost: Sequence[str]
    notes: Sequence[str]
    skipped: str
    at: float

    @property
    def holds(self) -> bool | None:
        """Whether it was detected and recovered, without a failure or a loss; None where it could not be done."""
        if self.skipped:
            return None
        return self.detected is not None and self.recovered is not None and not self.failed and not self.lost


def score(seen: Seen, fates: Sequence[Fate], written: Collection[str]) -> Score:
    """`written` are the requests with an event in the journal."""
    met = [fate for fate in fates if fate.done >= seen.struck and fate.sent <= seen.until]
    statuses = Counter(status(fate, seen.right) for fate in met)
    unwritten = sum(fate.status == GOOD and fate.request not in written for fate in met)
    failed = sum(count for what, count in statuses.items() if what not in (GOOD, TOO_MUCH, REFUSED, STARTING))
    return Score(
        fault=seen.fault,
        detected=_since(seen.struck, seen.detected),
        by=seen.by,
        recovered=_since(seen.struck, recovered(seen, met)),
        how=seen.how,
        sent=len(met),
        failed=failed,
        turned_away=statuses[REFUSED] + statuses[STARTING],
        overloaded=statuses[TOO_MUCH],
        longest=max((fate.done - fate.sent for fate in met), default=0.0),
        statuses=dict(sorted(statuses.items())),
        lost=[*seen.lost, *([f"{unwritten} events of answered requests"] if unwritten else [])],
        notes=list(seen.notes),
        skipped=seen.skipped,
        at=seen.struck,
    )


def status(fate: Fate, right: Collection[str]) -> str:
    """That of the answer; one of another version than those that may answer is `version N`."""
    if fate.status == "503" and NOT_YET.search(fate.said):
        return STARTING
    wrong = fate.status == GOOD and bool(right) and fate.version not in right
    return f"version {fate.version}" if wrong else fate.status


def recovered(seen: Seen, fates: Sequence[Fate]) -> float | None:
    """When all was well again: it was mended, and a right answer came after the last request that got none."""
    if seen.mended is None:
        return None
    good = [fate for fate in fates if status(fate, seen.right) == GOOD]
    bad = [fate.sent for fate in fates if status(fate, seen.right) != GOOD]
    after = [fate.done for fate in good if not bad or fate.sent > max(bad)]
    if not after:
        return None
    return max(seen.mended, min(after)) if bad else seen.mended


def lost(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was there before (name -> digest) and is gone or changed since."""
    gone = [f"{name} is gone" for name in before if name not in after]
    changed = [f"{name} is changed" for name, digest in before.items() if name in after and after[name] != digest]
    return sorted([*gone, *changed])


def _since(struck: float, moment: float | None) -> float | None:
    return None if moment is None else max(0.0, moment - struck)
