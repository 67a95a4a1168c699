"""One rollout: tick until it is decided, or until a person must press Promote model.

Each tick reads everything anew, decides and commits in one transaction, so a controller that is killed is simply started
again: by cron, or by the next `seqline rollout NAME --watch`.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from filelock import FileLock, Timeout
from prefect import flow
from rich.console import Console

from flows.serve import gateway, traffic
from flows.settings import Settings, spec_of
from pipelines.errors import Transient, UserError
from pipelines.registry import Registry
from pipelines.rollout import controller
from pipelines.rollout.controller import Outcome
from pipelines.rollout.store import Store
from pipelines.spec import Spec

TICK_SECONDS = 2.0
PATIENCE_TICKS = 30


class ControllerBusy(UserError):
    """Another controller of this model is at work on this machine."""


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
    except ControllerBusy as busy:
        return str(busy)


@contextmanager
def sole_controller(name: str, settings: Settings) -> Iterator[None]:
    """Hold the controller's lock; the system frees it when its holder is killed.

    Raises:
        ControllerBusy: another controller of this model runs on this machine.
    """
    try:
        with FileLock(settings.folder("run") / f"rollout-{name}.lock", timeout=0):
            yield
    except Timeout:
        raise ControllerBusy(f"{name}: another controller is at work: `seqline status {name}` shows what it does") from None


def tick(spec: Spec, settings: Settings) -> Outcome:
    """One tick, without traffic of its own."""
    store = Store(settings.database)
    store.create()
    with sole_controller(spec.name, settings):
        return controller.tick(store, Registry(settings.mlflow, settings.artifacts), spec, now=time.time())


def watch(spec: Spec, settings: Settings, *, to_the_end: bool = False) -> Watched:
    """Tick every 2 s until the rollout is closed or, unless `to_the_end`, waits for a person."""
    store = Store(settings.database)
    registry = Registry(settings.mlflow, settings.artifacts)
    counted: dict[str, Any] = {}
    with sole_controller(spec.name, settings), ExitStack() as around:
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
