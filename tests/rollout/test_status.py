"""What a person is told, and the undo, without MLflow, Prefect or torch."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from pipelines.errors import UserError
from pipelines.rollout import controller
from pipelines.rollout.status import render, rollback, status
from pipelines.rollout.store import Event, Route, Store
from tests.rollout.page import spec_of

NOW = 1_000_000.0
SPEC = spec_of("tiny")


def said(renderable: RenderableType) -> str:
    console = Console(width=160, file=StringIO())
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def produce(store: Store, champion: str = "1") -> None:
    with store.transaction() as connection:
        store.set_route("tiny", Route(champion), connection)


def answers(store: Store, n: int, bad: int) -> None:
    rows = [
        Event(
            f"r{i}", f"u{i}", "champion", "1", NOW - 3_600 + i, {"availability": i >= bad, "latency": True}, seq=i, gateway="g"
        )
        for i in range(n)
    ]
    store.append("tiny", "g", rows)


def test_before_anything_there_is_nothing_in_production(store: Store) -> None:
    found = status(store, SPEC, NOW)
    assert not found["safe"]
    assert said(render(found)).startswith(" NOT SAFE  tiny: nothing is in production yet")


def test_with_a_champion_alone(store: Store) -> None:
    produce(store)
    answers(store, 1_000, 5)
    found = status(store, SPEC, NOW)
    assert found["safe"]
    assert found["verdict"] == "version 1 serves everybody; no rollout is open"
    assert found["budgets"]["availability"]["bad"] == 5
    assert found["budgets"]["availability"]["burn"] == pytest.approx(0.5)
    assert found["last_event_age"] == pytest.approx(2_601)
    assert "availability: 99.9% left, burn 0.5" in said(render(found))
    json.dumps(found, allow_nan=False)


def test_a_spent_budget_is_not_safe(store: Store) -> None:
    produce(store)
    rows = [Event(f"r{i}", "u", "champion", "1", NOW - 1 - i * 2_592, {"latency": i % 20 != 0}, seq=i) for i in range(1_000)]
    store.append("tiny", "g", rows)
    found = status(store, SPEC, NOW)
    assert found["verdict"] == "the error budget of latency is spent"
    assert found["budgets"]["latency"]["left"] == pytest.approx(-4, abs=0.01)


def test_an_open_rollout_and_a_lease_that_ran_out(store: Store) -> None:
    produce(store)
    controller.open(store, "tiny", "2", "1", NOW)
    found = status(store, SPEC, NOW + 1)
    assert (found["safe"], found["canary"], found["weight"]) == (True, "2", 0.0)
    text = said(render(found))
    assert text.startswith(" SAFE  tiny: version 2 against 1: shadow")
    assert "rolled back at 100" in text
    late = status(store, SPEC, NOW + 60)
    assert not late["safe"]
    assert late["verdict"].startswith("no controller for 30 s or more: everybody is sent to version 1")


def test_rollback_is_at_once_and_said(store: Store) -> None:
    produce(store)
    controller.open(store, "tiny", "2", "1", NOW)
    assert rollback(store, "tiny", "looks odd", NOW + 1, "ann") == "tiny: version 2 is rolled back; version 1 serves everybody"
    route = store.route("tiny")
    assert route
    assert (route.champion, route.canary, route.shadow) == ("1", None, False)
    found = status(store, SPEC, NOW + 2)
    assert found["decisions"][0]["reasons"] == ["by hand, ann: looks odd"]
    assert "rollback: by hand, ann: looks odd" in said(render(found))
    assert found["untold"] == 6
    assert found["verdict"] == "version 1 serves everybody; version 2 was rolled back"


def test_there_must_be_something_to_roll_back(store: Store) -> None:
    with pytest.raises(UserError, match="nothing to roll back: no rollout is open, and nothing is in production"):
        rollback(store, "tiny", "", NOW, "ann")
    produce(store)
    with pytest.raises(UserError, match="version 1 has no champion before it"):
        rollback(store, "tiny", "", NOW, "ann")


def test_a_first_version_is_taken_back_before_it_serves(store: Store) -> None:
    controller.open(store, "tiny", "1", None, NOW)
    assert rollback(store, "tiny", "", NOW, "ann") == "tiny: version 1 is rolled back; nothing is in production"
    assert store.route("tiny") is None


def test_status_and_rollback_load_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import sys
from pipelines.rollout.status import render, rollback, status
from pipelines.rollout import controller
from pipelines.rollout.store import Route, Store
from pipelines.spec import Spec
store = Store("sqlite:///{tmp_path / "r.db"}")
store.create()
with store.transaction() as connection:
    store.set_route("tiny", Route("1"), connection)
controller.open(store, "tiny", "2", "1", 1.0)
spec = Spec.model_validate(dict(name="tiny", data=dict(source=dict(kind="files", paths=["x.csv"]))))
render(status(store, spec, 2.0))
rollback(store, "tiny", "", 3.0, "ann")
heavy = [name for name in ("mlflow", "prefect", "torch", "pandas", "numpy", "transformers") if name in sys.modules]
print(heavy)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True
    )
    assert done.stdout.strip() == "[]"
