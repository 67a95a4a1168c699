"""Five hundred rollouts on the virtual clock of the benchmark: the real fold and decide, and what they promise."""

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.rollout import evidence as ev
from pipelines.rollout import policy as po
from pipelines.rollout.evidence import Evidence, Sli
from pipelines.rollout.policy import Action, Phase, Rule
from pipelines.rollout.store import Event
from tests.benchmarks.rollout.clock import CLASSIC, MIRRORED, SHADOW, Clock, Ended, calm
from tests.benchmarks.rollout.peers import ENOUGH, PEERS
from tests.benchmarks.rollout.scenarios import TRICKLE
from tests.benchmarks.rollout.traffic import Rate, World, flat, hit, information_limit, late, wald

SLIS = (Rule("availability", 0.99),)  # an objective whose stages end soon; the benchmark's is 99.9 %
POLICIES = [replace(policy, slis=SLIS) for policy in (CLASSIC, SHADOW, MIRRORED)]
BASE = flat(0.01)
INCIDENT = hit(0.01, 0.5, 60.0, 120.0)
GOOD = {
    "alike": (BASE, BASE, "heavy", 20_000),
    "an incident hits both": (INCIDENT, INCIDENT, "heavy", 20_000),
    "a champion 3x worse than its SLO": (flat(0.03), flat(0.03), "heavy", 20_000),
    "few users": (BASE, BASE, "very heavy", 500),
    "a better canary": (BASE, flat(0.002), "heavy", 20_000),
}


def run(champion: Rate, canary: Rate, seed: int, policy: po.Policy, tail: str = "heavy", users: int = 20_000) -> Ended:
    world = World({"availability": champion}, {"availability": canary}, 40.0, users, tail, seed)
    return Clock(world, policy, 4 * 3_600.0).run()


@pytest.mark.parametrize("case", GOOD)
def test_of_three_hundred_good_canaries_hardly_one_is_rolled_back_and_none_is_let_in_blind(case: str) -> None:
    champion, canary, tail, users = GOOD[case]
    runs = [run(champion, canary, seed, POLICIES[seed % 3], tail, users) for seed in range(60)]
    assert sum(each.rolled_back for each in runs) <= 3, "at most 0.6 of 60 expected; more than 3 has a chance of 0.03 %"
    assert sum(each.promoted for each in runs) >= 57
    assert all(each.served >= ENOUGH for each in runs if each.promoted)


@pytest.mark.parametrize(("rate", "most"), [(0.5, 4.0), (0.2, 6.0)])
def test_of_a_hundred_bad_canaries_all_are_rolled_back_before_many_are_hurt(rate: float, most: float) -> None:
    runs = {i: [run(BASE, flat(rate), seed, policy) for seed in range(34)] for i, policy in enumerate(POLICIES)}
    assert all(each.rolled_back for found in runs.values() for each in found)
    assert statistics.mean(each.bad for each in runs[0]) <= most
    for mirrored in (runs[1], runs[2]):
        assert sum(each.bad for each in mirrored) == 0, "shadow finds it before any user meets it"
        assert all(each.mirrored for each in mirrored)


def test_a_canary_that_turns_bad_late_is_rolled_back() -> None:
    runs = [run(BASE, late(0.3, 0.01, 200.0), seed, POLICIES[seed % 3]) for seed in range(9)]
    assert all(each.rolled_back for each in runs)
    assert all(each.seconds > 200 for each in runs)


@pytest.mark.parametrize("rate", [0.0, TRICKLE])
def test_without_traffic_it_holds(rate: float) -> None:
    for policy in POLICIES:
        world = World({"availability": BASE}, {"availability": BASE}, rate or 1e-9, seed=1)
        ended = Clock(world, policy, 12 * 3_600.0).run()
        assert ended.phase in (Phase.SHADOW, Phase.STAGE)
        assert ended.weight <= 1


def test_a_rollout_is_the_same_again() -> None:
    assert run(BASE, flat(0.05), 7, POLICIES[0]) == run(BASE, flat(0.05), 7, POLICIES[0])


GAPS = st.lists(st.tuples(st.floats(0, 600), st.floats(1, 300)).map(lambda gap: (gap[0], gap[0] + gap[1])), max_size=3)


@given(st.integers(0, 10**6), st.sampled_from([0.001, 0.01, 0.03, 0.2]), st.sampled_from(POLICIES), st.booleans(), GAPS)
@settings(max_examples=25, deadline=None)
def test_whatever_comes_the_weight_rises_by_stages_and_the_end_is_the_end(
    seed: int, rate: float, policy: po.Policy, person: bool, gaps: list[tuple[float, float]]
) -> None:
    policy = replace(policy, person=person)
    clock = Clock(World({"availability": BASE}, {"availability": flat(rate)}, 40.0, seed=seed), policy, 3_600.0, gaps)
    before = -1.0
    while clock.now < clock.longest and clock.state.phase not in po.TERMINAL:
        weight, _ = po.traffic(clock.state, policy)
        assert weight >= before
        before, since, state = weight, clock.now, clock.state
        clock.tick()
        assert clock.now > since
        if ev.log_worse(clock.state.evidence) >= policy.bar:
            assert clock.state.phase is Phase.ROLLED_BACK, "rolled back in the very tick"
        if po.traffic(clock.state, policy)[0] > weight and state.phase is Phase.STAGE:
            assert clock.state.evidence.last is not None
            assert clock.now - clock.state.evidence.last <= 30, "the weight never rises on stale data"
            assert since + clock.look - state.since >= policy.stage_seconds
    actions = [action for _, action in clock.actions]
    assert actions.count(Action.ADVANCE) <= len(policy.stages)
    assert actions.count(Action.OPEN_GATE) <= int(person)


@given(st.integers(0, 30), st.integers(0, 30), st.booleans())
@settings(max_examples=20, deadline=None)
def test_counting_good_answers_is_folding_them(champion: int, canary: int, mirrored: bool) -> None:
    start = Evidence("1", "2", {"availability": Sli(), "pii": Sli()}, weights=((0.0, 0.0),))
    start = ev.enter(start, 5.0, 0.25, mirrored)
    good = {"availability": True, "pii": True}
    journal = [Event(f"a{i}", f"u{i}", "champion", "1", 10.0, good) for i in range(champion)]
    if mirrored:
        journal += [replace(each, arm="canary", version="2", shadow=True) for each in journal]
    journal += [Event(f"b{i}", f"v{i}", "canary", "2", 10.0, good) for i in range(canary)]
    folded = ev.fold(start, journal)
    counted = calm(start, 10.0, champion, canary, champion if mirrored else 0)
    for name, found in counted.slis.items():
        recent = folded.slis[name].recent
        assert (recent.n, recent.bad) == pytest.approx((found.recent.n, found.recent.bad))
        assert replace(folded.slis[name], recent=found.recent) == found
    assert counted.last == folded.last


def test_traffic_is_what_it_says() -> None:
    world = World({"availability": flat(0.1)}, {"availability": flat(0.1)}, 50.0, seed=3)
    whole = world.bads("canary", "availability", 0.0, 4_000.0)
    assert len(whole.at) == pytest.approx(20_000, rel=0.05)
    parts = [world.bads("canary", "availability", start, start + 100.0) for start in range(0, 4_000, 100)]
    assert sum(len(part.at) for part in parts) == len(whole.at)
    assert world.share(0, 1) == pytest.approx(1)
    assert (whole.place < 0.25).mean() == pytest.approx(world.share(0, 0.25), abs=0.02)


def test_the_bounds() -> None:
    assert wald(0.5, 0.001, 0.01) == pytest.approx(0.83, abs=0.01)
    assert information_limit(0.001, 0.002, 0.05) / 600 == pytest.approx(16, abs=0.3), "minutes at ten a second"
    assert math.isclose(hit(0.1, 0.5, 10, 20).mean(12, 14), 0.5)


def test_others_decide_as_they_are_documented_to() -> None:
    worse, same = ({"availability": flat(0.5)}, {"availability": flat(0.001)})
    ended = {name: rule(World(same, worse, 10.0, seed=1)) for name, rule in PEERS.items()}
    assert all(each.rolled_back for each in ended.values())
    assert ended["Argo, documented"].seconds == 1_200, "three measurements, from 40 % on, five minutes apart"
    assert ended["Argo, documented"].bad == pytest.approx(1_800, rel=0.1)
    assert ended["Flagger, documented"].seconds == 360, "five failed checks, then the tick that rolls back"
    assert ended["Kayenta-like"].seconds == 3_600
    fine = {name: rule(World(same, {"availability": flat(1e-6)}, 10.0, seed=1)) for name, rule in PEERS.items()}
    assert all(each.promoted for each in fine.values())
