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

Only a user's first bad answer is bet on: later ones are predictable from the first. The others are counted and shown.
Everything here is pure; `fold(fold(e, a), b) == fold(e, a + b)`, so that evidence is carried over any number of ticks.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pipelines.rollout import logspace
from pipelines.rollout.bets import Wealth, bad_factors, both_factors
from pipelines.rollout.store import Event

COMMON = 0.05  # from this rate on good answers are bet on too: bad ones alone would waste most of what is known
KNOWN = 20  # champion answers before its rate is used for that
SETTLE = {
    "answer": 2.0,
    "verdict": 15.0,
}  # seconds until no event of the old weight comes (gateways poll every 0.2; judges lag)
PAIR_WAIT = 30.0  # seconds that one half of a mirrored pair waits for the other
PAIR_MOST = 5_000
MIRROR = 0.25  # share of the capital that goes on betting on mirrored pairs where users are served as well
HALF_LIFE = 60.0  # seconds after which an answer counts half in `Recent`
UNPAIRED = frozenset({"latency"})  # a mirrored request is asked second, of a colder engine: counted, shown, not bet on


@dataclass(frozen=True, slots=True)
class Count:
    n: int = 0
    bad: int = 0

    def add(self, good: bool) -> "Count":
        return Count(self.n + 1, self.bad + (not good))

    def __add__(self, other: "Count") -> "Count":
        return Count(self.n + other.n, self.bad + other.bad)

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Wilson's interval of the bad rate (95 % by default), for people to read: no decision uses it."""
        if not self.n:
            return 0.0, 1.0
        rate, spread = self.bad / self.n, z * z / self.n
        middle = (rate + spread / 2) / (1 + spread)
        half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Recent:
    """Answers of the last minutes: each counts less the older it is, half after HALF_LIFE. `at` is the time of the latest."""

    n: float = 0.0
    bad: float = 0.0
    at: float = 0.0

    def add(self, n: int, bad: int, at: float) -> "Recent":
        kept = 0.5 ** (max(0.0, at - self.at) / HALF_LIFE)
        return Recent(self.n * kept + n, self.bad * kept + bad, max(at, self.at))


@dataclass(frozen=True, slots=True)
class Sli:
    """What is known of one SLI: its wealth, and counts over the rollout, over the stage, and over mirrored pairs.

    `stage_mirror` is the canary in the mirrored pairs of this stage.
    `pairs` is the wealth of the game on mirrored pairs in a stage that serves users, too; None where there is no such game.
    """

    wealth: Wealth = Wealth()  # noqa: RUF009 (frozen)
    champion: Count = Count()
    canary: Count = Count()
    stage_champion: Count = Count()
    stage_canary: Count = Count()
    mirror_champion: Count = Count()
    mirror_canary: Count = Count()
    stage_mirror: Count = Count()
    pairs: Wealth | None = None
    recent: Recent = Recent()

    @property
    def log(self) -> float:
        """Natural log of the e-value against "the canary is no worse" in this SLI."""
        if self.pairs is None:
            return self.wealth.log
        return logspace.add(self.wealth.log + math.log1p(-MIRROR), self.pairs.log + math.log(MIRROR))


@dataclass(frozen=True, slots=True)
class Half:
    """One arm's half of a mirrored request, waiting for the other's."""

    arm: str
    slis: Mapping[str, bool]
    at: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a rollout has seen. `users` ("SLI:user" of those bet on) may be kept elsewhere between folds (`keys`).

    `weights` are (since, share of the users in the canary); `fused` is the time since which a gateway keeps the canary's
    traffic down by itself, so that the share is no longer known; `fuses` how often that was in this stage; `beside_fuse`
    how the champion answered since.
    """

    champion: str
    canary: str
    slis: Mapping[str, Sli]
    weights: tuple[tuple[float, float], ...] = ()
    users: frozenset[str] = frozenset()
    halves: Mapping[str, Half] = field(default_factory=dict)
    fused: float | None = None
    fuses: int = 0
    beside_fuse: Count = Count()
    last: float | None = None

    @property
    def since(self) -> float:
        """When the users' split last changed."""
        return self.weights[-1][0] if self.weights else -math.inf

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
        split = mirrored and s.pairs is None and name not in UNPAIRED
        pairs = s.wealth if split else s.pairs
        slis[name] = replace(s, stage_champion=Count(), stage_canary=Count(), stage_mirror=Count(), pairs=pairs)
    return replace(rearm(evidence, at), slis=slis, weights=(*evidence.weights, (at, share)), fuses=0)


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
    return [key for name in event.slis for key in (_live_key(name, event), _pair_key(name, event))]


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
        if not known:
            continue  # feedback, say: no SLI of a rollout, and no half of a mirrored pair
        paired = event.arm == "champion" and any(slis[name].pairs is not None for name in known)
        if event.shadow or share == 0 or paired:
            _mirror(event, known, slis, users, halves)
        if event.shadow:
            continue
        for name, good in known.items():
            key = _live_key(name, event)
            current = event.at >= evidence.since  # an answer of an earlier stage that came late says nothing of this one
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
    return Sli(wealth, champion, canary, stage_champion, stage_canary, *mirrored, recent), wealth is not s.wealth


def _mirror(event: Event, known: Mapping[str, bool], slis: dict[str, Sli], users: set[str], halves: dict[str, Half]) -> None:
    """Match the halves of a mirrored request; bet on a pair in which just one arm was bad (under the null: a fair coin)."""
    key = f"{event.kind}:{event.request}"
    other = halves.get(key)
    if not known or other is None or other.arm == event.arm or event.at - other.at > PAIR_WAIT:
        halves[key] = Half(event.arm, known, event.at)
        return
    del halves[key]
    for name in known.keys() & other.slis.keys():
        canary, champion = (known[name], other.slis[name]) if event.arm == "canary" else (other.slis[name], known[name])
        s = slis[name]
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


def _live_key(name: str, event: Event) -> str:
    return f"{name}:{event.user_hmac}"


def _pair_key(name: str, event: Event) -> str:
    return f"{name}:pair:{event.user_hmac}"


def log_worse(evidence: Evidence) -> float:
    """Natural log of the e-value against "the canary is no worse in any SLI": the mean of the SLIs' e-values."""
    return logspace.total([s.log for s in evidence.slis.values()]) - math.log(len(evidence.slis))
