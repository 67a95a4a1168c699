"""A controller in a process of its own, to be killed: `python -m tests.rollout.driver DATABASE MLFLOW ARTIFACTS`.

For each line `NAME [N]` on stdin it forks (so that no kill costs an import of MLflow or a connection), and prints a line for
each tick that the child begins and, at its end, the exit code. The child carries the rollout of NAME on to its end, on traffic
and presses that are a function of the database alone: whatever was killed, the same comes next. A tick is TICK virtual
seconds. With N it dies by SIGKILL just before it sends its N-th statement to a database, the controller's or MLflow's.
"""

import os
import random
import signal
import sys
from pathlib import Path

os.environ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = "NullPool"  # a forked connection would be shared with the parent

import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
import sqlalchemy as sa

from pipelines.registry import Registry
from pipelines.rollout import controller, leases, ledger
from pipelines.rollout.policy import Phase
from pipelines.rollout.store import Store
from tests.rollout.page import better, journal, press_promote, spec_of
from tests.rollout.traffic import TICK, World


def carry(store: Store, registry: Registry, name: str) -> None:
    spec, world = spec_of(name), World(better, rate=5, users=500, seed=3)
    while rollout := store.open_rollout(name):
        os.write(1, b"tick\n")
        now = rollout.state["last"].get("at", rollout.opened_at) + TICK
        world.chance, world.n = random.Random(int(now)), int(now) * 10_000
        journal(store, name, world, now)
        tell(store, registry, name, now)
        gate = ledger.state_of(rollout).gate
        if ledger.state_of(rollout).phase is Phase.APPROVAL and gate and not pressed(registry, name):
            press_promote(registry, name, rollout.version)
        controller.tick(store, registry, spec, now)
    tell(store, registry, name, now=0.0)


def tell(store: Store, registry: Registry, name: str, now: float) -> None:
    with store.transaction() as connection:
        lease = leases.take(name, controller.HERE, now, connection)
    controller.tell(store, registry, lease, now)


def pressed(registry: Registry, name: str) -> bool:
    found = registry.client.search_model_versions(f"name = '{name}-prod'")
    return any(made.source == f"models:/{name}/2" for made in found)


def die_at(statement: int) -> None:
    """Kill this process before it sends the `statement`-th statement from now, BEGIN and COMMIT among them."""
    left = statement

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for happening in ("before_cursor_execute", "begin", "commit"):
        sa.event.listen(sa.engine.Engine, happening, count)


def main() -> None:
    database, uri, artifacts = sys.argv[1:]
    registry = Registry(uri, Path(artifacts))
    os.write(1, b"ready\n")
    for line in sys.stdin:
        name, *statement = line.split()
        pid = os.fork()
        if pid == 0:
            if statement:
                die_at(int(statement[0]))
            carry(Store(database), registry, name)
            os._exit(0)
        _, code = os.waitpid(pid, 0)
        os.write(1, f"exit {os.waitstatus_to_exitcode(code)}\n".encode())


if __name__ == "__main__":
    main()
