"""KILLS (1,000) times `kill -9` of the controller, each before a random statement to its database or to MLflow's.

The controllers are forked from a warm parent and carry rollouts on a real rollout database and a real registry from shadow to
the end, a person's approval among them. The bar: each rollout ends bit-identical to one that nobody disturbed (decisions with
their numbers and generations, states, route, outbox, measures, aliases, pages, history), with each transition once.
"""

import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from pipelines.registry import Registry
from pipelines.rollout.store import Store
from tests.benchmarks import results
from tests.rollout.killing import Driver, killed_to_the_end, opened, told

KILLS = int(os.environ.get("KILLS", "1000"))
A_ROLLOUT = 100  # kills at most, that a rollout also ends
SEED = int(os.environ.get("SEED", "6"))


def repeated(found: dict[str, Any]) -> int:
    """Transitions that were made, or told, more than once."""
    decided = [(row[0], row[3], str(row[4])) for row in found["decided"]]
    history = [(version, event, str(reasons)) for version, event, reasons, _ in found["history"]]
    return len(decided) - len(set(decided)) + len(history) - len(set(history))


def main() -> None:
    chance, began = random.Random(SEED), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(f"sqlite:///{folder}/mlflow.db", Path(folder) / "artifacts")
        store = Store(f"sqlite:///{folder}/rollout.db")
        store.create()
        driver = Driver(str(store.engine.url), registry)
        calm = opened(store, registry, "calm")
        assert driver.carry(calm) == 0
        expected = told(store, registry, calm)
        kills, differing, twice, rollouts = 0, 0, 0, 0
        while kills < KILLS:
            name = opened(store, registry, f"killed-{rollouts}")
            kills += killed_to_the_end(store, driver, name, chance, min(A_ROLLOUT, KILLS - kills))
            found = told(store, registry, name)
            differing += found != expected
            twice += repeated(found)
            rollouts += 1
            print(f"{kills} kills, {rollouts} rollouts, {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201
        driver.close()
    rows = [
        results.at_least("controllers killed", kills, "kills", KILLS, rollouts),
        results.bounded("rollouts that ended otherwise than undisturbed", differing, "rollouts", 0, rollouts),
        results.bounded("transitions made or told twice", twice, "transitions", 0, rollouts),
    ]
    results.write("controller_kills", rows, f"seed {SEED}; {len(expected['decided'])} decisions a rollout")


if __name__ == "__main__":
    main()
