"""The journal keeps the order, survives a database that is away, and says what it lost."""

import time
from pathlib import Path

from pipelines.rollout.store import Event, Store
from pipelines.serving.journal import Journal
from tests.serving.site import until


def event(request: str) -> Event:
    return Event(request, "user", "champion", "1", time.time(), {"availability": True})


def test_events_arrive_in_order_under_one_gateway(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/rollout.db")
    store.create()
    lost: list[int] = []
    journal = Journal(store, "tiny", lost=lost.append)
    for n in range(5_000):
        journal.add(event(str(n)))
    found = until(lambda: len(e := store.read("tiny", {}).events) == 5_000 and e)
    assert sorted(found, key=lambda e: e.seq) == sorted(found, key=lambda e: int(e.request))
    assert {e.gateway for e in found} == {journal.gateway}
    journal.add(event("last"))
    journal.close()
    assert store.read("tiny", {journal.gateway: 4_999}).events[0].request == "last"
    assert not lost
    store.engine.dispose()


def test_while_the_database_is_away_events_wait_up_to_the_bound(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/later/rollout.db")
    lost: list[int] = []
    journal = Journal(store, "tiny", lost=lost.append, every=0.01, bound=3)
    for n in range(5):
        journal.add(event(str(n)))
    assert sum(lost) == 2
    (tmp_path / "later").mkdir()
    store.create()
    found = until(lambda: store.read("tiny", {}).events)
    assert [e.request for e in found] == ["0", "1", "2"]
    journal.close()
    store.engine.dispose()


def test_what_cannot_be_written_before_the_end_counts_as_lost(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/nowhere/rollout.db")
    lost: list[int] = []
    journal = Journal(store, "tiny", lost=lost.append, every=0.01)
    journal.add(event("1"))
    journal.close(seconds=0.3)
    assert lost == [1]
