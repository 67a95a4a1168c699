"""What a stage must have excluded before it is left: e-values against "the canary is too bad". Pure functions of counts."""

import math
from collections.abc import Sequence

from pipelines.rollout import logspace
from pipelines.rollout.evidence import Count

GRID = (0.003, 0.01, 0.02, *(step / 25 for step in range(1, 25)))  # thresholds between the arms' rates
STEPS = (1.3, 1.7, 2.2, 3.0, 4.0, 5.5, 8.0, 12.0, 20.0, 40.0)  # champion's rate, in budgets


def log_excluded(canary: Count, champion: Count, budget: float, burn: float) -> float:
    """Natural log of the e-value against "the canary's bad rate is at least burn x max(budget, the champion's own)".

    For any p0: either the champion's rate is at least p0, then the canary's is at least burn x p0; or it is below. So the
    smaller of the e-values against the two is an e-value against the hypothesis, and so is a mean of such: half of the
    weight is on the budget itself (which needs no proof about the champion), half on a grid above it. A bound of more than
    0.9 is tested as 0.9: not even that is let pass.
    """
    proven = [
        min(_log_below(canary, min(burn * floor, 0.9)), _log_above(champion, floor))
        for floor in (budget * step for step in STEPS)
        if floor < 0.9
    ]
    alone = _log_below(canary, min(burn * budget, 0.9))
    return logspace.add(alone, logspace.total(proven) - math.log(len(proven))) - math.log(2) if proven else alone


def log_not_inferior(canary: Count, champion: Count, margin: float) -> float:
    """Natural log of the e-value against "the canary's bad rate is above the champion's by `margin` or more".

    For rates too common for a multiple of them to mean anything. If it is so, then for any t the champion's rate is at most t
    or the canary's at least t + margin: the smaller of the e-values against the two is one against both, and so is the mean
    over a grid of t. A margin of 1 or more excludes nothing that can be, and is passed at once.
    """
    if margin >= 1:
        return math.inf
    proven = []
    for t in GRID:
        bound, parts = t + margin, (0.25, 0.5, 1.0)
        above = _ratios(champion, t, [t + min(margin, 1 - t) * part * 0.99 for part in parts])
        below = math.inf if bound >= 1 else _ratios(canary, bound, [bound - margin * part for part in parts])
        proven.append(min(above, below))
    return logspace.total(proven) - math.log(len(proven))


def _log_below(count: Count, bound: float) -> float:
    """Log e-value against "the rate is at least `bound`": likelihood ratios of smaller rates, mixed."""
    return _ratios(count, bound, [bound * part for part in (0.02, 0.1, 0.25, 0.5, 0.75)])


def _log_above(count: Count, bound: float) -> float:
    """Log e-value against "the rate is at most `bound`"."""
    return _ratios(count, bound, [min(bound * part, (1 + bound) / 2) for part in (1.15, 1.4, 2.0, 4.0)])


def _ratios(count: Count, null: float, rates: Sequence[float]) -> float:
    good = count.n - count.bad
    logs = [count.bad * math.log(rate / null) + good * (math.log1p(-rate) - math.log1p(-null)) for rate in rates]
    return logspace.total(logs) - math.log(len(logs))
