"""What a rollout still lacks before its canary may move on. Pure; nothing here rolls back.

No data and no proof both mean: not yet. Each answer is a sentence for a person.
"""

import math

from pipelines.rollout import evidence as ev
from pipelines.rollout.budget import FREEZE, INCIDENT, incident
from pipelines.rollout.evidence import Count
from pipelines.rollout.exclusion import log_burn_excluded, log_excluded, log_not_inferior
from pipelines.rollout.policy import Observed, Phase, Policy, Rule, State, budget
from pipelines.rollout.wording import failed, number

STALE = 30.0  # seconds without an answer after which nothing moves on, or SILENCE times the usual gap if that is longer
SILENCE = 10.0


def shadow(state: State, observed: Observed, policy: Policy) -> tuple[str, ...]:
    """What shadow still lacks."""
    missing = [*frozen(state, observed, policy, FREEZE), *not_now(state, observed, policy)]
    if not policy.shadow_requests:
        return tuple(missing)
    seen = state.evidence.slis["availability"].mirror_canary.n
    if seen < policy.shadow_requests:
        missing.append(f"shadow: {seen} of {policy.shadow_requests} mirrored answers")
    for rule in policy.slis:
        sli = state.evidence.slis[rule.name]
        if rule.objective is None or rule.name in ev.UNPAIRED:
            continue
        if log_excluded(sli.mirror_canary, sli.mirror_champion, rule.budget, policy.shadow_burn) < policy.stage_bar:
            what = f"a burn of {policy.shadow_burn:g} is not excluded yet"
            missing.append(f"shadow: {rule.name}: {what} ({failed(sli.mirror_canary)} bad in mirrored answers)")
    return tuple(missing)


def stage(state: State, observed: Observed, policy: Policy) -> tuple[str, ...]:
    """What the stage still lacks."""
    weight = f"at {policy.stages[state.stage][0]:g} %"
    missing = [*not_now(state, observed, policy)]
    requests = state.evidence.slis["availability"].stage_canary.n
    if requests < policy.stage_requests:
        missing.append(f"{weight}: {requests} of {policy.stage_requests} canary requests")
    if observed.now - state.since < policy.stage_seconds:
        missing.append(f"{weight}: less than {policy.stage_seconds:g} s in the stage")
    for rule in policy.slis:
        sli = state.evidence.slis[rule.name]
        for what, found in _excluded(state, rule, policy):
            if found < policy.stage_bar:
                missing.append(
                    f"{weight}: {rule.name}: {what} is not excluded yet "
                    f"(e = {number(found)} of {number(policy.stage_bar)}; the canary has {failed(sli.stage_canary)} bad here)"
                )
    return tuple(missing)


def _excluded(state: State, rule: Rule, policy: Policy) -> list[tuple[str, float]]:
    """What an SLI has to exclude before the stage is left, and the log e-value against each.

    The stage's burn by all that was seen; and by this stage alone what the stage before it excluded, since a canary that turned
    bad of late is hidden among the good answers before.
    """
    sli, burn = state.evidence.slis[rule.name], policy.stages[state.stage][1]
    if rule.margin is not None:
        margin = policy.widened(rule.margin, state.stage)
        what = f"being {'flagged' if rule.objective is None else 'bad'} {margin:.0%} more often than the champion"
        return [(what, log_not_inferior(_here(state, rule), sli.stage_champion, margin))]
    if rule.objective is None:
        return []
    found = [(f"a burn of {burn:g}", log_burn_excluded(rule.name, sli, rule.budget, burn))]
    if state.stage:
        wider = policy.stages[state.stage - 1][1]
        alone = log_excluded(_here(state, rule), sli.stage_champion, rule.budget, wider)
        found.append((f"a burn of {wider:g} in this stage alone", alone))
    return found


def _here(state: State, rule: Rule) -> Count:
    """The canary's answers in this stage, mirrored ones too."""
    sli = state.evidence.slis[rule.name]
    return sli.stage_canary if rule.name in ev.UNPAIRED else sli.stage_canary + sli.stage_mirror


def not_now(state: State, observed: Observed, policy: Policy) -> list[str]:
    """Why no canary moves on at this moment, whatever is proven.

    It may be worse. There is no news. Or the champion itself burns.
    """
    return [*_suspected(state, policy), *stale(state, observed), *incidents(state, observed, policy).values()]


def stale(state: State, observed: Observed) -> list[str]:
    seen, last = state.evidence.slis["availability"], state.evidence.last
    answers = seen.champion.n + seen.canary.n
    if last is None or observed.now - last > max(STALE, SILENCE * (last - state.opened_at) / max(answers, 1)):
        return ["no answer was seen yet" if last is None else f"the last answer is {observed.now - last:.0f} s old"]
    return []


def incidents(state: State, observed: Observed, policy: Policy) -> dict[str, str]:
    """SLIs in which the champion burns, too, and how to say so: whatever it is, it is not the canary alone."""
    found = {}
    for rule in policy.slis:
        sli = state.evidence.slis[rule.name]
        usual = state.before.get(rule.name, Count()) + sli.champion
        if rule.objective is not None and incident(sli.recent.add(0, 0, observed.now), usual):
            found[rule.name] = f"frozen: the champion burns, too: {rule.name} is bad {INCIDENT:g} times as often as usual"
    return found


def _suspected(state: State, policy: Policy) -> list[str]:
    """Why a canary that may be worse stays where it is: proof costs fewer bad answers at a small weight.

    Beside a champion without a fault nothing lowers the e-value again. So what clears a suspect is the next stage's proof.
    """
    log = ev.log_worse(state.evidence)
    if log < math.log(policy.suspicion):
        return []
    signs = [rule for rule in policy.slis if state.evidence.slis[rule.name].log > 0]
    unclear = [rule.name for rule in signs if not _cleared(state, rule, policy)]
    return [f"the canary may be worse: e = {number(log)}; to be cleared yet: {', '.join(unclear)}"] if unclear else []


def _cleared(state: State, rule: Rule, policy: Policy) -> bool:
    """Does an SLI already prove what the next stage is left on? A score has nothing to prove: it must be no proof itself."""
    sli, last = state.evidence.slis[rule.name], len(policy.stages) - 1
    if rule.name in ev.SCORED:
        return sli.log < policy.bar
    if state.phase is Phase.SHADOW:
        if rule.objective is None or rule.name in ev.UNPAIRED:
            return True
        burn = policy.stages[last][1] if policy.stages else policy.shadow_burn
        return log_excluded(sli.mirror_canary, sli.mirror_champion, rule.budget, burn) >= policy.stage_bar
    following = min(state.stage + 1, last)
    if rule.margin is not None:
        margin = policy.widened(rule.margin, following)
        return log_not_inferior(_here(state, rule), sli.stage_champion, margin) >= policy.stage_bar
    if rule.objective is None:
        return True
    return log_burn_excluded(rule.name, sli, rule.budget, policy.stages[following][1]) >= policy.stage_bar


def frozen(state: State, observed: Observed, policy: Policy, least: float) -> tuple[str, ...]:
    """SLIs with less than `least` of their budget left."""
    left = {r.name: budget(state, r, policy, observed.now).left for r in policy.slis if r.objective is not None}
    return tuple(
        f"frozen: {name} has {share:.0%} of its budget left, and no rollout starts under {least:.0%}"
        for name, share in left.items()
        if share < least
    )
