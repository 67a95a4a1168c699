"""A canary moves on when everything is proven, and at no other moment: a stage that is proven, and what each lack does."""

import math
from dataclasses import replace

import pytest

from pipelines.rollout import evidence as ev
from pipelines.rollout import policy as po
from pipelines.rollout.bets import Wealth
from pipelines.rollout.budget import INCIDENT, incident
from pipelines.rollout.decide import decide, step
from pipelines.rollout.evidence import Count, Recent, Sli
from pipelines.rollout.policy import DAY, Action, Approved, Decision, Gate, Observed, Phase, Policy, Rule, State
from pipelines.rollout.store import Event

STAGES = ((1, 50), (5, 10), (25, 4), (50, 2))
POLICY = Policy((Rule("availability", 0.99), Rule("pii", 0.99)), STAGES, stage_seconds=120.0, shadow_requests=100)
NOW = 10_000.0
PROVEN = Sli(
    champion=Count(90_000, 300), canary=Count(3_000, 9), stage_champion=Count(60_000, 200), stage_canary=Count(3_000, 9),
    recent=Recent(900.0, 3.0, NOW - 1),
)  # fmt: skip
SUSPECT = Wealth(1, (math.log(4),) * 9)
SOME = Count(400, 3)  # enough to leave the stage at 25 %, not that at 50 %


def at(stage: int = 2, sli: Sli = PROVEN, **more: object) -> State:
    """A rollout that has been in `stage` for 200 s."""
    state = po.prepared(po.start("2", "1", 0.0), POLICY)
    state = replace(state, phase=Phase.STAGE, stage=stage, since=NOW - 200)
    found = {"slis": {"availability": sli, "pii": PROVEN}, "last": NOW - 1} | more
    return replace(state, evidence=replace(state.evidence, **found))  # type: ignore[arg-type]


def action(state: State, now: float = NOW, policy: Policy = POLICY) -> Action:
    return decide(state, Observed(now), policy).action


def test_what_is_proven_moves_on() -> None:
    assert action(at()) is Action.ADVANCE
    for stage in range(3):
        after = step(at(stage), decide(at(stage), Observed(NOW), POLICY), NOW, POLICY)
        assert (after.stage, after.since, after.evidence.weights[-1]) == (stage + 1, NOW, (NOW, STAGES[stage + 1][0] / 100))
    assert action(at(3)) is Action.OPEN_GATE
    assert action(at(3), policy=replace(POLICY, person=False)) is Action.PROMOTE


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (at(sli=replace(PROVEN, stage_canary=Count(49))), "49 of 50 canary requests"),
        (replace(at(), since=NOW - 119), "less than 120 s"),
        (at(sli=replace(PROVEN, canary=Count(60, 1), stage_canary=Count(60, 1))), "a burn of 4 is not excluded"),
        (at(sli=replace(PROVEN, stage_canary=Count(3_000, 290))), "a burn of 10 in this stage alone is not excluded"),
        (at(sli=replace(PROVEN, wealth=SUSPECT, canary=SOME, stage_canary=SOME)), "the canary may be worse"),
        (at(sli=replace(PROVEN, recent=Recent(900, 60, NOW - 1))), "frozen: the champion burns, too: availability"),
        (at(last=NOW - 31), "the last answer is 31 s old"),
        (at(last=None), "no answer was seen yet"),
        (at(fused=NOW - 1, fuses=1), "a gateway cut the canary off"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_holds_while_anything_is_missing_and_says_what(state: State, why: str) -> None:
    decision = decide(state, Observed(NOW), POLICY)
    assert decision.action is Action.HOLD
    assert why in " ".join(decision.reasons)


def test_a_suspect_moves_on_by_the_next_stages_proof_since_nothing_else_would_ever_clear_it() -> None:
    """Beside a champion without a fault the e-value never falls again: one bad answer would hold a good canary for ever."""
    faultless = replace(PROVEN, champion=Count(90_000), stage_champion=Count(60_000), recent=Recent(900.0, 0.0, NOW - 1))
    suspect = replace(faultless, wealth=SUSPECT)
    assert action(at(sli=replace(suspect, canary=SOME, stage_canary=SOME))) is Action.HOLD
    assert action(at(sli=replace(faultless, canary=SOME, stage_canary=SOME))) is Action.ADVANCE
    assert action(at(sli=suspect)) is Action.ADVANCE


def test_no_traffic_at_a_service_that_is_seldom_asked_is_nothing_special() -> None:
    few = replace(PROVEN, champion=Count(80), canary=Count(60))
    assert "s old" not in " ".join(decide(at(sli=few, last=NOW - 400), Observed(NOW), POLICY).reasons)


@pytest.mark.parametrize(("log", "expected"), [(POLICY.bar, Action.ROLLBACK), (POLICY.bar - 1e-9, Action.HOLD)])
def test_it_is_rolled_back_from_one_over_alpha_on(log: float, expected: Action, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wealth, "log", property(lambda _self: log))
    one = at(slis={"availability": replace(PROVEN, canary=SOME, stage_canary=SOME)})
    assert action(one, policy=replace(POLICY, slis=POLICY.slis[:1])) is expected


def test_the_error_is_shared_by_all_slis() -> None:
    rich = Sli(wealth=Wealth(1, (math.log(300),) * 9))
    one = ev.Evidence("1", "2", {"availability": rich})
    assert ev.log_worse(one) == pytest.approx(rich.wealth.log)
    six = replace(one, slis={"availability": rich} | {f"sli{i}": Sli() for i in range(5)})
    assert math.exp(ev.log_worse(six)) == pytest.approx((math.exp(rich.wealth.log) + 5) / 6)


def test_a_stage_that_spent_its_budget_is_rolled_back_without_any_proof() -> None:
    spent = Count(3_000, 130)
    state = at(sli=replace(PROVEN, stage_champion=Count(3_000, 30), stage_canary=spent, canary=spent, recent=Recent()))
    decision = decide(state, Observed(NOW), POLICY)
    assert decision.action is Action.HOLD, "1 % of a month's budget is far more"
    small = replace(POLICY, window=NOW)
    decision = decide(state, Observed(NOW), small)
    assert decision.action is Action.ROLLBACK
    assert "excess" in decision.reasons[0]


def test_a_canary_cut_off_while_the_champion_fails_as_well_is_not_given_up() -> None:
    sick, well = at(fused=NOW - 20, fuses=3, beside_fuse=Count(40, 30)), at(fused=NOW - 20, fuses=3, beside_fuse=Count(40, 2))
    assert action(sick) is Action.HOLD
    assert action(well) is Action.ROLLBACK


def test_an_approval_counts_only_while_all_is_well() -> None:
    gate = Gate(NOW - 100, NOW + 7 * DAY, "d", "")
    waiting = replace(at(3), phase=Phase.APPROVAL, gate=gate)
    asked = Observed(NOW, Approved("7", "d", NOW - 50))
    assert decide(waiting, asked, POLICY).action is Action.PROMOTE
    burning = {"availability": replace(PROVEN, recent=Recent(900, 60, NOW - 1)), "pii": PROVEN}
    for unsafe in ({"slis": burning}, {"last": NOW - 60}):
        state = replace(waiting, evidence=replace(waiting.evidence, **unsafe))
        decision = decide(state, asked, POLICY)
        assert (decision.action, decision.reasons[0]) == (Action.HOLD, "approved, but")
    broke = replace(waiting, before={"pii": Count(1_000_000, 20_000)}, counted_since=NOW - 30 * DAY)
    assert "frozen: pii" in " ".join(decide(broke, asked, POLICY).reasons)


def test_shadow_is_left_when_the_last_stage_but_ones_burn_is_excluded_and_may_be_left_out_altogether() -> None:
    start = po.prepared(po.start("2", "1", 0.0), POLICY)
    assert po.traffic(start, POLICY) == (0.0, True)
    pairs = (Sli(mirror_canary=Count(120, 4), mirror_champion=Count(120, 1)), Sli(mirror_canary=Count(600, 4)))
    few, many = (
        replace(start, evidence=replace(start.evidence, slis=dict.fromkeys(start.evidence.slis, seen), last=NOW))
        for seen in pairs
    )
    assert action(few) is Action.HOLD
    assert action(many) is Action.ADVANCE
    without, alone = replace(POLICY, shadow_requests=0), replace(POLICY, stages=())
    assert po.traffic(start, without) == (0.0, False)
    assert action(few, policy=without) is Action.ADVANCE
    seen = dict.fromkeys(many.evidence.slis, Sli(mirror_canary=Count(6_000, 40)))
    lots = replace(many, evidence=replace(many.evidence, slis=seen))
    assert (action(many, policy=alone), action(lots, policy=alone)) == (Action.HOLD, Action.OPEN_GATE), "shadow alone"
    asked = replace(lots, phase=Phase.APPROVAL)
    assert (po.traffic(asked, alone), po.stage_name(asked, alone)) == ((0.0, True), "waiting for approval")


def test_a_mirrored_stage_goes_on_betting_on_pairs() -> None:
    mirrored = replace(POLICY, mirrored=True)
    state = step(po.prepared(po.start("2", "1", 0.0), mirrored), Decision(Action.ADVANCE, ("x",), {}), 100.0, mirrored)
    assert po.traffic(state, mirrored) == (1, True)
    journal = []
    for i in range(40):
        ask = Event(f"r{i}", f"u{i}", "champion", "1", 110.0 + i, {"availability": True})
        journal += [ask, replace(ask, arm="canary", version="2", at=ask.at + 0.1, shadow=True, slis={"availability": False})]
    found = ev.fold(state.evidence, journal).slis["availability"]
    assert found.pairs is not None
    assert (found.pairs.bets, found.wealth.bets, found.canary, found.mirror_canary) == (40, 0, Count(), Count(40, 40))
    assert found.log > math.log(100)


def test_an_answer_of_an_earlier_stage_that_comes_late_counts_in_the_rollout_alone() -> None:
    state = ev.enter(ev.Evidence("1", "2", {"availability": Sli()}, weights=((0.0, 0.0),)), 100.0, 0.25)
    arms = (("canary", "2"), ("champion", "1"))
    late = [Event("r", "u", arm, version, 99.0, {"availability": True}) for arm, version in arms]
    found = ev.fold(state, late).slis["availability"]
    assert (found.champion, found.canary, found.stage_champion, found.stage_canary) == (Count(1), Count(1), Count(), Count())


def test_an_incident_is_four_times_the_usual() -> None:
    usual = Count(100_000, 100)
    assert INCIDENT == 4
    assert not incident(Recent(1_000, 4), usual)
    assert not incident(Recent(1_000, 8), usual), "four, and the chance of twice as many"
    assert incident(Recent(1_000, 9), usual)
    assert not incident(Recent(), Count())
    assert Recent(8, 4, 0).add(0, 0, ev.HALF_LIFE) == Recent(4, 2, ev.HALF_LIFE)
