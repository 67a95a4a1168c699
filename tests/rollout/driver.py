"""A controller in a process of its own, to be killed: `python -m tests.rollout.driver DATABASE MLFLOW ARTIFACTS`.

For each line `NAME` on stdin it forks (so that no kill costs an import of MLflow), prints the child's pid, a line for each
tick that the child begins, and at its end the exit code. The child carries the rollout of NAME on to its end, on traffic and
presses that are a function of the database alone: whatever was killed, the same comes next. A tick is TICK virtual seconds.
"""

import os
import random
import sys
from pathlib import Path

import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

from pipelines.registry import Registry
from pipelines.rollout import controller, ledger
from pipelines.rollout.policy import Phase
from pipelines.rollout.store import Store
from tests.rollout.page import journal, press_promote, spec_of
from tests.rollout.traffic import TICK, World, same


def carry(store: Store, registry: Registry, name: str) -> None:
    spec, world = spec_of(name), World(same(0.002), rate=5, seed=3)
    while rollout := store.open_rollout(name):
        os.write(1, b"tick\n")
        now = rollout.state["last"].get("at", rollout.opened_at) + TICK
        world.chance, world.n = random.Random(int(now)), int(now) * 10_000
        journal(store, name, world, now)
        controller.tell(store, registry, name, now)
        gate = ledger.state_of(rollout).gate
        if ledger.state_of(rollout).phase is Phase.APPROVAL and gate and not pressed(registry, name):
            press_promote(registry, name, rollout.version)
        controller.tick(store, registry, spec, now)
    controller.tell(store, registry, name, now=0.0)


def pressed(registry: Registry, name: str) -> bool:
    found = registry.client.search_model_versions(f"name = '{name}-prod'")
    return any(made.source == f"models:/{name}/2" for made in found)


def main() -> None:
    database, uri, artifacts = sys.argv[1:]
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            carry(Store(database), Registry(uri, Path(artifacts)), line.strip())
            os._exit(0)
        print(pid, flush=True)  # noqa: T201
        _, code = os.waitpid(pid, 0)
        print("exit", os.waitstatus_to_exitcode(code), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
