"""What the answers prove about a canary: e-processes, valid at any time, for any traffic and any schedule of weights.

An e-process is wealth from a fair game: it starts at 1 and, if the hypothesis it bets against is true, the chance that it
ever passes 1/alpha is at most alpha (Ville's inequality; Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-
valid inference"). Two hypotheses are bet against, per SLI:

- *the canary is no worse* (`Wealth`): users are split by a salted hash, so a bad answer falls to a canary user with
  probability w, the canary's share. If the canary is r times as bad it is theta = w r/(w r + 1 - w). The bet is mixed over r
  and over the time of the change (`bets.py`). A mirrored request is seen by both arms: a pair in which just one is bad is
  such an event with w = 1/2.
- *the canary burns at least k times max(budget, the champion's own rate)* (`exclusion.py`): what a stage must exclude.

Where a stage is mirrored, too, the capital is split at its start (`MIRROR`) into one game on the users' answers and one on
the pairs, each with users of its own: an answer of the champion is part of both, so the two may be averaged, never multiplied.

Some SLIs are scored, not judged good or bad (`SCORED`): the bet is on the difference of a pair's two scores (`scores.py`).

Only a user's first bad answer, or first pair of scores, is bet on: later ones are predictable from the first. The others are
counted and shown.
Everything here is pure; `fold(fold(e, a), b) == fold(e, a + b)`, so that evidence is carried over any number of ticks.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pipelines.rollout import logspace
from pipelines.rollout.bets import Wealth, bad_factors, both_factors
from pipelines.rollout.counts import HALF_LIFE, NOTHING, Count, Recent
from pipelines.rollout.scores import Scores
from pipelines.rollout.store import Event

__all__ = ["HALF_LIFE", "Count", "Evidence", "Half", "Recent", "Sli", "enter", "fold", "keys", "lapse", "log_worse", "rearm"]

COMMON = 0.05  # from this rate on good answers are bet on too: bad ones alone would waste most of what is known
KNOWN = 20  # champion answers before its rate is used for that
SETTLE = {
    "answer": 2.0,
    "verdict": 15.0,
}  # seconds until no event of the old weight comes (gateways poll every 0.2; judges lag)
PAIR_WAIT = 30.0  # seconds that one half of a mirrored pair waits for the other
PAIR_MOST = 5_000
MIRROR = 0.25  # share of the capital that goes on betting on mirrored pairs where users are served as well
UNPAIRED = frozenset({"latency"})  # a mirrored request is asked second, of a colder engine: counted, shown, not bet on
SCORED = frozenset({"quality"})  # a score of each answer, bet on in pairs alone: the "bad" one of a pair is the lower


@dataclass(frozen=True, slots=True)
class Sli:
    """What is known of one SLI: its wealth, and counts over the rollout, over the stage, and over mirrored pairs.

    `stage_mirror` is the canary in the mirrored pairs of this stage.
    `pairs` is the wealth of the game on mirrored pairs in a stage that serves users, too; None where there is no such game.
    `scores` is the game of a scored SLI; None before its first pair, and of all others.
    """

    wealth: Wealth = Wealth()  # noqa: RUF009 (frozen)
    champion: Count = NOTHING
    canary: Count = NOTHING
    stage_champion: Count = NOTHING
    stage_canary: Count = NOTHING
    mirror_champion: Count = NOTHING
    mirror_canary: Count = NOTHING
    stage_mirror: Count = NOTHING
    pairs: Wealth | None = None
    recent: Recent = Recent()  # noqa: RUF009 (frozen)
    scores: Scores | None = None

    @property
    def log(self) -> float:
        """Natural log of the e-value against "the canary is no worse" in this SLI."""
        if self.scores is not None:
            return self.scores.log
        if self.pairs is None:
            return self.wealth.log
        return logspace.add(self.wealth.log + math.log1p(-MIRROR), self.pairs.log + math.log(MIRROR))


@dataclass(frozen=True, slots=True)
class Half:
    """One arm's half of a mirrored request, waiting for the other's."""

    arm: str
    slis: Mapping[str, bool]
    at: float
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a rollout has seen. `users` ("SLI:user" of those bet on) may be kept elsewhere between folds (`keys`).

    `weights` are (since, share of the users in the canary); `fused` is the time since which a gateway keeps the canary's
    traffic down by itself, so that the share is no longer known; `fuses` how often that was in this stage; `beside_fuse`
    how the champion answered since; `entered` when this stage began.
    """

    champion: str
    canary: str
    slis: Mapping[str, Sli]
    weights: tuple[tuple[float, float], ...] = ()
    users: frozenset[str] = frozenset()
    halves: Mapping[str, Half] = field(default_factory=dict)
    fused: float | None = None
    fuses: int = 0
    beside_fuse: Count = NOTHING
    last: float | None = None
    entered: float = 0.0

    def share(self, at: float, kind: str = "answer") -> tuple[float, bool]:
        """Return the canary's share for an event at `at`, and whether it is exact.

        Just after a change a gateway may still split by the old share: then the larger of the two is returned, which can
        only lower the wealth of a bet on a bad answer (both factors fall with w).
        """
        largest, exact = 0.0, True
        for since, share in reversed(self.weights):
            if since <= at:
                largest = max(largest, share)
                if at - since >= SETTLE[kind]:
                    break
                exact = False
        return largest, exact and (self.fused is None or at < self.fused)


def enter(evidence: Evidence, at: float, share: float, mirrored: bool = False) -> Evidence:
    """Start a stage at `at` with `share` of the users in the canary. The stage's counts start anew, the wealth goes on.

    `mirrored`: the champion's requests go to the canary, too, so that a game on the pairs is played beside the users'.
    """
    slis = {}
    for name, s in evidence.slis.items():
        split = mirrored and s.pairs is None and name not in UNPAIRED | SCORED
        pairs = s.wealth if split else s.pairs
        slis[name] = replace(s, stage_champion=Count(), stage_canary=Count(), stage_mirror=Count(), pairs=pairs)
    return replace(rearm(evidence, at), slis=slis, weights=(*evidence.weights, (at, share)), fuses=0, entered=at)


def rearm(evidence: Evidence, at: float) -> Evidence:
    """The canary gets its share back at `at`, after a gateway had cut it off."""
    weights = (*evidence.weights, (at, evidence.weights[-1][1]))
    return replace(evidence, weights=weights, fused=None, beside_fuse=Count())


def lapse(evidence: Evidence, since: float, until: float) -> Evidence:
    """The lease was gone from `since` to `until`: all users were the champion's meanwhile."""
    share = evidence.weights[-1][1]
    return replace(evidence, weights=(*evidence.weights, (since, 0.0), (until, share)))


def keys(event: Event) -> list[str]:
    """The names in `Evidence.users` of the user whom `event` is about: those that a fold of it looks up or adds."""
    judged = [key for name in event.slis for key in (_live_key(name, event), _pair_key(name, event))]
    return judged + [_pair_key(name, event) for name in event.scores]


def fold(evidence: Evidence, events: Iterable[Event]) -> Evidence:
    """Return `evidence` after `events` (answers, late verdicts, fuses), in their order. Those of other versions are skipped."""
    slis, users, halves = dict(evidence.slis), set(evidence.users), dict(evidence.halves)
    last = evidence.last
    for event in events:
        if event.version != (evidence.canary if event.arm == "canary" else evidence.champion):
            continue
        last = event.at if last is None else max(last, event.at)
        evidence = _watch_fuse(evidence, event)
        if event.kind == "fuse":
            continue
        share, exact = evidence.share(event.at, event.kind)
        known = {name: good for name, good in event.slis.items() if name in slis}
        scores = {name: score for name, score in event.scores.items() if name in slis and 0 <= score <= 1}
        if not known and not scores:
            continue  # feedback, say: no SLI of a rollout, and no half of a mirrored pair
        paired = event.arm == "champion" and any(slis[name].pairs is not None for name in known)
        if event.shadow or share == 0 or paired:
            _mirror(event, Half(event.arm, known, event.at, scores), slis, users, halves)
        if event.shadow:
            continue
        for name, good in known.items():
            key = _live_key(name, event)
            current = event.at >= evidence.entered  # an answer of an earlier stage that came late says nothing of this one
            slis[name], used = _live(slis[name], event, good, share, exact, new=key not in users, current=current)
            if used:
                users.add(key)
    waiting = [(key, half) for key, half in halves.items() if (last or 0.0) - half.at <= PAIR_WAIT][-PAIR_MOST:]
    return replace(evidence, slis=slis, users=frozenset(users), halves=dict(waiting), last=last)


def _watch_fuse(evidence: Evidence, event: Event) -> Evidence:
    """Note that a gateway cut the canary off, and how the champion answers meanwhile."""
    if event.kind == "fuse":
        current = evidence.fused is None and event.at >= evidence.weights[-1][0]
        return replace(evidence, fused=event.at, fuses=evidence.fuses + 1) if current else evidence
    if evidence.fused is not None and event.arm == "champion" and "availability" in event.slis:
        return replace(evidence, beside_fuse=evidence.beside_fuse.add(event.slis["availability"]))
    return evidence


def _live(s: Sli, event: Event, good: bool, share: float, exact: bool, *, new: bool, current: bool) -> tuple[Sli, bool]:
    """Count a user's answer and, if the user is `new` to the bets, bet on it; say whether a bet was made."""
    wealth, arm = s.wealth, event.arm
    if new and 0 < share < 1:
        rate = (s.champion.bad + 0.5) / (s.champion.n + 1)  # of what was seen before this answer: predictable
        if rate <= COMMON or s.champion.n < KNOWN:
            wealth = wealth if good else wealth.bet(bad_factors(share, arm))
        elif exact:
            wealth = wealth.bet(both_factors(share, arm, good, rate))
    champion, canary, stage_champion, stage_canary, recent = s.champion, s.canary, s.stage_champion, s.stage_canary, s.recent
    if arm == "canary":
        canary, stage_canary = canary.add(good), stage_canary.add(good) if current else stage_canary
    else:
        champion, stage_champion = champion.add(good), stage_champion.add(good) if current else stage_champion
        recent = recent.add(1, int(not good), event.at)
    mirrored = (s.mirror_champion, s.mirror_canary, s.stage_mirror, s.pairs)
    return Sli(wealth, champion, canary, stage_champion, stage_canary, *mirrored, recent, s.scores), wealth is not s.wealth


def _mirror(event: Event, half: Half, slis: dict[str, Sli], users: set[str], halves: dict[str, Half]) -> None:
    """Match the halves of a mirrored request; bet on a pair in which just one arm was bad (under the null: a fair coin)."""
    key = f"{event.kind}:{event.request}"
    other = halves.get(key)
    if other is None or other.arm == event.arm or event.at - other.at > PAIR_WAIT:
        halves[key] = half
        return
    del halves[key]
    ours, theirs = (half, other) if event.arm == "canary" else (other, half)
    for name in ours.scores.keys() & theirs.scores.keys():
        slis[name] = _scored(slis[name], _pair_key(name, event), theirs.scores[name], ours.scores[name], users)
    for name in ours.slis.keys() & theirs.slis.keys():
        canary, champion, s = ours.slis[name], theirs.slis[name], slis[name]
        counted = replace(
            s,
            mirror_canary=s.mirror_canary.add(canary),
            mirror_champion=s.mirror_champion.add(champion),
            stage_mirror=s.stage_mirror.add(canary),
        )
        slis[name] = counted if canary == champion else _one_bad(counted, name, event, champion, users)


def _one_bad(s: Sli, name: str, event: Event, champion: bool, users: set[str]) -> Sli:
    """Bet on a pair of which just one answer was bad, the canary's if the `champion`'s was good; once a user and game."""
    pair = {_pair_key(name, event)} | ({_live_key(name, event)} if s.pairs is None else set())  # before the split: one game
    if pair & users or name in UNPAIRED:
        return s
    users |= pair
    factors = bad_factors(0.5, "canary" if champion else "champion")
    return replace(s, wealth=s.wealth.bet(factors)) if s.pairs is None else replace(s, pairs=s.pairs.bet(factors))


def _scored(s: Sli, key: str, champion: float, canary: float, users: set[str]) -> Sli:
    """Count which arm's answer has the lower score, and bet on the difference if it is the user's first pair."""
    ours, theirs = canary >= champion, champion >= canary
    counted = replace(
        s,
        mirror_canary=s.mirror_canary.add(ours),
        mirror_champion=s.mirror_champion.add(theirs),
        stage_mirror=s.stage_mirror.add(ours),
    )
    if key in users:
        return counted
    users.add(key)
    return replace(counted, scores=(s.scores or Scores()).pair(champion, canary))


def _live_key(name: str, event: Event) -> str:
    return f"{name}:{event.user_hmac}"


def _pair_key(name: str, event: Event) -> str:
    return f"{name}:pair:{event.user_hmac}"


def log_worse(evidence: Evidence) -> float:
    """Natural log of the e-value against "the canary is no worse in any SLI": the mean of the SLIs' e-values."""
    return logspace.total([s.log for s in evidence.slis.values()]) - math.log(len(evidence.slis))
