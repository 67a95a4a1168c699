"""What a tick mends in a state before it reads on: time that nobody watched, clocks that jumped, a spec that changed. Pure."""

from dataclasses import replace

from pipelines.rollout import evidence as ev
from pipelines.rollout.policy import Phase, Policy, State, traffic
from pipelines.rollout.store import Route

SERVING = frozenset({Phase.STAGE, Phase.APPROVAL})


def awake(state: State, route: Route, policy: Policy, last: float | None, now: float) -> State:
    """`state` as a tick at `now` may go on from it; `last` is the time of the tick before."""
    if last is not None and now < last:
        state = _back(state, now)
    if route.canary and route.weight and route.lease_until < now:
        state = _unwatched(state, route.lease_until, now)
    return _respecified(state, policy, now)


def _back(state: State, now: float) -> State:
    """The clock went back: nothing may lie in the future, or the shares of the users would be those of another stage."""
    found = state.evidence
    evidence = replace(
        found,
        weights=tuple((min(at, now), share) for at, share in found.weights),
        fused=None if found.fused is None else min(found.fused, now),
        last=None if found.last is None else min(found.last, now),
        entered=min(found.entered, now),
    )
    return replace(state, since=min(state.since, now), opened_at=min(state.opened_at, now), evidence=evidence)


def _unwatched(state: State, until: float, now: float) -> State:
    """The lease ran out at `until`: everybody was the champion's, and it was no time in the stage. A jump ahead looks alike."""
    since = state.since if state.phase is Phase.APPROVAL else min(now, state.since + now - until)
    return replace(state, since=since, evidence=ev.lapse(state.evidence, until, now))


def _respecified(state: State, policy: Policy, now: float) -> State:
    """The spec may have other stages by now: a stage whose weight is another one begins anew, and is approved anew."""
    if state.phase not in SERVING or not policy.stages:
        return state
    state = replace(state, stage=min(state.stage, len(policy.stages) - 1))
    weight, mirrored = traffic(state, policy)
    if not state.evidence.weights or state.evidence.weights[-1][1] == weight / 100:
        return state
    entered = ev.enter(state.evidence, now, weight / 100, mirrored)
    return replace(state, phase=Phase.STAGE, since=now, gate=None, evidence=entered)
