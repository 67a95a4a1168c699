"""kill -9 of the controller anywhere: what it decides, does and tells is the same as if nobody had killed it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.registry import Registry
from pipelines.rollout import controller
from pipelines.rollout.store import Store, decisions, outbox, rollouts
from tests.rollout import page

ROOT = Path(__file__).parents[2]
START = float(int(time.time()) - 7_200)


class Driver:
    def __init__(self, database: str, registry: Registry) -> None:
        command = [sys.executable, "-m", "tests.rollout.driver", database, registry.uri, str(registry.artifacts)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.read() == "ready"

    def read(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def carry(self, name: str, ticks: int | None = None, pause: float = 0.0) -> int:
        """Let a controller run to the end of the rollout, or kill it `pause` seconds into a tick; return its exit code."""
        assert self.process.stdin
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        pid = int(self.read())
        while (line := self.read()) == "tick":
            if ticks is not None and (ticks := ticks - 1) == 0:
                time.sleep(pause)  # where in the tick the kill falls
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return int(line.removeprefix("exit "))


@pytest.fixture
def driver(store: Store, registry: Registry) -> Iterator[Driver]:
    made = Driver(str(store.engine.url), registry)
    yield made
    with made.process:
        assert made.process.stdin
        made.process.stdin.close()


def opened(store: Store, registry: Registry, name: str) -> str:
    page.register(registry, name, 2)
    spec = page.spec_of(name)
    controller.open(store, name, "1", None, START)
    for i in range(2):
        controller.tick(store, registry, spec, START + 1 + i)
    controller.open(store, name, "2", "1", START + 10, salt="salt")
    return name


def told(store: Store, registry: Registry, name: str) -> dict[str, Any]:
    """All that is left of a rollout, in the database and in the registry, wall-clock times and own ids aside."""
    with store.transaction() as connection:
        ids = list(
            connection.execute(sa.select(rollouts.c.id).where(rollouts.c.name == name).order_by(rollouts.c.id)).scalars()
        )
        found = connection.execute(sa.select(decisions).where(decisions.c.rollout.in_(ids)).order_by(decisions.c.id)).mappings()
        decided = [(ids.index(row["rollout"]), *(row[key] for key in ("at", "generation", "action", "reasons", "numbers")))
                   for row in found]  # fmt: skip
        rows = connection.execute(sa.select(outbox).where(outbox.c.rollout.in_(ids)).order_by(outbox.c.id)).mappings().all()
        ends = [dict(row) for row in connection.execute(sa.select(rollouts).where(rollouts.c.id.in_(ids))).mappings()]
    assert all(row["done_at"] is not None for row in rows)
    history = [entry for entry in registry.history(name) if entry.event != "registered"]
    return {
        "decided": decided,
        "rollouts": [{key: row[key] for key in row if key not in ("id", "name", "offsets")} for row in ends],
        "offsets": [list(row["offsets"].values()) for row in ends],
        "route": store.route(name),
        "effects": [(row["effect"], row["payload"].get("event"), row["payload"].get("digest")) for row in rows],
        "aliases": {a: str(v) for a, v in registry.client.get_registered_model(name).aliases.items()},
        "history": [(e.version, e.event, e.detail.get("reasons"), e.detail.get("digest")) for e in history],
        "let in": [e.detail["evidence"] for e in history if e.event == "let in"],
        "page": registry.client.get_model_version(name, "2").description,
    }


def test_killed_at_any_point_it_ends_the_same(store: Store, registry: Registry, driver: Driver) -> None:
    calm = opened(store, registry, "calm")
    assert driver.carry(calm) == 0
    killed = opened(store, registry, "killed")
    chance, kills = random.Random(11), 0
    while store.open_rollout(killed) and kills < 100:
        kills += driver.carry(killed, chance.randint(1, 2), chance.choice([0.01, 0.08]) * chance.random()) == -signal.SIGKILL
    assert kills >= 10
    assert driver.carry(killed) == 0
    expected, found = told(store, registry, calm), told(store, registry, killed)
    assert found == expected
    assert [row[3] for row in expected["decided"]] == [
        "promote", "finish", "advance", "advance", "open_gate", "promote", "finish",
    ]  # fmt: skip
    assert len(expected["let in"]) == 2
