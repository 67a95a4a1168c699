"""kill -9 of the controller anywhere: what it decides, does and tells is the same as if nobody had killed it."""

import random
from collections.abc import Iterator

import pytest

from pipelines.registry import Registry
from pipelines.rollout.store import Store
from tests.rollout.killing import Driver, killed_to_the_end, opened, told


@pytest.fixture
def driver(store: Store, registry: Registry) -> Iterator[Driver]:
    made = Driver(str(store.engine.url), registry)
    yield made
    made.close()


def test_killed_at_any_point_it_ends_the_same(store: Store, registry: Registry, driver: Driver) -> None:
    calm = opened(store, registry, "calm")
    assert driver.carry(calm) == 0
    killed = opened(store, registry, "killed")
    assert killed_to_the_end(store, driver, killed, random.Random(11), most=25) >= 20
    expected, found = told(store, registry, calm), told(store, registry, killed)
    assert found == expected
    assert [row[3] for row in expected["decided"]] == [
        "promote", "finish", "advance", "advance", "open_gate", "promote", "finish",
    ]  # fmt: skip
    assert len(expected["let in"]) == 2
