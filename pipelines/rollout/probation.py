"""The probation of a promoted version: how it begins, what casts doubt on it, what it lacks, and the way back. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from pipelines.rollout import evidence as ev
from pipelines.rollout import watch
from pipelines.rollout.policy import Phase, Policy, State
from pipelines.rollout.store import Event
from pipelines.rollout.wording import number


def begin(state: State, now: float, policy: Policy) -> State:
    """`state` at the start of its probation: the bounds are fixed here.

    For the evidence the version has all users: at 99 % no bet on the split can win, and one made would use its user up.
    """
    slis = state.evidence.slis
    bounds = {rule.name: watch.begun(slis[rule.name].champion, rule.budget, policy.confidence) for rule in policy.slis
              if rule.objective is not None}  # fmt: skip
    return replace(state, phase=Phase.PROBATION, since=now, watched=bounds, evidence=ev.enter(state.evidence, now, 1.0))


def read(state: State, events: Iterable[Event]) -> State:
    """`state` after `events`, each held against the bounds; their users must be known (`ledger.with_users`)."""
    found = state.evidence
    watched, users = watch.fold(state.watched, events, found.canary, found.entered, found.users)
    return replace(state, watched=watched, evidence=replace(found, users=users))


def set_back(state: State, now: float, policy: Policy) -> State:
    """`state` at the first stage again (in shadow if there is none), from where it has to earn everything anew."""
    phase, share = (Phase.STAGE, policy.stages[0][0] / 100) if policy.stages else (Phase.SHADOW, 0.0)
    entered = ev.enter(state.evidence, now, share, policy.mirrored)
    return replace(state, phase=phase, stage=0, since=now, gate=None, watched={}, evidence=entered)


def doubts(state: State, policy: Policy) -> tuple[str, ...]:
    """Why the version can hardly be keeping the bounds; empty while it may."""
    total = watch.log_worse(state.watched)
    if total < policy.bar:
        return ()
    head = f"on probation it does not keep what the champion kept: e = {number(total)} >= {number(policy.bar)}"
    worst = max(state.watched, key=lambda name: state.watched[name].log)
    return (head, _said(state, worst))


def suspects(state: State, policy: Policy) -> set[str]:
    """The SLIs that cast the doubt: those which prove it by themselves, else the worst."""
    proven = {name for name, watched in state.watched.items() if watched.log >= policy.bar}
    return proven or {max(state.watched, key=lambda name: state.watched[name].log)}


def unfinished(state: State, now: float, policy: Policy) -> list[str]:
    """What the probation lacks before it ends."""
    answers, missing = state.evidence.slis["availability"].stage_canary.n, []
    left = policy.probation_seconds - (now - state.since)
    if left > 0:
        missing.append("on probation for another " + (f"{left / 3600:.1f} h" if left >= 360 else f"{left:.0f} s"))
    if answers < policy.stage_requests:
        missing.append(f"on probation: {answers} of {policy.stage_requests} requests")
    return missing


def overdue(state: State, now: float, policy: Policy) -> list[str]:
    """Whom to ask about a probation that cannot end."""
    late = now - state.since - policy.probation_seconds
    if late < policy.ask_seconds:
        return []
    return [f"a person should look: the probation should have ended {late / 3600:.0f} h ago"]


def figures(state: State, policy: Policy) -> tuple[str, ...]:
    """How it stands against each bound."""
    if not state.watched:
        return ()
    head = f"set back to the first stage at e = {number(policy.bar)}: now e = {number(watch.log_worse(state.watched))}"
    return (head, *(_said(state, name) for name in sorted(state.watched)))


def _said(state: State, name: str) -> str:
    sli, watched = state.evidence.slis[name], state.watched[name]
    mine, former = sli.stage_canary, sli.stage_champion
    return (
        f"{name}: {mine.bad:,} of {mine.n:,} bad since, at most {watched.bound:.2%} may be: e = {number(watched.log)} "
        f"(the former champion: {former.bad:,} of {former.n:,})"
    )
