"""The rollout database: what is written is read, and one made by an older version is mended when it is opened."""

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipelines.rollout.store import Event, Route, Stale, Store


def test_scores_are_read_as_they_were_written(store: Store) -> None:
    judged = Event("r", "u", "canary", "2", 1.5, {"judge": True}, "verdict", shadow=True, gateway="g", scores={"quality": 0.25})
    plain = Event("r", "u", "canary", "2", 2.5, {"availability": True}, gateway="g", seq=1)
    store.append("m", "g", [judged, plain])
    assert store.read("m", {}).events == [judged, plain]


def test_a_database_made_before_answers_were_scored_gets_the_column(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'rollout.db'}")
    store.create()
    old = Event("r", "u", "canary", "2", 1.5, {"judge": True}, "verdict", gateway="g")
    store.append("m", "g", [old])
    with store.transaction() as connection:
        connection.execute(sa.text("ALTER TABLE events DROP COLUMN scores"))
    for _ in range(2):
        store.create()
    new = Event("s", "u", "canary", "2", 2.5, {"judge": True}, "verdict", gateway="g", seq=1, scores={"quality": 1.0})
    store.append("m", "g", [new])
    assert store.read("m", {}).events == [old, new]
    store.engine.dispose()


def test_a_route_that_somebody_else_moved_meanwhile_is_not_overwritten(store: Store) -> None:
    with store.transaction() as connection:
        read = store.set_route("m", Route("1"), connection)
        moved = store.set_route("m", replace(read, canary="2"), connection)
        with pytest.raises(Stale, match="the route changed since generation 1 was read"):
            store.set_route("m", replace(read, champion="3"), connection)
        with pytest.raises(Stale, match="created by somebody else"):
            store.set_route("m", Route("4"), connection)
    assert store.route("m") == moved
