"""A watch ticks again whenever its wait ends, early or not."""

import time
from pathlib import Path

from rich.console import Console

from flows.rollout import TICK_SECONDS, _tick_on
from pipelines.registry import Registry
from pipelines.rollout import controller
from pipelines.rollout.store import Store
from tests.rollout import page


def test_a_watch_ticks_whenever_it_is_woken(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    store = Store(f"sqlite:///{tmp_path / 'rollout.db'}")
    store.create()
    page.register(registry, "woken", 1)
    controller.open(store, "woken", "1", None, time.time())
    waits: list[float] = []
    said = Console(quiet=True)
    outcome = _tick_on(store, registry, page.spec_of("woken"), "here", waits.append, said, to_the_end=True)
    assert not outcome.open
    assert waits
    assert all(0 <= seconds <= TICK_SECONDS for seconds in waits)
