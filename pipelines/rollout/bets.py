"""Bets against "the canary is no worse": the wealth of a mixture of them, and what each pays on one answer. All pure.

For a bad answer the likelihood ratio of a canary r times as bad is theta/w if the canary gave it and (1 - theta)/(1 - w) if
not, with theta = w r/(w r + 1 - w) and w the canary's share of the users. The bet is mixed over r and over the time of the
change. Wealth is kept as its natural log.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipelines.rollout import logspace

RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 25.0, 75.0, 250.0, 1000.0)
# Share of the capital on each. A small ratio needs many bad answers and each of them is dear; a large one is proven by two or
# three whatever its share, since each multiplies the wealth by tens.
PRIOR = (0.08, 0.35, 0.15, 0.08, 0.10, 0.10, 0.09, 0.03, 0.02)
FIRST = 0.75  # share of the capital on a canary that is worse from its first event on; the rest waits for a later change


@dataclass(frozen=True, slots=True)
class Wealth:
    """The e-process against "the canary is no worse": log-wealth of each ratio, over all start times up to now.

    The bet that starts at the n-th event gets the share R(n-1) - R(n) of the capital, with R(0) = 1 and R(n) = (1 - FIRST) /
    (1 + ln n): a late onset at event n costs about ln n + 2 ln ln n nats, and what has not started yet is held as cash. O(1)
    an event.
    """

    bets: int = 0
    logs: tuple[float, ...] = ()

    def bet(self, factors: Sequence[float]) -> "Wealth":
        """Bet on one event; `factors` are the log likelihood ratios, one for each of RATIOS (or of other bets)."""
        fresh = math.log(_cash(self.bets) - _cash(self.bets + 1))
        running = self.logs or (-math.inf,) * len(factors)
        return Wealth(self.bets + 1, tuple(logspace.add(log, fresh) + f for log, f in zip(running, factors, strict=True)))

    @property
    def log(self) -> float:
        """Natural log of the e-value now."""
        return self.worth(_LOG_PRIOR)

    def worth(self, log_prior: Sequence[float]) -> float:
        """Natural log of the e-value of bets among which the capital was shared as `log_prior` says."""
        if not self.logs:
            return 0.0
        running = logspace.total([log + share for log, share in zip(self.logs, log_prior, strict=True)])
        return logspace.add(math.log(_cash(self.bets)), running)


@lru_cache(maxsize=256)
def bad_factors(share: float, arm: str) -> tuple[float, ...]:
    """Log likelihood ratios of a bad answer from `arm`: theta/w = r/(w r + 1 - w), (1 - theta)/(1 - w) = 1/(w r + 1 - w)."""
    return tuple((math.log(r) if arm == "canary" else 0.0) - math.log(share * r + 1 - share) for r in RATIOS)


def both_factors(share: float, arm: str, good: bool, rate: float) -> tuple[float, ...]:
    """The same where bad answers are common: a good one speaks too, with g = (1 - r p)/(1 - p). A ratio >= 1/p does not bet."""

    def factor(ratio: float) -> float:
        if ratio * rate >= 1:
            return 0.0
        g = (1 - ratio * rate) / (1 - rate) if good else ratio
        return (math.log(g) if arm == "canary" else 0.0) - math.log(share * g + 1 - share)

    return tuple(factor(r) for r in RATIOS)


def _cash(bets: int) -> float:
    return 1.0 if not bets else (1 - FIRST) / (1 + math.log(bets))


_LOG_PRIOR = tuple(math.log(share) for share in PRIOR)
