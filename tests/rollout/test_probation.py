"""After the approval: what ends a probation, what sets it back, and that an incident that hits both rolls nothing back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.registry import Registry
from pipelines.rollout import controller, effects, ledger, page, probation, production
from pipelines.rollout import evidence as ev
from pipelines.rollout import policy as po
from pipelines.rollout.bets import RATIOS, Wealth
from pipelines.rollout.decide import decide, step
from pipelines.rollout.evidence import Count, Recent
from pipelines.rollout.policy import Action, Decision, Observed, Phase, State
from pipelines.rollout.status import in_production, rollback, status
from pipelines.rollout.store import Event, Route, Store
from pipelines.rollout.waking import awake
from pipelines.rollout.watch import Watch
from pipelines.spec import Spec
from tests.benchmarks.probation import probation as simulated
from tests.benchmarks.rollout.scenarios import BASE
from tests.benchmarks.rollout.traffic import flat, hit, late
from tests.rollout.page import journal
from tests.rollout.test_controller import aliases, drive, events, first_champion
from tests.rollout.traffic import TWO, World, canary, same

Model = Callable[[int], Spec]
HOUR = 3_600.0
POLICY = replace(TWO, probation_seconds=24 * HOUR, holdback=1.0)
NOW = 100_000.0


USUAL, MINE, FORMER = Count(50_000, 50), Count(70_000, 70), Count(700, 1)


def promoted(champion: Count = USUAL) -> State:
    """A version that was promoted at NOW, after a rollout in which the champion was bad in one of a thousand answers."""
    state = po.prepared(po.start("2", "1", NOW - 2_000), POLICY)
    slis = {name: replace(s, champion=champion, canary=Count(20_000, 20)) for name, s in state.evidence.slis.items()}
    state = replace(state, phase=Phase.APPROVAL, stage=3, evidence=replace(state.evidence, slis=slis, last=NOW))
    return step(state, Decision(Action.PROMOTE, ("approved",), {}), NOW, POLICY)


def after(state: State, seconds: float, mine: Count = MINE, former: Count = FORMER, **more: Any) -> State:
    """`state` when it has answered for so long."""
    slis = {
        name: replace(s, stage_canary=mine, stage_champion=former, canary=s.canary + mine, champion=s.champion + former)
        for name, s in state.evidence.slis.items()
    }
    return replace(state, evidence=replace(state.evidence, slis=slis, last=NOW + seconds, **more))


def bad(state: State, n: int, good_before: int = 20) -> State:
    """`state` after `n` bad answers in availability, each after so many good ones."""
    watched = state.watched["availability"]
    for _ in range(n):
        watched = Watch(watched.bound, watched.wealth, watched.good + good_before).add(False)
    return replace(state, watched={**state.watched, "availability": watched})


def test_the_approval_begins_it_with_almost_all_users_and_fixed_bounds() -> None:
    state = promoted()
    assert (state.phase, state.since, po.traffic(state, POLICY)) == (Phase.PROBATION, NOW, (99.0, False))
    assert state.evidence.share(NOW + 10) == (1.0, True), "nobody is bet on, and used up, where no bet can win"
    assert state.watched["availability"].bound == pytest.approx(0.01), "the SLO's budget"
    assert promoted(Count(50_000, 1_000)).watched["availability"].bound == pytest.approx(0.0216, abs=5e-4)
    assert "on probation until 1970-01-03 03:46 UTC" in po.stage_name(state, POLICY)
    none = replace(POLICY, probation_seconds=0.0)
    assert step(replace(state, phase=Phase.APPROVAL), Decision(Action.PROMOTE, ("x",), {}), NOW, none).phase is Phase.PROMOTED
    first = po.prepared(po.start("1", None, NOW), POLICY)
    assert step(first, Decision(Action.PROMOTE, ("x",), {}), NOW, POLICY).phase is Phase.PROMOTED, "nobody to go back to"


def test_it_ends_when_the_time_is_over_and_enough_was_asked() -> None:
    state, day = promoted(), 24 * HOUR
    early = decide(after(state, 3 * HOUR), Observed(NOW + 3 * HOUR), POLICY)
    assert early.action is Action.HOLD
    assert early.reasons[0] == "on probation for another 21.0 h"
    assert "availability: 70 of 70,000 bad since, at most 1.00% may be" in " ".join(early.reasons)
    done = decide(after(state, day), Observed(NOW + day), POLICY)
    assert done.action is Action.END_PROBATION
    assert step(state, done, NOW + day, POLICY).phase is Phase.PROMOTED
    asleep = decide(after(state, day, mine=Count(POLICY.stage_requests - 1)), Observed(NOW + day), POLICY)
    assert asleep.reasons[0] == "on probation: 49 of 50 requests"
    silent = after(state, 60.0)
    assert decide(silent, Observed(NOW + day + HOUR), POLICY).action is Action.HOLD, "no news is no proof"
    assert "a person should look" in decide(silent, Observed(NOW + 2 * day), POLICY).reasons[0]


def test_doubt_sets_it_back_to_the_first_stage_where_the_comparison_decides() -> None:
    state = bad(after(promoted(), 2 * HOUR), 12)
    decision = decide(state, Observed(NOW + 2 * HOUR), POLICY)
    assert decision.action is Action.SET_BACK
    assert decision.reasons[0].startswith("on probation it does not keep what the champion kept: e = ")
    back = step(state, decision, NOW + 2 * HOUR, POLICY)
    assert (back.phase, back.stage, back.gate, back.watched) == (Phase.STAGE, 0, None, {})
    assert po.traffic(back, POLICY) == (1.0, False)
    assert ev.log_worse(back.evidence) == ev.log_worse(state.evidence), "what the comparison knows is kept"
    assert back.evidence.share(NOW + 2 * HOUR + 10) == (0.01, True)
    alone = replace(POLICY, stages=())
    assert step(state, decision, NOW, alone).phase is Phase.SHADOW


def test_other_doubts_are_a_blown_fuse_and_a_spent_stage() -> None:
    now = Observed(NOW + HOUR)
    fused = decide(after(promoted(), HOUR, fused=NOW + HOUR - 1, fuses=1), now, POLICY)
    assert (fused.action, fused.reasons[0]) == (Action.SET_BACK, "a gateway cut it off")
    spent = decide(after(promoted(), HOUR, mine=Count(30_000, 20_000)), now, POLICY)
    assert spent.action is Action.SET_BACK
    assert "excess ones it may spend" in spent.reasons[0]


def test_proof_that_comes_late_takes_the_promotion_back() -> None:
    state = after(promoted(), 60.0)
    slis = {name: replace(s, wealth=Wealth(1, (6.0,) * len(RATIOS))) for name, s in state.evidence.slis.items()}
    worse = replace(state, evidence=replace(state.evidence, slis=slis))
    decision = decide(worse, Observed(NOW + 61), POLICY)
    assert decision.action is Action.ROLLBACK
    told = effects.decided(worse.phase, step(worse, decision, NOW + 61, POLICY), decision, NOW + 61, None)
    assert told[0] == ("set_alias", {"alias": "champion", "version": "1"})


def test_whose_bad_answer_counted_is_known_at_the_next_tick(store: Store) -> None:
    state = promoted()
    first, second = (Event("r", user, "canary", "2", NOW + 1, {"availability": False}) for user in ("ann", "bob"))
    once = probation.read(state, [first])
    with store.transaction() as connection:
        number = ledger.begin("tiny", state, {}, connection)
        ledger.add_users(number, once.evidence.users, connection)
        bare = replace(once, evidence=replace(once.evidence, users=frozenset()))
        known = ledger.with_users(number, bare, [first, second], connection)
    assert known.evidence.users == once.evidence.users
    assert probation.read(known, [first]).watched == once.watched
    assert probation.read(known, [second]).watched != once.watched


def test_while_the_former_champion_burns_likewise_it_holds() -> None:
    state = bad(after(promoted(), HOUR), 40, good_before=1)
    slis = {name: replace(s, recent=Recent(80.0, 30.0, NOW + HOUR)) for name, s in state.evidence.slis.items()}
    shared = replace(state, evidence=replace(state.evidence, slis=slis))
    assert decide(state, Observed(NOW + HOUR), POLICY).action is Action.SET_BACK
    held = decide(shared, Observed(NOW + HOUR), POLICY)
    assert held.action is Action.HOLD
    assert "the champion burns, too" in " ".join(held.reasons)
    other = {name: s if name == "availability" else slis[name] for name, s in state.evidence.slis.items()}
    elsewhere = replace(state, evidence=replace(state.evidence, slis=other))
    assert decide(elsewhere, Observed(NOW + HOUR), POLICY).action is Action.SET_BACK, "slow answers excuse no failed ones"
    fused = replace(shared, evidence=replace(shared.evidence, fused=NOW + HOUR - 1, fuses=1))
    assert decide(fused, Observed(NOW + HOUR), POLICY).action is Action.SET_BACK


def test_one_that_is_overdue_ends_as_soon_as_nothing_is_missing() -> None:
    """Frozen over a weekend, say."""
    late = 60 * HOUR
    assert decide(after(promoted(), late), Observed(NOW + late), POLICY).action is Action.END_PROBATION


def test_an_sli_that_the_spec_no_longer_names_is_watched_no_longer() -> None:
    state = promoted()
    fewer = replace(POLICY, slis=tuple(rule for rule in POLICY.slis if rule.name != "latency"))
    assert "latency" in state.watched
    assert "latency" not in po.prepared(state, fewer).watched
    assert decide(po.prepared(after(state, HOUR), fewer), Observed(NOW + HOUR), fewer).action is Action.HOLD


def test_a_tick_that_comes_late_reads_what_was_before_the_lease_ran_out(store: Store, registry: Registry, model: Model) -> None:
    spec, now = to_probation(store, registry, model)
    world = World(canary(0.5, 0.0), seed=3)
    journal(store, spec.name, world, now + 2)
    outcome = controller.tick(store, registry, spec, now + 120)
    assert outcome.action is Action.SET_BACK, "the bad answers of its last served seconds are not lost"


counts = st.builds(lambda n, bad: Count(n, min(n, bad)), st.integers(0, 5_000), st.integers(0, 300))


@given(st.lists(st.tuples(st.floats(0, 30 * HOUR), counts, counts, st.integers(0, 3), st.booleans()), max_size=12))
@settings(max_examples=60)
def test_two_ways_lead_out_and_neither_is_blind(
    steps: list[tuple[float, Count, Count, int, bool]],
) -> None:
    state, now = promoted(), NOW
    for wait, mine, former, hurt, fused in steps:
        now += wait
        since = now - 1 if fused else None
        state = bad(after(state, now - NOW, mine, former, fused=since, fuses=int(fused)), hurt)
        decision = decide(state, Observed(now), POLICY)
        assert decision.reasons
        if decision.action is Action.END_PROBATION:
            assert now - state.since >= POLICY.probation_seconds
            assert mine.n >= POLICY.stage_requests
            assert not fused
            assert not probation.doubts(state, POLICY)
        assert decision.action in (Action.HOLD, Action.END_PROBATION, Action.SET_BACK), "it is rolled back by comparison alone"
        state = step(state, decision, now, POLICY)
        if decision.action is not Action.HOLD:
            return
        assert (state.phase, po.traffic(state, POLICY)[0]) == (Phase.PROBATION, 99.0)


def test_time_that_nobody_watched_is_no_probation() -> None:
    state = promoted()
    found = awake(state, Route("1", "2", 99.0, lease_until=NOW + 130), POLICY, NOW + 100, NOW + 1_130)
    assert (found.phase, found.since) == (Phase.PROBATION, NOW + 1_000)
    assert found.watched == state.watched


def on_probation(spec: Spec, hours: float) -> Spec:
    """`spec` with a probation, and no person to ask."""
    told = spec.rollout.probation.model_copy(update={"hours": hours})
    return spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"probation": told, "approval": "gates"})})


def to_probation(store: Store, registry: Registry, model: Model, versions: int = 2, hours: float = 1.0) -> tuple[Spec, float]:
    spec = on_probation(model(versions), hours)
    now = first_champion(store, registry, spec)
    controller.open(store, spec.name, "2", "1", now)
    now, _ = drive(store, registry, spec, World(same(0.0)), now, lambda outcome: outcome.on_probation)
    return spec, now


def mine(registry: Registry, spec: Spec) -> list[str]:
    return [event for version, event in events(registry, spec.name) if version == "2" and event not in ("let in", "asked in")]


def test_a_good_version_keeps_what_it_was_given(store: Store, registry: Registry, model: Model) -> None:
    spec, begun = to_probation(store, registry, model, hours=20 / HOUR)
    assert aliases(registry, spec.name) == {"champion": "2"}, "it was promoted at the start of its probation"
    route = store.route(spec.name)
    assert route
    assert (route.champion, route.canary, route.weight, route.shadow) == ("1", "2", 99.0, False)
    shown = status(store, spec, begun)
    assert (shown["production"], in_production(store, spec.name), shown["rollout"]["phase"]) == ("2", "2", "probation")
    assert shown["verdict"].startswith("version 2 has 99 %, on probation until ")
    now, outcome = drive(store, registry, spec, World(same(0.0)), begun, lambda outcome: not outcome.on_probation)
    assert outcome.action is Action.END_PROBATION
    assert now - begun >= 20
    route = store.route(spec.name)
    assert route
    assert (route.champion, route.canary, route.weight) == ("2", None, 0.0)
    assert not controller.tick(store, registry, spec, now + 2).open
    assert mine(registry, spec)[-2:] == ["promoted", "probation ended"]
    day = [each for each in production.reigns(registry.history(spec.name)) if each.since >= begun]
    assert [(each.version, each.former, each.weight) for each in day] == [
        ("2", False, 100.0),
        ("1", True, 1.0),
    ]
    assert [each.until for each in day] == [None, now]
    assert rollback(store, spec.name, "", now + 3, "ann") == f"{spec.name}: version 1 serves everybody again instead of 2"


def test_one_that_turns_bad_goes_back_at_once_and_then_out(store: Store, registry: Registry, model: Model) -> None:
    spec, begun = to_probation(store, registry, model)
    salt = store.route(spec.name)
    world = World(canary(0.5, 0.0), seed=2)
    now, outcome = drive(store, registry, spec, world, begun, lambda outcome: not outcome.on_probation)
    assert outcome.action is Action.SET_BACK
    assert now - begun <= 6
    route = store.route(spec.name)
    assert route
    assert salt
    assert (route.champion, route.canary, route.weight) == ("1", "2", 20.0)
    assert route.salt != salt.salt, "the users are drawn anew"
    assert aliases(registry, spec.name) == {"champion": "1", "canary": "2"}
    assert in_production(store, spec.name) == "1"
    now, outcome = drive(store, registry, spec, world, now, lambda outcome: not outcome.open)
    assert outcome.state
    assert outcome.state.phase is Phase.ROLLED_BACK
    assert aliases(registry, spec.name) == {"champion": "1"}
    assert mine(registry, spec)[-3:] == ["promoted", "set back", "rolled back"]
    kept = next(entry for entry in registry.history(spec.name) if entry.event == "set back")
    assert (kept.detail["champion"], kept.detail["weight"]) == ("1", 20.0)
    assert "does not keep what the champion kept" in kept.detail["reasons"][0]
    served = production.on(registry.history(spec.name), datetime.fromtimestamp(now, UTC).date())
    assert (served[-1].version, served[-1].canary, served[-1].weight) == ("2", True, 20.0)
    assert next(each for each in reversed(served) if not each.canary and not each.former).version == "1"
    text = page.latest(store, spec.name)
    assert "set back" in text
    assert "on probation" in text


def test_on_the_virtual_clock_one_that_turns_bad_after_two_hours_is_caught() -> None:
    for seed in range(3):
        turned = simulated(late(0.5, BASE, 2 * HOUR), flat(BASE), 10.0, seed, 6 * HOUR)
        assert turned.state.phase is Phase.ROLLED_BACK
        back, out = turned.after(Action.SET_BACK), turned.after(Action.ROLLBACK)
        assert back
        assert out
        assert turned.begun + 2 * HOUR <= back <= turned.begun + 2 * HOUR + 6, "within three ticks"
        assert back < out
        assert len([at for at in turned.hurt if at >= turned.begun + 2 * HOUR]) <= 50


def test_on_the_virtual_clock_an_incident_that_hits_both_rolls_nothing_back() -> None:
    broken = hit(BASE, 0.3, 2 * HOUR, 2 * HOUR + 300)
    for seed in range(2):
        run = simulated(broken, broken, 10.0, seed, 6 * HOUR)
        assert run.after(Action.ROLLBACK) is None
        assert run.state.phase is Phase.PROBATION, "it has earned its way back"


def test_a_newer_version_ends_it_early(store: Store, registry: Registry, model: Model) -> None:
    spec, now = to_probation(store, registry, model, versions=3)
    controller.open(store, spec.name, "3", "1", now + 1)
    route = store.route(spec.name)
    assert route
    assert (route.champion, route.canary, route.weight, route.shadow) == ("2", "3", 0.0, True)
    controller.tick(store, registry, spec, now + 2)
    ended = [entry for entry in registry.history(spec.name) if entry.event == "probation ended"]
    assert [(entry.version, entry.detail["reasons"]) for entry in ended] == [("2", ["ended early: version 3 came"])]
    assert aliases(registry, spec.name) == {"champion": "2", "canary": "3"}
    with store.transaction() as connection:
        closed = ledger.rollout_of(spec.name, "2", connection)
    assert closed
    assert closed.outcome == Phase.PROMOTED
    assert "version 2 serves everybody" in rollback(store, spec.name, "", now + 3, "ann")


def test_one_that_gateways_keep_down_is_no_champion_for_the_next(store: Store) -> None:
    state = after(promoted(), 60.0, fused=NOW + 50, fuses=1)
    with store.transaction() as connection:
        number = ledger.begin("tiny", state, {}, connection)
        store.set_route("tiny", Route("1", "2", 99.0, lease_until=NOW + 80), connection)
    controller.open(store, "tiny", "3", "1", NOW + 61)
    route = store.route("tiny")
    assert route
    assert (route.champion, route.canary, route.weight, route.shadow) == ("1", "3", 0.0, True)
    with store.transaction() as connection:
        told = [effect.payload for effect in ledger.pending("tiny", connection) if effect.rollout == number]
    assert told[0] == {"alias": "champion", "version": "1"}
    assert "a gateway cut it off" in str(told)


def test_rolled_back_by_hand_on_probation(store: Store, registry: Registry, model: Model) -> None:
    spec, now = to_probation(store, registry, model)
    assert "version 1 serves everybody" in rollback(store, spec.name, "users complain", now + 1, "ann")
    route = store.route(spec.name)
    assert route
    assert (route.champion, route.canary, route.weight) == ("1", None, 0.0)
    controller.tick(store, registry, spec, now + 2)
    assert aliases(registry, spec.name) == {"champion": "1"}
    last = [entry for entry in registry.history(spec.name) if entry.event == "rolled back"][-1]
    assert (last.detail["champion"], last.detail["reasons"]) == ("1", ["by hand, ann: users complain"])
    with pytest.raises(UserError, match="nothing to roll back"):
        rollback(store, spec.name, "", now + 3, "ann")
