"""A promoted version on probation: is it worse than its champion was? One-sample, for almost nobody has the champion now.

At 99 % a bad answer falls to the new version whoever is to blame: the game of `evidence.py` has nothing to win there. So each
answer is held against a bound, fixed when the probation begins: max(budget, the most that the champion's own rate can be). The
wealth is that of likelihood ratios of rates above it, mixed over the rates and over the time of the change (`bets.Wealth`): a
version that keeps the bound passes 1/alpha with a chance of at most alpha. Of a user only the first bad answer of an hour is
bet on: once a probation, and those who had one in its first hours would be blind spots of the last.

A bound knows nothing of an incident that hits both versions. So this e-value rolls nothing back: it sets the version back to
the first stage, where nearly everybody has the champion again, and there the game on the split of the users says which of
the two it was. Its 1 % is then the whole rollout's.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pipelines.rollout import logspace
from pipelines.rollout.bets import RATIOS, Wealth
from pipelines.rollout.evidence import Count
from pipelines.rollout.store import Event

HOUR = 3_600.0
HALVINGS = 60  # of the interval in which an upper bound is looked for


@dataclass(frozen=True, slots=True)
class Watch:
    """The e-process against "the version is bad in at most `bound` of its answers", in one SLI.

    One bet is on all answers up to the next bad one; `good` are those seen since the last.
    """

    bound: float
    wealth: Wealth = Wealth()  # noqa: RUF009 (frozen)
    good: int = 0

    def add(self, good: bool) -> "Watch":
        return replace(self, good=self.good + 1) if good else Watch(self.bound, self.wealth.bet(self._factors(bad=1)))

    @property
    def log(self) -> float:
        """Natural log of the e-value now."""
        return self.wealth.bet(self._factors(bad=0)).log

    def _factors(self, bad: int) -> list[float]:
        """Log likelihood ratios of the good answers since the last bet and of `bad` bad ones, for each of RATIOS."""
        b = self.bound
        rates = [min(ratio * b, (1 + b) / 2) for ratio in RATIOS]
        return [bad * math.log(rate / b) + self.good * (math.log1p(-rate) - math.log1p(-b)) for rate in rates]


def begun(champion: Count, budget: float, confidence: float) -> Watch:
    """The watch on an SLI from now on, by what the champion did in the rollout and what the SLO allows."""
    return Watch(min(max(budget, upper(champion, confidence)), 0.9))


def upper(count: Count, confidence: float) -> float:
    """The most that a bad rate can be, at `confidence`: Chernoff's bound on n KL(seen || rate); 1 where nothing was seen."""
    if not count.n:
        return 1.0
    seen, most = count.bad / count.n, -math.log(1 - confidence) / count.n
    low, high = seen, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(seen, middle) < most else (low, middle)
    return high


def _divergence(seen: float, rate: float) -> float:
    """KL(seen || rate) of two coins, for seen < rate."""
    if rate >= 1:
        return math.inf
    bad = seen * math.log(seen / rate) if seen else 0.0
    return bad + ((1 - seen) * math.log((1 - seen) / (1 - rate)) if seen < 1 else 0.0)


def key(name: str, event: Event) -> str:
    """The name under which a user's first bad answer of an hour is remembered, in `Evidence.users`."""
    return f"{name}:watch:{int(event.at // HOUR)}:{event.user_hmac}"


def fold(
    watched: Mapping[str, Watch], events: Iterable[Event], version: str, since: float, users: frozenset[str]
) -> tuple[dict[str, Watch], frozenset[str]]:
    """`watched` after what `version` answered to its users from `since` on, and `users` with those who had a bad answer."""
    after, known = dict(watched), set(users)
    for event in events:
        if event.arm != "canary" or event.version != version or event.shadow or event.at < since:
            continue
        for name in event.slis.keys() & after.keys():
            good, user = event.slis[name], key(name, event)
            if good or user not in known:
                after[name] = after[name].add(good)
            if not good:
                known.add(user)
    return after, frozenset(known)


def log_worse(watched: Mapping[str, Watch]) -> float:
    """Natural log of the e-value against "every SLI keeps its bound": the mean of the SLIs' e-values."""
    return logspace.total([watch.log for watch in watched.values()]) - math.log(len(watched)) if watched else 0.0
