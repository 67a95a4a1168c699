"""What to do with a rollout now: `decide(state, observed, policy) -> Decision`, and `step`, which makes it so. All pure.

    first ───────────────────────────────────────────────▶ promoted        (no champion: the gates alone)
    shadow ──▶ stage 1 ──▶ ... ──▶ stage n ──▶ approval ──▶ probation ──▶ promoted
      │           │ ◀────────────── set back ─────────────────┤
      └───────────┴──────────────────┴────────────┴───────────┴─────────▶ rolled back    (final)

No data and no proof both mean: hold.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from pipelines.rollout import evidence as ev
from pipelines.rollout import probation
from pipelines.rollout.budget import FREEZE, INCIDENT, incident, overspent
from pipelines.rollout.evidence import Count
from pipelines.rollout.exclusion import log_burn_excluded, log_excluded, log_not_inferior
from pipelines.rollout.policy import TERMINAL, Action, Decision, Gate, Observed, Phase, Policy, Rule, State, budget
from pipelines.rollout.wording import failed, in_rollout, in_stage, number

REARM_AFTER = 10.0  # seconds that a gateway's fuse stays blown before the canary gets another try
REARMS = 2
STALE = 30.0  # seconds without an answer after which nothing moves on, or SILENCE times the usual gap if that is longer
SILENCE = 10.0
ENDS = {Action.PROMOTE: Phase.PROMOTED, Action.END_PROBATION: Phase.PROMOTED, Action.ROLLBACK: Phase.ROLLED_BACK}


def decide(state: State, observed: Observed, policy: Policy) -> Decision:
    """Judge a rollout by its evidence. Rolling back is looked at first, always; whatever is not proven holds."""
    numbers = _numbers(state, policy)
    if state.phase in TERMINAL:
        if observed.drained:
            return Decision(Action.FINISH, (f"{state.phase.replace('_', ' ')}, and the registry knows",), numbers)
        return Decision(Action.HOLD, ("the registry has not been told yet",), numbers)
    if state.phase is Phase.FIRST:
        return Decision(Action.PROMOTE, ("no champion: let in by the gates alone",), numbers)
    on_probation = state.phase is Phase.PROBATION
    worse = _worse(state, policy) or (() if on_probation else _spent(state, observed, policy) or _dead(state))
    if worse:
        return Decision(Action.ROLLBACK, worse, numbers)
    if on_probation:
        return _on_probation(state, observed, policy, numbers)
    return _ahead(state, observed, policy, numbers)


def _ahead(state: State, observed: Observed, policy: Policy, numbers: Mapping[str, float]) -> Decision:
    """Nothing speaks against the canary: does enough speak for it?"""
    if state.evidence.fused is not None:
        return _fuse(state, observed, numbers)
    if state.phase is Phase.APPROVAL:
        return _waiting(state, observed, policy, numbers)
    missing = _shadow(state, observed, policy) if state.phase is Phase.SHADOW else _stage(state, observed, policy)
    if missing:
        if observed.now - state.since > policy.ask_seconds:
            missing = (f"a person should look: no verdict after {(observed.now - state.since) / 3600:.0f} h", *missing)
        return Decision(Action.HOLD, missing, numbers)
    return _onward(state, policy, numbers)


def step(state: State, decision: Decision, now: float, policy: Policy, gate: Gate | None = None) -> State:
    """Return the state after `decision`; OPEN_GATE needs the new `gate`."""
    action = decision.action
    if action is Action.ADVANCE:
        stage = state.stage + 1 if state.phase is Phase.STAGE else 0
        entered = ev.enter(state.evidence, now, policy.stages[stage][0] / 100, policy.mirrored)
        return replace(state, phase=Phase.STAGE, stage=stage, since=now, evidence=entered)
    if action is Action.REARM:
        return replace(state, evidence=ev.rearm(state.evidence, now))
    if action is Action.OPEN_GATE:
        return replace(state, phase=Phase.APPROVAL, since=now, gate=gate)
    if action is Action.PROMOTE and state.phase is not Phase.FIRST and policy.probation_seconds:
        return probation.begin(state, now, policy)
    if action is Action.SET_BACK:
        return probation.set_back(state, now, policy)
    end = ENDS.get(action)
    return replace(state, phase=end, since=now) if end else state


def _on_probation(state: State, observed: Observed, policy: Policy, numbers: Mapping[str, float]) -> Decision:
    """Doubt sets it back, unless the former champion burns in the same SLIs: the first stage tells which of the two it was.

    What it spends beyond the former champion, and a fuse, are not excused by that.
    """
    fused = ("a gateway cut it off",) if state.evidence.fused is not None else ()
    doubts, beyond = probation.doubts(state, policy), (*_spent(state, observed, policy), *fused)
    shared = _incidents(state, observed, policy)
    if doubts or beyond:
        likewise = not beyond and probation.suspects(state, policy) <= shared.keys()
        return Decision(Action.HOLD if likewise else Action.SET_BACK, (*doubts, *beyond, *shared.values()), numbers)
    missing = [*probation.unfinished(state, observed.now, policy), *_stale(state, observed), *shared.values()]
    if not missing:
        return Decision(Action.END_PROBATION, ("on probation it kept what the champion kept",), numbers)
    asked = probation.overdue(state, observed.now, policy)
    return Decision(Action.HOLD, (*asked, *missing, *probation.figures(state, policy)), numbers)


def _onward(state: State, policy: Policy, numbers: Mapping[str, float]) -> Decision:
    following = 0
    counts: tuple[str, ...] = ()
    if state.phase is Phase.SHADOW:
        mirrored = state.evidence.slis["availability"].mirror_canary
        why = f"shadow: {failed(mirrored)} bad in mirrored answers, and no proof that the canary is worse"
    else:
        weight, burn = policy.stages[state.stage]
        why = f"at {weight:g} %: a burn of {burn:g} is excluded in every SLI"
        counts = tuple(in_stage(state, rule.name) for rule in policy.slis if rule.name not in ev.SCORED)
        following = state.stage + 1
    if following < len(policy.stages):
        return Decision(Action.ADVANCE, (why, *counts, f"next: {policy.stages[following][0]:g} % of the users"), numbers)
    if policy.person:
        return Decision(Action.OPEN_GATE, (why, *counts, "a person is asked"), numbers)
    return Decision(Action.PROMOTE, (why, *counts, "the spec asks no person"), numbers)


def _worse(state: State, policy: Policy) -> tuple[str, ...]:
    total = ev.log_worse(state.evidence)
    if total < policy.bar:
        return ()
    slis = sorted(policy.slis, key=lambda rule: -state.evidence.slis[rule.name].log)
    suspects = [rule.name for rule in slis if state.evidence.slis[rule.name].log >= policy.bar] or [slis[0].name]
    head = f"the canary is worse than the champion: e = {number(total)} >= {number(policy.bar)}"
    return (head, *(f"{in_rollout(state, name)}: e = {number(state.evidence.slis[name].log)}" for name in suspects))


def _spent(state: State, observed: Observed, policy: Policy) -> tuple[str, ...]:
    for rule in policy.slis:
        if rule.objective is not None:
            sli, what = state.evidence.slis[rule.name], budget(state, rule, policy, observed.now)
            if overspent(sli.stage_canary, sli.stage_champion, what):
                return (f"{in_stage(state, rule.name)} in this stage: more than the {what.stage:.0f} excess ones it may spend",)
    return ()


def _dead(state: State) -> tuple[str, ...]:
    """A canary that gateways cut off again and again while the champion answers. An incident that hits both does not count."""
    found = state.evidence
    healthy = found.beside_fuse.n >= ev.KNOWN and found.beside_fuse.bad * 2 < found.beside_fuse.n
    if found.fuses <= REARMS or not healthy:
        return ()
    return (
        f"a gateway cut the canary off {found.fuses} times; the champion meanwhile failed {failed(found.beside_fuse)} answers",
    )


def _fuse(state: State, observed: Observed, numbers: Mapping[str, float]) -> Decision:
    waited = observed.now - (state.evidence.fused or 0.0)
    times = f"a gateway cut the canary off (time {state.evidence.fuses})"
    if waited < REARM_AFTER or state.evidence.fuses > REARMS:
        return Decision(Action.HOLD, (f"{times}: waiting to see the champion answer alone",), numbers)
    return Decision(Action.REARM, (f"{times}: it gets another try",), numbers)


def _waiting(state: State, observed: Observed, policy: Policy, numbers: Mapping[str, float]) -> Decision:
    gate, approval = state.gate, observed.approval
    if gate is None or observed.now >= gate.expires_at:
        return Decision(Action.OPEN_GATE, ("the gate expired unanswered: opened anew on today's evidence",), numbers)
    if approval and approval.digest == gate.digest and gate.opened_at <= approval.at < gate.expires_at:
        unsafe = (*_frozen(state, observed, policy, 0.0), *_not_now(state, observed, policy))
        if unsafe:
            return Decision(Action.HOLD, ("approved, but", *unsafe), numbers)
        why = f"approved by {approval.user or 'a person (unnamed)'} as production version {approval.prod_version}"
        return Decision(Action.PROMOTE, (why,), numbers)
    return Decision(Action.HOLD, ("waiting for a person's approval",), numbers)


def _shadow(state: State, observed: Observed, policy: Policy) -> tuple[str, ...]:
    """What shadow still lacks."""
    missing = [*_frozen(state, observed, policy, FREEZE), *_not_now(state, observed, policy)]
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


def _stage(state: State, observed: Observed, policy: Policy) -> tuple[str, ...]:
    """What the stage still lacks."""
    weight = f"at {policy.stages[state.stage][0]:g} %"
    missing = [*_not_now(state, observed, policy)]
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


def _not_now(state: State, observed: Observed, policy: Policy) -> list[str]:
    """Why no canary moves on at this moment, whatever is proven.

    It may be worse. There is no news. Or the champion itself burns.
    """
    return [*_suspected(state, policy), *_stale(state, observed), *_incidents(state, observed, policy).values()]


def _stale(state: State, observed: Observed) -> list[str]:
    seen, last = state.evidence.slis["availability"], state.evidence.last
    answers = seen.champion.n + seen.canary.n
    if last is None or observed.now - last > max(STALE, SILENCE * (last - state.opened_at) / max(answers, 1)):
        return ["no answer was seen yet" if last is None else f"the last answer is {observed.now - last:.0f} s old"]
    return []


def _incidents(state: State, observed: Observed, policy: Policy) -> dict[str, str]:
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


def _frozen(state: State, observed: Observed, policy: Policy, least: float) -> tuple[str, ...]:
    """SLIs with less than `least` of their budget left."""
    left = {r.name: budget(state, r, policy, observed.now).left for r in policy.slis if r.objective is not None}
    return tuple(
        f"frozen: {name} has {share:.0%} of its budget left, and no rollout starts under {least:.0%}"
        for name, share in left.items()
        if share < least
    )


def _numbers(state: State, policy: Policy) -> dict[str, float]:
    slis = {f"log_e.{name}": sli.log for name, sli in sorted(state.evidence.slis.items())}
    return {"log_e": ev.log_worse(state.evidence), "log_bar": policy.bar, **slis}
