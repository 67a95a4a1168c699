"""Controllers to kill, and all that is left of a rollout when they are through."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.registry import Registry
from pipelines.rollout import controller
from pipelines.rollout.store import Store
from pipelines.rollout.tables import decisions, measures, outbox, rollouts
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

    def carry(self, name: str, statement: int | None = None) -> int:
        """Let a controller run to the end of the rollout, or till it is killed before a statement; return its exit code."""
        assert self.process.stdin
        self.process.stdin.write(f"{name}\n" if statement is None else f"{name} {statement}\n")
        self.process.stdin.flush()
        while (line := self.read()) == "tick":
            pass
        return int(line.removeprefix("exit "))

    def close(self) -> None:
        with self.process:
            assert self.process.stdin
            self.process.stdin.close()


STATEMENTS = 90
"""About as many as the longest tick sends to both databases."""


def killed_to_the_end(store: Store, driver: Driver, name: str, chance: random.Random, most: int) -> int:
    """Kill controllers of the open rollout again and again, at most `most`, and let one end it; return the kills."""
    kills = 0
    while kills < most and store.open_rollout(name):
        code = driver.carry(name, chance.randint(1, STATEMENTS))
        assert code in (0, -signal.SIGKILL), f"exit code {code}"
        kills += code == -signal.SIGKILL
    assert driver.carry(name) == 0
    return kills


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
        drawn = sa.select(measures.c.at, measures.c.numbers).where(measures.c.rollout.in_(ids)).order_by(measures.c.at)
        measured = connection.execute(drawn).all()
        ends = [dict(row) for row in connection.execute(sa.select(rollouts).where(rollouts.c.id.in_(ids))).mappings()]
    assert all(row["done_at"] is not None for row in rows)
    history = [entry for entry in registry.history(name) if entry.event != "registered"]
    return {
        "decided": decided,
        "rollouts": [{key: row[key] for key in row if key not in ("id", "name", "offsets")} for row in ends],
        "offsets": [list(row["offsets"].values()) for row in ends],
        "measures": [tuple(row) for row in measured],
        "route": store.route(name),
        "effects": [(row["effect"], row["payload"].get("event"), row["payload"].get("digest")) for row in rows],
        "aliases": {a: str(v) for a, v in registry.client.get_registered_model(name).aliases.items()},
        "history": [(e.version, e.event, e.detail.get("reasons"), e.detail.get("digest")) for e in history],
        "let in": [e.detail["evidence"] for e in history if e.event == "let in"],
        "page": registry.client.get_model_version(name, "2").description,
    }
