"""What ticks carry over from one to the next: how far the journal was read, and whose answer was bet on."""

from collections.abc import Callable

from pipelines.registry import Registry
from pipelines.rollout import controller
from pipelines.rollout.evidence import Evidence
from pipelines.rollout.store import Store
from pipelines.spec import Spec
from tests.rollout.page import journal
from tests.rollout.test_controller import first_champion
from tests.rollout.traffic import TICK, World, same

TICKS = 6


def ticked(store: Store, registry: Registry, spec: Spec, world: World) -> Evidence:
    """The evidence of version 2, mirrored, after some ticks."""
    now = first_champion(store, registry, spec)
    controller.open(store, spec.name, "2", "1", now)
    for _ in range(TICKS):
        now += TICK
        journal(store, spec.name, world, now)
        outcome = controller.tick(store, registry, spec, now)
    assert outcome.state
    return outcome.state.evidence


def test_each_answer_counts_once(store: Store, registry: Registry, model: Callable[[int], Spec]) -> None:
    spec = model(2)
    found = ticked(store, registry, spec, World(same(0.2)))
    journaled = store.read(spec.name, {}).events
    assert found.slis["availability"].champion.n == sum(event.arm == "champion" for event in journaled) > TICKS


def test_each_user_is_bet_on_once(store: Store, registry: Registry, model: Callable[[int], Spec]) -> None:
    found = ticked(store, registry, model(2), World(same(0.04), users=5))
    assert found.slis["availability"].champion.bad > 10
    assert 0 < found.slis["availability"].wealth.bets <= 5
