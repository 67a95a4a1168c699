"""The e-process on a score: "the canary's answers are scored no lower than the champion's". Pure.

A mirrored request gives a pair of scores in [0, 1] and their difference d = champion's - canary's, which is in [-1, 1] and, if
the canary is no worse, at most 0 on average whatever came before. Then 1 + stake x d is a fair bet for any stake below 1, and
no shape of the scores is assumed (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting").
Stakes up to nearly all are mixed: a large and steady drop is found in few answers by the high ones, a small or noisy one by
the low ones, without an estimate of its variance.
"""

import math
from dataclasses import dataclass

from pipelines.rollout.bets import Wealth

STAKES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.99)
PRIOR = (0.06, 0.08, 0.1, 0.1, 0.1, 0.1, 0.11, 0.15, 0.2)  # most on the highest: there every answer counts


@dataclass(frozen=True, slots=True)
class Scores:
    """The wealth of the mixture, over all stakes and start times."""

    wealth: Wealth = Wealth()  # noqa: RUF009 (frozen)

    def pair(self, champion: float, canary: float) -> "Scores":
        """Bet on the two scores of one request. Of a user only the first pair may be bet on, as with bad answers.

        Raises:
            ValueError: a score is outside [0, 1], or not a number.
        """
        if not (0 <= champion <= 1 and 0 <= canary <= 1):
            raise ValueError(f"scores lie in [0, 1]: {champion}, {canary}")
        return Scores(self.wealth.bet([math.log1p(stake * (champion - canary)) for stake in STAKES]))

    @property
    def log(self) -> float:
        """Natural log of the e-value now."""
        return self.wealth.worth(_LOG_PRIOR)


_LOG_PRIOR = tuple(math.log(share) for share in PRIOR)
