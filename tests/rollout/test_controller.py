"""Ticks on a real rollout database and a real MLflow registry."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.errors import Transient, UserError
from pipelines.registry import Registry, stamps
from pipelines.rollout import controller, ledger
from pipelines.rollout.controller import Outcome
from pipelines.rollout.policy import Action, Phase
from pipelines.rollout.status import rollback, status
from pipelines.rollout.store import LEASE_SECONDS, Event, Route, Store, outbox, rollouts
from pipelines.spec import Spec
from tests.rollout.page import journal, press_promote
from tests.rollout.traffic import TICK, World, canary, same

Model = Callable[[int], Spec]
START = time.time() - 7_200


def first_champion(store: Store, registry: Registry, spec: Spec) -> float:
    """Let version 1 in, as a first retrain does; return the time."""
    controller.open(store, spec.name, "1", None, START)
    for i in range(3):
        controller.tick(store, registry, spec, START + i)
    return START + 10


def drive(
    store: Store, registry: Registry, spec: Spec, world: World, now: float, until: Callable[[Outcome], bool], most: int = 300
) -> tuple[float, Outcome]:
    """Tick on `world`'s traffic until `until`."""
    for _ in range(most):
        now += TICK
        journal(store, spec.name, world, now)
        outcome = controller.tick(store, registry, spec, now)
        if until(outcome):
            return now, outcome
    raise AssertionError(f"still {outcome.where} after {most} ticks: {outcome.reasons}")


def aliases(registry: Registry, name: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in registry.client.get_registered_model(name).aliases.items()}


def events(registry: Registry, name: str) -> list[tuple[str, str]]:
    return [(entry.version, entry.event) for entry in registry.history(name) if entry.event != "registered"]


def tags(registry: Registry, name: str, version: str) -> Mapping[str, str]:
    found: Mapping[str, str] = registry.client.get_model_version(name, version).tags
    return found


def to_approval(store: Store, registry: Registry, spec: Spec) -> float:
    now = first_champion(store, registry, spec)
    controller.open(store, spec.name, "2", "1", now)
    now, _ = drive(store, registry, spec, World(same(0.0)), now, lambda outcome: outcome.waiting_for_approval)
    return now


def test_the_first_version_is_let_in_by_the_gates_alone(store: Store, registry: Registry, model: Model) -> None:
    spec = model(1)
    controller.open(store, spec.name, "1", None, START)
    assert store.route(spec.name) is None
    outcome = controller.tick(store, registry, spec, START + 1)
    assert (outcome.action, outcome.open) == (Action.PROMOTE, True)
    assert "no champion: let in by the gates alone" in outcome.summary
    assert not controller.tick(store, registry, spec, START + 2).open
    assert controller.tick(store, registry, spec, START + 3).summary == f"{spec.name}: no rollout is open"
    route = store.route(spec.name)
    assert route
    assert (route.champion, route.canary, route.weight) == ("1", None, 0.0)
    assert aliases(registry, spec.name) == {"champion": "1"}
    assert "no champion" in tags(registry, f"{spec.name}-prod", "1")["seqline.approver"]


def test_a_good_version_goes_through_every_stage_to_the_approval_and_in(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = to_approval(store, registry, spec)
    route = store.route(spec.name)
    assert route
    assert (route.champion, route.canary, route.weight, route.lease_until) == ("1", "2", 50.0, now + LEASE_SECONDS)
    assert aliases(registry, spec.name) == {"champion": "1", "canary": "2"}
    shown = registry.client.get_model_version(spec.name, "2").description
    assert "Promote model" in shown
    assert "| availability | 0 of" in shown
    assert status(store, spec, now)["rollout"]["approval"]

    wrong = press_promote(registry, spec.name, "1")
    now, outcome = drive(store, registry, spec, World(same(0.0)), now, lambda _: True)
    assert outcome.action is Action.HOLD
    assert "refused" in tags(registry, f"{spec.name}-prod", wrong)["seqline.verdict"]

    right, again = press_promote(registry, spec.name, "2"), press_promote(registry, spec.name, "2")
    now, outcome = drive(store, registry, spec, World(same(0.0)), now, lambda outcome: not outcome.open, most=2)
    assert outcome.state
    assert outcome.state.phase is Phase.PROMOTED
    assert tags(registry, f"{spec.name}-prod", right)["seqline.verdict"].endswith("accepted")
    assert "had approved already" in tags(registry, f"{spec.name}-prod", again)["seqline.verdict"]
    assert aliases(registry, spec.name) == {"champion": "2"}
    route = store.route(spec.name)
    assert route
    assert (route.champion, route.canary) == ("2", None)
    told = [event for version, event in events(registry, spec.name) if version == "2" and event not in ("let in", "asked in")]
    assert told == ["rollout opened", "stage", "stage", "gate opened", "promoted"]
    promoted = {entry.version: entry for entry in registry.history(spec.name) if entry.event == "promoted"}
    assert {version: entry.detail["approver"] for version, entry in promoted.items()} == {
        "1": "nobody: the gates alone", "2": "unknown",
    }  # fmt: skip
    for version, entry in promoted.items():
        assert entry.detail["data_md5"] == tags(registry, spec.name, version)["seqline.data_md5"]
        let_in = "1" if version == "1" else right
        assert entry.detail["digest"] == tags(registry, f"{spec.name}-prod", let_in)["seqline.evidence"]
        assert entry.at <= now

    said = rollback(store, spec.name, "users complain", now + 1, "ann")
    assert said == f"{spec.name}: version 1 serves everybody again instead of 2"
    controller.tick(store, registry, spec, now + 2)
    assert aliases(registry, spec.name) == {"champion": "1"}
    with pytest.raises(UserError, match="nothing to roll back"):
        rollback(store, spec.name, "", now + 3, "ann")


def test_a_broken_version_is_rolled_back_and_stays_out(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = first_champion(store, registry, spec)
    controller.open(store, spec.name, "2", "1", now)
    now, outcome = drive(store, registry, spec, World(canary(0.1, 0.0)), now, lambda outcome: not outcome.open)
    assert outcome.state
    assert outcome.state.phase is Phase.ROLLED_BACK
    assert aliases(registry, spec.name) == {"champion": "1"}
    assert tags(registry, spec.name, "2")["seqline.state"].startswith("rolled back: the canary is worse than the champion: e =")
    with store.transaction() as connection:
        reasons = ledger.latest_decisions(spec.name, 2, connection)[1]["reasons"]
    assert ">= 100" in reasons[0]
    assert reasons[1].startswith("availability: canary bad in")
    before = store.route(spec.name)
    controller.open(store, spec.name, "2", "1", now)
    assert store.open_rollout(spec.name) is None, "what was rolled back is not rolled out again by itself"
    assert store.route(spec.name) == before
    controller.open(store, spec.name, "2", "1", now, again=True)
    assert store.open_rollout(spec.name)


def test_two_approvers_are_two_people_whom_the_server_names(store: Store, registry: Registry, model: Model) -> None:
    one = model(2)
    spec = one.model_copy(update={"rollout": one.rollout.model_copy(update={"approvers": 2})})
    now, prod = to_approval(store, registry, spec), f"{spec.name}-prod"
    assert "2 people" in status(store, spec, now)["rollout"]["approval"]
    named = Registry(registry.uri, registry.artifacts)
    named.audit_key = b"the server's"

    def press(who: str | None) -> str:
        number = press_promote(registry, spec.name, "2")
        if who:  # as MLflow's server does, where authorization.py guards it
            registry.client.set_model_version_tag(prod, number, stamps.PERSON, stamps.stamp(b"the server's", prod, number, who))
        return number

    nobody, ann, again = press(None), press("ann"), press("ann")
    now, outcome = drive(store, named, spec, World(same(0.0)), now, lambda _: True)
    assert outcome.reasons == ("1 of 2 approvals, by ann: another person must press Promote model, too",)
    assert "names nobody" in tags(registry, prod, nobody)["seqline.verdict"]
    assert "ann has approved already" in tags(registry, prod, again)["seqline.verdict"]
    bob = press("bob")
    now, outcome = drive(store, named, spec, World(same(0.0)), now, lambda _: True)
    assert outcome.action is Action.PROMOTE
    assert [tags(registry, prod, number)["seqline.approver"] for number in (ann, bob)] == ["ann", "bob"]
    promoted = [entry.detail["approver"] for entry in registry.history(spec.name) if entry.event == "promoted"]
    assert promoted[-1] == "ann and bob"


def test_an_approval_in_an_incident_is_refused_with_what_closed_the_gate(
    store: Store, registry: Registry, model: Model
) -> None:
    """A dependency of both versions breaks during the wait: the canary is no worse, but nobody could tell."""
    spec = model(2)
    good = {"availability": True, "latency": True}
    past = [Event(f"r{i}", f"u{i}", "champion", "1", START - i, good, gateway="past", seq=-i) for i in range(10_000)]
    store.append(spec.name, "past", past)
    now = to_approval(store, registry, spec)
    for _ in range(5):
        now, outcome = drive(store, registry, spec, World(same(0.9)), now, lambda _: True)
    assert outcome.waiting_for_approval
    pressed = press_promote(registry, spec.name, "2")
    now, outcome = drive(store, registry, spec, World(same(0.9)), now, lambda _: True)
    assert outcome.action is Action.HOLD
    assert outcome.reasons[0] == "approved, but"
    verdict = tags(registry, f"{spec.name}-prod", pressed)["seqline.verdict"]
    assert verdict == f"{pressed}: refused: {'; '.join(outcome.reasons[1:])}"
    assert aliases(registry, spec.name)["champion"] == "1"


def test_an_approval_on_old_news_is_kept_and_acted_on_with_the_next_answers(
    store: Store, registry: Registry, model: Model
) -> None:
    """Traffic that is replayed ends when the gate opens: who presses an hour later has not pressed in vain."""
    spec = model(2)
    now = to_approval(store, registry, spec) + 3_600
    pressed = press_promote(registry, spec.name, "2")
    outcome = controller.tick(store, registry, spec, now)
    assert outcome.action is Action.HOLD
    assert outcome.approved
    assert not outcome.waiting_for_approval, "a watch goes on, and replays traffic"
    assert "the last answer is" in " ".join(outcome.reasons)
    assert outcome.summary.endswith("approved, and let in with the next good answers")
    assert "seqline.verdict" not in tags(registry, f"{spec.name}-prod", pressed)
    now, outcome = drive(store, registry, spec, World(same(0.0)), now, lambda outcome: not outcome.open, most=3)
    assert outcome.state
    assert outcome.state.phase is Phase.PROMOTED
    assert aliases(registry, spec.name) == {"champion": "2"}


def test_rolled_back_by_hand_while_waiting(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = to_approval(store, registry, spec)
    pressed = press_promote(registry, spec.name, "2")
    assert "version 1 serves everybody" in rollback(store, spec.name, "", now + 0.5, "bob")
    route = store.route(spec.name)
    assert route
    assert (route.champion, route.canary, route.weight) == ("1", None, 0.0)
    outcome = controller.tick(store, registry, spec, now + 1)
    assert not outcome.open
    assert aliases(registry, spec.name) == {"champion": "1"}
    assert tags(registry, spec.name, "2")["seqline.state"] == "rolled back: by hand, bob: no reason given"
    assert tags(registry, f"{spec.name}-prod", pressed)["seqline.verdict"].endswith("refused: the canary was rolled back")


def test_opening_is_idempotent_and_a_newer_version_supersedes(store: Store, registry: Registry, model: Model) -> None:
    spec = model(3)
    now = first_champion(store, registry, spec)
    one = controller.open(store, spec.name, "2", "1", now)
    route = store.route(spec.name)
    assert route
    assert (route.canary, route.shadow, route.weight) == ("2", True, 0.0)
    assert controller.open(store, spec.name, "2", "1", now + 5) == one
    assert store.route(spec.name) == route
    two = controller.open(store, spec.name, "3", "1", now + 10)
    assert two != one
    later = store.route(spec.name)
    assert later
    assert later.canary == "3"
    assert later.salt != route.salt
    controller.tick(store, registry, spec, now + 12)
    assert aliases(registry, spec.name)["canary"] == "3"
    assert ("2", "superseded") in events(registry, spec.name)
    assert controller.open(store, spec.name, "2", "1", now + 13) == one, "it had its turn"
    with pytest.raises(UserError, match="version 3 is being rolled out, and 2 is older"):
        controller.open(store, spec.name, "2", "1", now + 14, again=True)


class Away(Registry):
    """A registry whose server is away now and then."""

    away = True

    def __getattribute__(self, name: str) -> Any:
        if name in ("version", "set_alias", "approvals") and object.__getattribute__(self, "away"):
            raise Transient("MLflow does not answer")
        return super().__getattribute__(name)


def test_traffic_is_decided_while_the_registry_is_away_and_it_is_told_later(
    store: Store, registry: Registry, model: Model
) -> None:
    spec = model(2)
    now = first_champion(store, registry, spec)
    away = Away(registry.uri, registry.artifacts)
    controller.open(store, spec.name, "2", "1", now)
    now, _ = drive(store, away, spec, World(canary(0.5, 0.0)), now, lambda outcome: outcome.action is Action.ROLLBACK)
    route = store.route(spec.name)
    assert route
    assert route.canary is None
    outcome = controller.tick(store, away, spec, now + 2)
    assert (outcome.action, outcome.open) == (Action.HOLD, True)
    assert status(store, spec, now + 3)["untold"]
    away.away = False
    assert not controller.tick(store, away, spec, now + 4).open
    assert aliases(registry, spec.name) == {"champion": "1"}
    told = [event for version, event in events(registry, spec.name) if version == "2"]
    assert told == ["rollout opened", "rolled back"]


def test_after_a_dead_controller_the_gap_is_no_evidence(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = first_champion(store, registry, spec)
    controller.open(store, spec.name, "2", "1", now)
    at_stage = lambda outcome: outcome.state.phase is Phase.STAGE  # noqa: E731
    now, _ = drive(store, registry, spec, World(same(0.0)), now, at_stage)
    outcome = controller.tick(store, registry, spec, now + 600)
    assert outcome.state
    shares = outcome.state.evidence
    assert shares.share(now + LEASE_SECONDS + 100) == (0.0, True)
    assert shares.share(now + 603) == (0.2, True)
    route = store.route(spec.name)
    assert route
    assert route.lease_until == now + 600 + LEASE_SECONDS


def test_a_route_that_somebody_else_moved_is_brought_back(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = first_champion(store, registry, spec)
    controller.open(store, spec.name, "2", "1", now)
    with store.transaction() as connection:
        route = store.route(spec.name, connection)
        assert route
        store.set_route(spec.name, Route("2", None, 0.0, generation=route.generation), connection)
    controller.tick(store, registry, spec, now + 1)
    back = store.route(spec.name)
    assert back
    assert (back.champion, back.canary, back.shadow) == ("1", "2", True)


def test_nothing_is_left_untold(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    to_approval(store, registry, spec)
    with store.transaction() as connection:
        assert connection.execute(sa.select(sa.func.count()).where(outbox.c.done_at.is_(None))).scalar() == 0
        assert connection.execute(sa.select(sa.func.count()).select_from(rollouts)).scalar() == 2
