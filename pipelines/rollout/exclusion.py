"""What a stage must have excluded before it is left: e-values against "the canary is too bad". Pure functions of counts."""

import math
from collections.abc import Sequence
from functools import lru_cache

from pipelines.rollout import logspace
from pipelines.rollout.evidence import UNPAIRED, Count, Sli

HIGHEST = 0.999  # such threshold
STEP = 0.25  # between two thresholds for the champion's rate, in margins
STEPS = (1.3, 1.7, 2.2, 3.0, 4.0, 5.5, 8.0, 12.0, 20.0, 40.0)  # champion's rate, in budgets
ALONE = 0.65  # weight of the tests that need no champion: beside one that keeps its objective they are all of the power
WHOLE = 0.45  # of these, that of the one over the whole rollout
MOST = 0.9
BELOW = ((0.02, 0.1), (0.1, 0.1), (0.25, 0.2), (0.5, 0.4), (0.75, 0.2))  # (part of the bound, weight): half is dear to tell
ABOVE = ((1.15, 0.25), (1.4, 0.25), (2.0, 0.25), (4.0, 0.25))


def log_burn_excluded(name: str, sli: Sli, budget: float, burn: float) -> float:
    """Natural log of the e-value against "the canary burns at least `burn` x max(budget, the champion's own rate)".

    Against the budget alone speak all answers of the canary in this rollout, mirrored ones too, and those of this stage by
    themselves, so that an incident in an earlier one is not held against it for days. Beside the champion only answers of the
    same traffic are set, the stage's and mirrored pairs: over several stages an incident would fall to the two arms in unlike
    parts. A mean of e-values is an e-value.
    """
    bound, paired = _capped(burn * budget), name not in UNPAIRED and sli.mirror_canary.n > 0
    beside = [_log_beside(sli.stage_canary, sli.stage_champion, budget, burn)]
    if paired:
        beside.append(_log_beside(sli.mirror_canary, sli.mirror_champion, budget, burn))
    whole = sli.canary + sli.mirror_canary if paired else sli.canary
    stage = sli.stage_canary + sli.stage_mirror if paired else sli.stage_canary
    return logspace.total(
        [
            math.log(WHOLE) + _log_below(whole, bound),
            math.log(ALONE - WHOLE) + _log_below(stage, bound),
            math.log1p(-ALONE) + logspace.total(beside) - math.log(len(beside)),
        ]
    )


def log_excluded(canary: Count, champion: Count, budget: float, burn: float) -> float:
    """The same of two counts of the same traffic."""
    alone, beside = _log_below(canary, _capped(burn * budget)), _log_beside(canary, champion, budget, burn)
    return logspace.add(alone + math.log(ALONE), beside + math.log1p(-ALONE))


def _log_beside(canary: Count, champion: Count, budget: float, burn: float) -> float:
    """The same, shown by way of the champion's rate.

    For any p0: either the champion's rate is at least p0, then the canary's is at least burn x p0; or it is below. So the
    smaller of the e-values against the two is an e-value against the hypothesis, and so is a mean of such over a grid of p0
    above the budget.
    """
    proven = [
        min(_log_below(canary, _capped(burn * floor)), _log_above(champion, floor))
        for floor in (budget * step for step in STEPS)
        if floor < MOST
    ]
    return logspace.total(proven) - math.log(len(proven)) if proven else -math.inf


def _capped(bound: float) -> float:
    """A bound past MOST is tested as that: not even that is let pass."""
    return min(bound, MOST)


def log_not_inferior(canary: Count, champion: Count, margin: float) -> float:
    """Natural log of the e-value against "the canary's bad rate is above the champion's by `margin` or more".

    For rates too common for a multiple of them to mean anything. If it is so, then for any t the champion's rate is below t
    or the canary's at least t + margin: the smaller of the e-values against the two is one against both, and so is the mean
    over a grid of t. No rate is below 0, which is the first t and weighs most: of a champion without a fault only the canary
    has something to prove. A margin of 1 or more excludes nothing that can be, and is passed at once.
    """
    if margin >= 1:
        return math.inf
    thresholds = [k * STEP * margin for k in range(math.ceil(HIGHEST / (STEP * margin)))]
    shares = [-math.log(k + 1) for k in range(len(thresholds))]
    proven = [share + _apart(canary, champion, t, margin) for share, t in zip(shares, thresholds, strict=True)]
    return logspace.total(proven) - logspace.total(shares)


def _apart(canary: Count, champion: Count, t: float, margin: float) -> float:
    """Log e-value against "the champion's rate is below `t`, or the canary's at least `t` + `margin`"."""
    bound = t + margin
    above = _ratios(champion, t, [t + min(margin, 1 - t) * part * 0.99 for part in (0.25, 0.5, 1.0)]) if t else math.inf
    below = _ratios(canary, bound, [bound - margin * part * 0.99 for part in (0.25, 0.5, 1.0)]) if bound < 1 else math.inf
    return min(above, below)


def _log_below(count: Count, bound: float) -> float:
    """Log e-value against "the rate is at least `bound`": likelihood ratios of smaller rates, mixed."""
    return _mixture(count, bound, tuple((bound * part, share) for part, share in BELOW))


def _log_above(count: Count, bound: float) -> float:
    """Log e-value against "the rate is at most `bound`"."""
    return _mixture(count, bound, tuple((min(bound * part, (1 + bound) / 2), share) for part, share in ABOVE))


def _ratios(count: Count, null: float, rates: Sequence[float]) -> float:
    return _mixture(count, null, tuple((rate, 1 / len(rates)) for rate in rates))


def _mixture(count: Count, null: float, rates: tuple[tuple[float, float], ...]) -> float:
    """Log of the likelihood ratio of a mixture of (rate, share of it) to `null`."""
    good = count.n - count.bad
    return logspace.total([share + count.bad * bad + good * fine for share, bad, fine in _slopes(null, rates)])


@lru_cache(maxsize=1024)
def _slopes(null: float, rates: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float, float], ...]:
    """For each (rate, share): the log of the share, and of what a bad and a good answer multiply it by."""
    return tuple((math.log(share), math.log(rate / null), math.log1p(-rate) - math.log1p(-null)) for rate, share in rates)
