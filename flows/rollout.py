"""One rollout: tick until it is decided, or until a person must press Promote model.

Each tick reads everything anew, decides and commits in one transaction, so a controller that is killed is simply started
again: by cron, or by the next `seqline rollout NAME --watch`.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from prefect import flow
from rich.console import Console

from flows.serve import gateway, traffic
from flows.settings import Settings, spec_of
from flows.sole import Busy, sole
from pipelines.errors import Transient
from pipelines.registry import Registry
from pipelines.rollout import controller
from pipelines.rollout.controller import Outcome
from pipelines.rollout.store import Store
from pipelines.spec import Spec

TICK_SECONDS = 2.0
PATIENCE_TICKS = 30


@dataclass(frozen=True)
class Watched:
    """How a watch ended: the last tick, and what the replayed traffic counted (empty with live traffic)."""

    outcome: Outcome
    traffic: dict[str, Any]


@flow(name="rollout", retries=0)
def rollout(name: str) -> str:
    """The scheduled controller: nothing to do without an open rollout; with one, tick to its end, the approval included."""
    settings = Settings().apply()
    spec = spec_of(name, settings)
    store = Store(settings.database)
    store.create()
    if controller.open_rollout(store, spec.name) is None:
        return "no rollout is open"
    try:
        return watch(spec, settings, to_the_end=True).outcome.summary
    except Busy as busy:
        return str(busy)


def tick(spec: Spec, settings: Settings) -> Outcome:
    """One tick, without traffic of its own."""
    store = Store(settings.database)
    store.create()
    with sole("rollout", spec.name, settings):
        return controller.tick(store, Registry(settings.mlflow, settings.artifacts), spec, now=time.time())


def watch(spec: Spec, settings: Settings, *, to_the_end: bool = False) -> Watched:
    """Tick every 2 s until the rollout is closed or, unless `to_the_end`, waits for a person."""
    store = Store(settings.database)
    registry = Registry(settings.mlflow, settings.artifacts)
    counted: dict[str, Any] = {}
    with sole("rollout", spec.name, settings), ExitStack() as around:
        route = store.route(spec.name)
        if route and route.canary:
            url = around.enter_context(gateway(spec, settings))
            counted = around.enter_context(traffic(spec, url, settings))
        outcome = _tick_on(store, registry, spec, to_the_end=to_the_end)
    return Watched(outcome, counted)


def _tick_on(store: Store, registry: Registry, spec: Spec, *, to_the_end: bool) -> Outcome:
    console = Console(highlight=False, soft_wrap=True)
    failures, said = 0, ""
    while True:
        started = time.monotonic()
        try:
            outcome = controller.tick(store, registry, spec, now=time.time())
        except Transient as error:
            failures += 1
            console.print(f"tick failed, tried again: {error}", markup=False)
            if failures >= PATIENCE_TICKS:
                raise
        else:
            failures = 0
            if outcome.summary != said:
                said = outcome.summary
                console.print(f"{time.strftime('%H:%M:%S')} {said}", markup=False)
            if not outcome.open or (outcome.waiting_for_approval and not to_the_end):
                return outcome
        time.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - started)))
