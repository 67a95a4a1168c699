"""Numbers and counts for people."""

import math

from pipelines.rollout import evidence as ev
from pipelines.rollout.evidence import Count
from pipelines.rollout.policy import State


def number(log: float) -> str:
    """An e-value for people, from its natural log."""
    if log > math.log(1e6):
        return f"10^{log / math.log(10):.0f}"
    value = math.exp(log)
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def in_stage(state: State, name: str) -> str:
    """What users met of an SLI in this stage."""
    sli = state.evidence.slis[name]
    return f"{name}: {failed(sli.stage_canary)} bad, champion {failed(sli.stage_champion)}"


def in_rollout(state: State, name: str) -> str:
    """What was seen of an SLI in this rollout."""
    sli = state.evidence.slis[name]
    if name in ev.SCORED:
        pairs = f"{failed(sli.mirror_canary)} mirrored answers"
        return f"{name}: canary scored lower in {pairs}, champion in {sli.mirror_champion.bad:,}"
    live = f"{name}: canary bad in {failed(sli.canary)} answers, champion in {failed(sli.champion)}"
    if sli.mirror_canary.n:
        live += f" (mirrored: {failed(sli.mirror_canary)} and {failed(sli.mirror_champion)})"
    return live


def failed(count: Count) -> str:
    return f"{count.bad:,} of {count.n:,}"
