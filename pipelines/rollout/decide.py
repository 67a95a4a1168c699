"""What to do with a rollout now: `decide(state, observed, policy) -> Decision`, and `step`, which makes it so. All pure.

    first ───────────────────────────────────────────────▶ promoted        (no champion: the gates alone)
    shadow ──▶ stage 1 ──▶ ... ──▶ stage n ──▶ approval ──▶ probation ──▶ promoted
      │           │ ◀────────────── set back ─────────────────┤
      └───────────┴──────────────────┴────────────┴───────────┴─────────▶ rolled back    (final)

No data and no proof both mean: hold.
"""

from collections.abc import Mapping
from dataclasses import replace

from pipelines.rollout import evidence as ev
from pipelines.rollout import moving_on, probation
from pipelines.rollout.budget import overspent
from pipelines.rollout.policy import TERMINAL, Action, Decision, Gate, Observed, Phase, Policy, State, budget
from pipelines.rollout.wording import failed, in_rollout, in_stage, number

REARM_AFTER = 10.0  # seconds that a gateway's fuse stays blown before the canary gets another try
REARMS = 2
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
    missing = (
        moving_on.shadow(state, observed, policy) if state.phase is Phase.SHADOW else moving_on.stage(state, observed, policy)
    )
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
    shared = moving_on.incidents(state, observed, policy)
    if doubts or beyond:
        likewise = not beyond and probation.suspects(state, policy) <= shared.keys()
        return Decision(Action.HOLD if likewise else Action.SET_BACK, (*doubts, *beyond, *shared.values()), numbers)
    missing = [*probation.unfinished(state, observed.now, policy), *moving_on.stale(state, observed), *shared.values()]
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
        unsafe = (*moving_on.frozen(state, observed, policy, 0.0), *moving_on.not_now(state, observed, policy))
        if unsafe:
            return Decision(Action.HOLD, ("approved, but", *unsafe), numbers)
        why = f"approved by {approval.user or 'a person (unnamed)'} as production version {approval.prod_version}"
        return Decision(Action.PROMOTE, (why,), numbers)
    return Decision(Action.HOLD, ("waiting for a person's approval",), numbers)


def _numbers(state: State, policy: Policy) -> dict[str, float]:
    slis = {f"log_e.{name}": sli.log for name, sli in sorted(state.evidence.slis.items())}
    return {"log_e": ev.log_worse(state.evidence), "log_bar": policy.bar, **slis}
