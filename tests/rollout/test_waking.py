"""Clocks that jump, leases that ran out, specs that changed: by the pure rule and by ticks on a real database."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.registry import Registry
from pipelines.rollout import controller
from pipelines.rollout import evidence as ev
from pipelines.rollout.policy import Action, Phase, State, prepared, start
from pipelines.rollout.store import LEASE_SECONDS, Route, Store
from pipelines.rollout.waking import awake
from pipelines.spec import Spec
from tests.rollout.page import journal, spec_of
from tests.rollout.test_controller import drive, first_champion
from tests.rollout.traffic import TICK, TWO, World, same

Model = Callable[[int], Spec]
NOW = 1_000_000.0


def at_stage(stage: int, since: float) -> State:
    state = prepared(start("2", "1", since - 100), TWO)
    weight = TWO.stages[stage][0] / 100
    return replace(state, phase=Phase.STAGE, stage=stage, since=since, evidence=ev.enter(state.evidence, since, weight))


def route(until: float, weight: float = 1.0) -> Route:
    return Route("1", "2", weight, lease_until=until)


def test_with_nothing_wrong_it_is_as_it_was() -> None:
    state = at_stage(0, NOW)
    assert awake(state, route(NOW + 30), TWO, NOW + 3, NOW + 5) == state


def test_time_that_nobody_watched_is_no_time_in_the_stage() -> None:
    found = awake(at_stage(1, NOW), route(NOW + 40, 5.0), TWO, NOW + 10, NOW + 640)
    assert found.since == NOW + 600, "40 seconds in the stage, as when the lease ran out"
    assert found.evidence.share(NOW + 300) == (0.0, True)
    assert found.evidence.share(NOW + 645) == (0.05, True)


@given(st.floats(0, 1e6), st.sampled_from([0, 1, 2, 3]))
def test_a_clock_that_goes_back_leaves_nothing_in_the_future(back: float, stage: int) -> None:
    state, now = at_stage(stage, NOW), NOW + 5 - back
    found = awake(state, route(NOW + 35, TWO.stages[stage][0]), TWO, NOW + 5, now)
    assert max(found.since, found.opened_at, *(at for at, _ in found.evidence.weights)) <= max(now, NOW)
    share, _ = found.evidence.share(now + 3)
    assert share == TWO.stages[stage][0] / 100, "users are split as the route says, not as a stage before"


def test_other_stages_in_the_spec_begin_the_stage_anew() -> None:
    fewer = replace(TWO, stages=((1.0, 50.0), (10.0, 4.0)))
    found = awake(replace(at_stage(3, NOW), phase=Phase.APPROVAL), route(NOW + 30, 50.0), fewer, NOW, NOW + 9)
    assert (found.phase, found.stage, found.since, found.gate) == (Phase.STAGE, 1, NOW + 9, None)
    assert found.evidence.weights[-1] == (NOW + 9, 0.1)


@pytest.mark.parametrize("jump", [pytest.param(-3_600.0, id="back"), pytest.param(3_600.0, id="ahead")])
def test_a_jump_of_the_clock_lifts_no_weight(store: Store, registry: Registry, model: Model, jump: float) -> None:
    """In a stage of 120 s that has seen enough at once, only time holds the canary back: a jump is no time."""
    spec = model(2)
    now = first_champion(store, registry, spec)
    long = spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"stage_seconds": 120.0})})
    controller.open(store, spec.name, "2", "1", now)
    world = World(same(0.0))
    now, _ = drive(store, registry, long, world, now, lambda outcome: outcome.action is Action.ADVANCE)
    before = store.route(spec.name)
    now += jump
    for _ in range(10):
        now += TICK
        journal(store, spec.name, world, now)
        outcome = controller.tick(store, registry, long, now)
        assert outcome.action is Action.HOLD, outcome.reasons
    after = store.route(spec.name)
    assert before
    assert after
    assert (after.weight, after.generation) == (before.weight, before.generation)
    assert after.lease_until == now + LEASE_SECONDS
    assert outcome.state
    assert outcome.state.since <= now


def test_what_comes_twice_or_late_counts_once(store: Store) -> None:
    """A gateway that writes its last batches again after a crash, and one whose events come a minute late."""
    name = "tiny"
    controller.open(store, name, "1", None, NOW)
    with store.transaction() as connection:
        store.set_route(name, Route("1", "2", 20.0, lease_until=NOW + 9e9), connection)
    journal(store, name, World(same(0.1), rate=50), NOW + TICK)
    once = store.read(name, {})
    for _ in range(3):
        store.append(name, f"gateway of {name}", list(once.events))
    assert store.read(name, {}) == once
    assert store.read(name, once.offsets).events == []
    late = [replace(event, gateway="late", seq=i) for i, event in enumerate(once.events)]
    store.append(name, "late", late)
    assert [event.seq for event in store.read(name, once.offsets).events] == [event.seq for event in late]
    assert spec_of(name).name == name
