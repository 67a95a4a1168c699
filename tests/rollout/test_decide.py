"""Whatever is observed in whatever order, the machine keeps its promises."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import spec
from pipelines.rollout import bets
from pipelines.rollout import evidence as ev
from pipelines.rollout import policy as po
from pipelines.rollout.bets import Wealth
from pipelines.rollout.decide import decide, step
from pipelines.rollout.evidence import Count, Sli
from pipelines.rollout.policy import DAY, Action, Approved, Decision, Gate, Observed, Phase, Policy, State
from pipelines.rollout.store import Event
from tests.rollout.traffic import POLICY, TWO, World, run, same

ORDER = [Phase.SHADOW, Phase.STAGE, Phase.APPROVAL, Phase.PROBATION, Phase.PROMOTED]
counts = st.builds(lambda n, bad: Count(n, min(n, bad)), st.integers(0, 5_000), st.integers(0, 200))
slis = st.builds(
    Sli,
    st.builds(lambda n, a: Wealth(n, (a,) * len(bets.RATIOS)), st.integers(1, 50), st.floats(-9, 9)),
    counts, counts, counts, counts, counts, counts,
)  # fmt: skip


def waiting(digest: str = "d", opened_at: float = 100.0) -> State:
    state = po.prepared(po.start("2", "1", 0.0), TWO)
    gate = Gate(opened_at, opened_at + 7 * DAY, digest, "")
    answered = replace(state.evidence, last=opened_at + 99.0)
    return replace(state, phase=Phase.APPROVAL, stage=3, since=opened_at, gate=gate, evidence=answered)


@st.composite
def walks(draw: st.DrawFn) -> list[tuple[dict[str, Sli], Observed, bool]]:
    now, rows = 0.0, []
    for _ in range(draw(st.integers(1, 15))):
        now += draw(st.floats(0, 3 * DAY))
        approval = draw(
            st.none() | st.builds(Approved, st.just("7"), st.sampled_from(["gate", "other"]), st.floats(0, 40 * DAY))
        )
        found = {rule.name: draw(slis) for rule in POLICY.slis}
        rows.append((found, Observed(now, approval, draw(st.booleans())), draw(st.integers(0, 9)) == 0))
    return rows


@given(walks(), st.booleans(), st.sampled_from([0.0, 3_600.0]))
@settings(max_examples=80)
def test_no_walk_breaks_a_promise(
    walk: list[tuple[dict[str, Sli], Observed, bool]], person: bool, probation_seconds: float
) -> None:
    policy = replace(POLICY, person=person, probation_seconds=probation_seconds)
    state = po.prepared(po.start("2", "1", 0.0), policy)
    for found, observed, fused in walk:
        since = observed.now - 1 if fused else None
        state = replace(state, evidence=replace(state.evidence, slis=found, fused=since, fuses=int(fused)))
        before, weight = state, po.traffic(state, policy)[0]
        decision = decide(state, observed, policy)
        gate = (
            Gate(observed.now, observed.now + policy.gate_seconds, "gate", "") if decision.action is Action.OPEN_GATE else None
        )
        state = step(state, decision, observed.now, policy, gate)
        keeps(before, weight, decision, state, observed, policy)


def keeps(before: State, weight: float, decision: Decision, after: State, observed: Observed, policy: Policy) -> None:
    assert decision.reasons
    assert all(decision.reasons)
    moved = after.phase is not before.phase or after.stage != before.stage
    if before.phase in po.TERMINAL:
        assert not moved, "the end is final"
        assert (decision.action is Action.FINISH) == observed.drained
        return
    bar = ev.log_worse(before.evidence) >= policy.bar
    assert not bar or decision.action is Action.ROLLBACK, "proof that the canary is worse always wins"
    if decision.action is Action.ADVANCE:
        place = -1 if before.phase is Phase.SHADOW else before.stage
        assert (after.phase, after.stage) == (Phase.STAGE, place + 1), "no stage is skipped"
        assert po.traffic(after, policy)[0] > weight
    if decision.action is Action.SET_BACK:
        assert before.phase is Phase.PROBATION, "nothing else is taken back"
        assert (after.phase, after.stage, after.gate) == (Phase.STAGE, 0, None)
    elif after.phase is not Phase.ROLLED_BACK and moved:
        assert ORDER.index(after.phase) >= ORDER.index(before.phase)
        assert before.evidence.fused is None
    if decision.action is Action.PROMOTE and policy.person:
        assert before.phase is Phase.APPROVAL
        assert before.gate
        assert observed.approval
        assert observed.approval.digest == before.gate.digest
        assert before.gate.opened_at <= observed.approval.at < before.gate.expires_at
        assert observed.now < before.gate.expires_at
    if decision.action in (Action.PROMOTE, Action.OPEN_GATE) and before.phase is not Phase.APPROVAL:
        assert before.phase is Phase.STAGE
        assert before.stage == len(policy.stages) - 1
    if decision.action is Action.PROMOTE:
        assert after.phase is (Phase.PROBATION if policy.probation_seconds else Phase.PROMOTED)
    if decision.action is Action.END_PROBATION:
        assert before.phase is Phase.PROBATION
        assert observed.now - before.since >= policy.probation_seconds
    if before.phase is Phase.STAGE and moved and after.phase is not Phase.ROLLED_BACK:
        assert before.evidence.slis["availability"].stage_canary.n >= policy.stage_requests, "no blind step"


def test_no_traffic_holds_for_ever_and_asks_a_person_after_a_day() -> None:
    state = po.prepared(po.start("2", "1", 0.0), POLICY)
    for entered in (state, step(state, Decision(Action.ADVANCE, ("x",), {}), 0.0, POLICY)):
        early, late = decide(entered, Observed(60.0), POLICY), decide(entered, Observed(40 * DAY), POLICY)
        assert early.action is late.action is Action.HOLD
        assert "a person should look" not in " ".join(early.reasons)
        assert "a person should look" in late.reasons[0]


def test_without_a_champion_the_gates_alone_let_it_in() -> None:
    decision = decide(po.prepared(po.start("1", None, 0.0), POLICY), Observed(1.0), POLICY)
    assert decision.action is Action.PROMOTE
    assert "no champion" in decision.reasons[0]


@pytest.mark.parametrize(
    ("approval", "now", "expected"),
    [
        (None, 200.0, Action.HOLD),
        (Approved("7", "d", 150.0), 200.0, Action.PROMOTE),
        (Approved("7", "other", 150.0), 200.0, Action.HOLD),
        (Approved("7", "d", 99.0), 200.0, Action.HOLD),
        (Approved("7", "d", 150.0), 100.0 + 7 * DAY, Action.OPEN_GATE),
        (None, 100.0 + 8 * DAY, Action.OPEN_GATE),
    ],
)
def test_only_an_approval_of_the_open_gate_promotes(approval: Approved | None, now: float, expected: Action) -> None:
    assert decide(waiting(), Observed(now, approval), TWO).action is expected


def test_a_breach_while_waiting_beats_an_approval() -> None:
    state = waiting()
    hurt = [Event(f"r{i}", f"u{i}", "canary", "2", 105.0 + i, {"availability": False}) for i in range(30)]
    state = replace(state, evidence=ev.fold(ev.enter(state.evidence, 100.0, 0.5), hurt))
    decision = decide(state, Observed(200.0, Approved("7", "d", 150.0)), TWO)
    assert decision.action is Action.ROLLBACK
    assert "30 of 30" in " ".join(decision.reasons)
    assert ">= 100" in decision.reasons[0]


def test_a_canary_that_cannot_run_is_given_up_only_if_the_champion_can() -> None:
    state = step(po.prepared(po.start("2", "1", 0.0), TWO), Decision(Action.ADVANCE, ("x",), {}), 0.0, TWO)
    now = 10.0
    actions = []
    for times in range(3):
        fuse = Event("", "", "canary", "2", now, {}, kind="fuse")
        beside = [Event(f"r{i}", f"u{i}", "champion", "1", now + 1 + i / 10, {"availability": True}) for i in range(40)]
        state = replace(state, evidence=ev.fold(state.evidence, [fuse, *beside]))
        assert state.evidence.fuses == times + 1
        now += 12.0
        decision = decide(state, Observed(now), TWO)
        actions.append(decision.action)
        state = step(state, decision, now, TWO)
        now += 3.0
    assert actions == [Action.REARM, Action.REARM, Action.ROLLBACK]


def test_a_rollout_does_not_start_on_a_spent_budget() -> None:
    world = World(same(0.002), seed=3)
    done = run(world, replace(TWO, shadow_requests=100_000), longest=60.0)
    assert done.state.phase is Phase.SHADOW
    spent = replace(done.state, before={"latency": Count(10_000_000, 150_000)}, counted_since=1_000.0 - 30 * DAY)
    decision = decide(spent, Observed(1_061.0), TWO)
    assert decision.action is Action.HOLD
    assert any("frozen: latency has -50% of its budget left" in reason for reason in decision.reasons)


def test_the_spec_becomes_the_policy() -> None:
    rollout = spec.Rollout(stages=(spec.Stage(weight=10, burn=5),), alpha=0.05, approval="gates", shadow_requests=7)
    policy = Policy.of(spec.Slo(window_days=7, judged=0), rollout)
    assert policy.stages == ((10, 5),)
    assert (policy.alpha, policy.person, policy.shadow_requests, policy.window) == (0.05, False, 7, 7 * DAY)
    assert [rule.name for rule in policy.slis] == ["availability", "latency"]
    assert "judge" in [rule.name for rule in POLICY.slis]
    assert (policy.probation_seconds, policy.holdback) == (DAY, 1)
    high = spec.Rollout(stages=(spec.Stage(weight=99.5, burn=2),))
    assert Policy.of(spec.Slo(), high).holdback == 0.5, "a probation never takes users away from the version"
