"""Two controllers on one real database: one acts, and what the other does late does no harm."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.errors import Transient
from pipelines.registry import Approval, Registry, Version
from pipelines.rollout import controller, leases
from pipelines.rollout.policy import Action
from pipelines.rollout.status import rollback
from pipelines.rollout.store import LEASE_SECONDS, Route, Stale, Store
from pipelines.rollout.tables import decisions, rollouts
from pipelines.spec import Spec
from tests.rollout import page, server
from tests.rollout.page import press_promote
from tests.rollout.test_controller import aliases, first_champion, to_approval
from tests.rollout.traffic import TICK, World, same

Model = Callable[[int], Spec]
NOW = 1_000_000.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    if why := server.missing():
        pytest.skip(why)
    with server.postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty rollout database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'rollout.db'}"
        return
    url = request.getfixturevalue("postgres")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    yield url


@pytest.fixture
def both(database: str) -> Iterator[tuple[Store, Store]]:
    """The database as two controllers have it."""
    pair = Store(database), Store(database)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Store.create, pair))
    yield pair
    for store in pair:
        store.engine.dispose()


def take(store: Store, holder: str, now: float) -> leases.Lease:
    with store.transaction() as connection:
        return leases.take("tiny", holder, now, connection)


def test_one_has_the_lease_till_its_time_is_over(both: tuple[Store, Store]) -> None:
    here, there = both
    mine = take(here, "a", NOW)
    assert (mine.mine, mine.token, mine.until) == (True, 1, NOW + LEASE_SECONDS)
    assert take(there, "b", NOW + 29.9) == leases.Lease("tiny", "a", 1, NOW + LEASE_SECONDS, mine=False)
    assert take(here, "a", NOW + 10).token == 1, "a restarted controller goes on at once"
    assert take(there, "b", NOW + 39.9).mine is False
    taken = take(there, "b", NOW + 40)
    assert (taken.mine, taken.token) == (True, 2)
    with here.transaction() as connection, pytest.raises(Stale, match="another controller took over"):
        leases.check(mine, connection)
    assert take(here, "a", NOW + 41).holder == "b"


def test_a_new_database_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    for attempt in range(20):
        many = [Store(f"sqlite:///{tmp_path / f'{attempt}.db'}") for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(Store.create, many))
        for store in many:
            assert store.route("tiny") is None
            store.engine.dispose()


def test_only_one_of_two_that_ask_at_once_gets_it(both: tuple[Store, Store]) -> None:
    def ask(i: int) -> bool:
        try:
            return take(both[i % 2], f"controller {i}", NOW).mine
        except Transient:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ask, range(12))) == 1


def test_two_rollouts_opened_at_once_are_one(both: tuple[Store, Store]) -> None:
    with both[0].transaction() as connection:
        both[0].set_route("tiny", Route("1"), connection)

    def opened(store: Store) -> int | None:
        try:
            return controller.open(store, "tiny", "2", "1", NOW)
        except Transient:
            return None

    with ThreadPoolExecutor(4) as pool:
        ids = {found for found in pool.map(opened, [*both, *both]) if found is not None}
    assert len(ids) == 1
    with both[0].transaction() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(rollouts)).scalar() == 1


def driven(both: tuple[Store, Store], registry: Registry, name: str, controllers: int) -> list[tuple[Any, ...]]:
    """A rollout to its approval by one or two controllers, whose lease now and then runs out; its decisions."""
    page.register(registry, name, 2)
    spec, world, now = page.spec_of(name), World(page.better, rate=5, seed=3), NOW
    controller.open(both[0], name, "1", None, now)

    def ticked(i: int) -> None:
        with suppress(Transient):
            controller.tick(both[i], registry, spec, now, holder=f"controller {i}")

    with ThreadPoolExecutor(2) as pool:
        for tick in range(70):
            if tick == 4:
                controller.open(both[0], name, "2", "1", now, salt="salt")
            now += TICK if tick % 20 else LEASE_SECONDS + TICK
            page.journal(both[0], name, world, now)
            list(pool.map(ticked, range(controllers)))
    with both[0].transaction() as connection:
        query = sa.select(decisions).join(rollouts).where(rollouts.c.name == name).order_by(decisions.c.id)
        keys = ("at", "generation", "action", "reasons", "numbers")
        return [tuple(row[key] for key in keys) for row in connection.execute(query).mappings()]


def test_two_at_once_decide_what_one_would(
    both: tuple[Store, Store], registry: Registry, request: pytest.FixtureRequest
) -> None:
    name = f"two-{request.node.callspec.id}"
    decided = driven(both, registry, name, controllers=2)
    assert decided == driven(both, registry, f"{name}-alone", controllers=1)
    assert [row[2] for row in decided] == ["promote", "finish", "advance", "advance", "open_gate"]
    assert aliases(registry, name) == {"champion": "1", "canary": "2"}


class Sleepy(Registry):
    """A registry whose caller is stopped (SIGSTOP, say) just before it sets an alias."""

    meanwhile: Callable[[], object] | None = None

    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        super().set_alias(name, alias, version)


def test_what_a_controller_tells_too_late_is_told_anew_by_the_other(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = first_champion(store, registry, spec) + LEASE_SECONDS
    sleepy = Sleepy(registry.uri, registry.artifacts)
    controller.open(store, spec.name, "2", "1", now)

    def other() -> None:
        rollback(store, spec.name, "", now + 40, "ann")
        assert not controller.tick(store, registry, spec, now + 41, holder="b").open
        assert aliases(registry, spec.name) == {"champion": "1"}

    sleepy.meanwhile = other
    with pytest.raises(Stale, match="another controller took over while this one slept"):
        controller.tick(store, sleepy, spec, now + 1, holder="a")
    assert aliases(registry, spec.name) == {"champion": "1", "canary": "2"}, "the alias that nobody wants any more"
    looking_on = controller.tick(store, sleepy, spec, now + 42, holder="a")
    assert looking_on.reasons[0].startswith("b has the lease")
    controller.tick(store, registry, spec, now + 43, holder="b")
    assert aliases(registry, spec.name) == {"champion": "1"}
    told = [(entry.version, entry.event) for entry in registry.history(spec.name) if entry.event != "registered"]
    assert told.count(("2", "rollout opened")) == told.count(("2", "rolled back")) == 1


def test_a_controller_that_slept_before_its_commit_commits_nothing(store: Store, registry: Registry, model: Model) -> None:
    spec = model(2)
    now = to_approval(store, registry, spec)
    state = store.open_rollout(spec.name)

    class Dozing(Registry):
        def approvals(self, version: Version, digest: str, opened_at: float) -> list[Approval]:
            with store.transaction() as connection:
                assert leases.take(spec.name, "b", now + 100, connection).mine
            return super().approvals(version, digest, opened_at)

    press_promote(registry, spec.name, "2")
    with pytest.raises(Stale):
        controller.tick(store, Dozing(registry.uri, registry.artifacts), spec, now + 2)
    assert store.open_rollout(spec.name) == state
    page.journal(store, spec.name, World(same(0.0)), now + 101)
    assert controller.tick(store, registry, spec, now + 101, holder="b").action is Action.PROMOTE
