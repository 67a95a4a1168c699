"""Error budgets: what an SLO allows to fail in its window, what is spent, and what one stage of a rollout may spend.

Only what is certain counts here: answers that failed or were slow. A judge's flags never do.
"""

import math
from dataclasses import dataclass

from pipelines.rollout.evidence import Count, Recent

FREEZE = 0.05  # share of the budget below which no rollout starts
STAGE_SHARE = 0.01  # share of the window's budget that one stage may spend
STAGE_EVENTS = 25
INCIDENT = 4.0  # times its own trailing rate at which the champion's answers are an incident, and no canary moves on


@dataclass(frozen=True)
class Budget:
    """The budget of one SLO. `seen` was counted over the last `span` seconds of a `window` of seconds.

    The window's traffic is what `seen` grows to at its mean rate: a burn of 1, kept up, spends the budget in just one window.
    """

    objective: float
    window: float
    span: float
    seen: Count

    @property
    def allowed(self) -> float:
        """Bad answers that the window allows."""
        return (1 - self.objective) * self.seen.n * self.window / min(max(self.span, 1.0), self.window)

    @property
    def burn(self) -> float:
        """How many times faster than allowed the budget is being spent (mean over the span)."""
        return self.seen.bad / self.seen.n / (1 - self.objective) if self.seen.n else 0.0

    @property
    def left(self) -> float:
        """Share of the budget that is left: 1 is all, negative is overspent."""
        return 1 - self.seen.bad / self.allowed if self.seen.n else 1.0

    @property
    def stage(self) -> float:
        """Excess bad answers that one stage may spend: max(1 % of the window's budget, 25)."""
        return max(STAGE_SHARE * self.allowed, STAGE_EVENTS)


def incident(recent: Recent, trailing: Count) -> bool:
    """Does the champion fail INCIDENT times as often as usual? Beyond two standard errors, since it only delays a canary."""
    expected = INCIDENT * (trailing.bad + 0.5) / (trailing.n + 1) * recent.n
    return recent.bad > expected + 2 * math.sqrt(max(expected, 1.0))


def excess(canary: Count, champion: Count, objective: float) -> tuple[float, float]:
    """Return the canary's bad answers beyond max(budget, the champion's own rate), and the standard error of that number."""
    if not canary.n:
        return 0.0, 0.0
    rate = max(1 - objective, champion.bad / champion.n if champion.n else 0.0)
    scale = canary.n / champion.n if champion.n else 0.0
    return canary.bad - rate * canary.n, math.sqrt(canary.bad + scale * scale * champion.bad)


def overspent(canary: Count, champion: Count, budget: Budget) -> bool:
    """Has a stage spent more than it may? Beyond four standard errors: an incident that hits both arms is no excess."""
    spent, error = excess(canary, champion, budget.objective)
    return spent > budget.stage + 4 * error
