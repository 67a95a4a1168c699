"""Pause, freeze and resume, by real ticks on a real database and registry."""

from collections.abc import Callable

import pytest

from pipelines.errors import UserError
from pipelines.registry import Registry
from pipelines.rollout import controller
from pipelines.rollout.holding import freeze, pause, resume
from pipelines.rollout.policy import Action, Phase
from pipelines.rollout.status import render, rollback, status
from pipelines.rollout.store import Store
from pipelines.spec import Spec
from tests.rollout.page import press_promote
from tests.rollout.test_controller import aliases, drive, events, first_champion, tags, to_approval
from tests.rollout.test_status import said
from tests.rollout.traffic import World, canary, same

Model = Callable[[int], Spec]


def test_a_paused_canary_keeps_its_share_till_it_is_resumed(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = first_champion(store, registry, spec)
    controller.open(store, spec.name, "2", "1", now)
    with pytest.raises(UserError, match="nothing to resume: it is neither paused nor frozen"):
        resume(store, spec.name, "", now, "ann")
    assert "version 2 stays where it is" in pause(store, spec.name, "lunch", now, "ann")
    world = World(same(0.0))
    now, outcome = drive(store, registry, spec, world, now, lambda outcome: "but for that" in outcome.reasons[-1])
    assert outcome.reasons[0].startswith("paused by ann since 20")
    assert outcome.reasons[0].endswith(": lunch")
    assert outcome.state
    assert outcome.state.phase is Phase.SHADOW
    assert "Paused by ann" in said(render(status(store, spec, now)))
    with pytest.raises(UserError, match=r"it is paused by ann .*: `seqline resume "):
        pause(store, spec.name, "", now, "bob")
    assert "no longer paused by ann" in resume(store, spec.name, "back", now, "ann")
    drive(store, registry, spec, world, now, lambda outcome: outcome.action is Action.ADVANCE, most=2)
    told = [event for version, event in events(registry, spec.name) if version == "2"]
    assert told == ["rollout opened", "paused", "resumed", "stage"]


def test_a_paused_canary_that_gets_worse_is_rolled_back_all_the_same(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = first_champion(store, registry, spec)
    controller.open(store, spec.name, "2", "1", now)
    pause(store, spec.name, "", now, "ann")
    _, outcome = drive(store, registry, spec, World(canary(0.3, 0.0)), now, lambda outcome: not outcome.open)
    assert outcome.state
    assert outcome.state.phase is Phase.ROLLED_BACK
    with pytest.raises(UserError, match="nothing to resume"):
        resume(store, spec.name, "", now, "ann")


def test_a_freeze_outlasts_rollouts_and_stops_the_first_version_too(store: Store, registry: Registry, model: Model) -> None:
    spec = model(1)
    assert "a new version stays in shadow" in freeze(store, spec.name, "holidays", 1_000.0, "ann")
    with pytest.raises(UserError, match=r"frozen by ann since 1970-01-01 00:16 UTC: holidays already"):
        freeze(store, spec.name, "", 1_001.0, "bob")
    controller.open(store, spec.name, "1", None, 1_002.0)
    outcome = controller.tick(store, registry, spec, 1_003.0)
    assert (outcome.action, store.route(spec.name)) == (Action.HOLD, None)
    rollback(store, spec.name, "", 1_004.0, "ann")
    controller.tick(store, registry, spec, 1_005.0)
    assert status(store, spec, 1_006.0)["held"].startswith("frozen by ann")
    resume(store, spec.name, "", 1_007.0, "ann")
    controller.open(store, spec.name, "1", None, 1_008.0, again=True)
    assert controller.tick(store, registry, spec, 1_009.0).action is Action.PROMOTE


def test_an_approval_of_a_frozen_model_is_refused(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = to_approval(store, registry, spec)
    freeze(store, spec.name, "audit", now, "ann")
    pressed = press_promote(registry, spec.name, "2")
    outcome = controller.tick(store, registry, spec, now + 2)
    assert outcome.action is Action.HOLD
    assert "refused: frozen by ann" in tags(registry, f"{spec.name}-prod", pressed)["seqline.verdict"]
    resume(store, spec.name, "", now + 3, "ann")
    assert controller.tick(store, registry, spec, now + 4).action is Action.HOLD, "what was refused stays refused"
    press_promote(registry, spec.name, "2")
    assert controller.tick(store, registry, spec, now + 6).action is Action.PROMOTE
    assert aliases(registry, spec.name)["champion"] == "2"


def test_there_must_be_a_rollout_to_pause(store: Store) -> None:
    with pytest.raises(UserError, match="nothing to pause: no rollout is open"):
        pause(store, "tiny", "", 1.0, "ann")
