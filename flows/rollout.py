"""One rollout: tick until it is decided, or until a person must press Promote model.

Each tick reads everything anew, decides and commits in one transaction, so a controller that is killed is simply started
again: by cron, or by the next `seqline rollout NAME --watch`.
"""

import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from prefect import flow
from rich.console import Console

from flows import showing
from flows.serve import gateway, traffic
from flows.settings import Settings, spec_of
from flows.sole import Busy, sole
from flows.stack import deployments
from flows.stack.webhook import Wait, listening
from pipelines.errors import Transient
from pipelines.registry import Registry
from pipelines.rollout import controller, leases, ledger, paging
from pipelines.rollout.controller import Outcome
from pipelines.rollout.policy import Policy
from pipelines.rollout.store import Store
from pipelines.spec import Spec

TICK_SECONDS = 2.0
PATIENCE_TICKS = 30
IDLE_SECONDS = 600.0  # between two looks at the registry while no rollout is open: each costs an import of MLflow


@dataclass(frozen=True)
class Watched:
    """How a watch ended: the last tick, and what the replayed traffic counted (empty with live traffic)."""

    outcome: Outcome
    traffic: dict[str, Any]


@flow(name="rollout", flow_run_name=showing.named, retries=0)
def rollout(name: str) -> str:
    """The scheduled controller: without an open rollout, page a person who is needed; with one, tick to its very end."""
    settings = Settings().apply()
    spec = spec_of(name, settings)
    store = Store(settings.database)
    store.create()
    try:
        found = controller.open_rollout(store, spec.name)
        deployments.pace(spec, rollout_open=found is not None)
        if found is None:
            _look(store, spec)
            return tick(spec, settings).summary if _due(store, spec.name) else "no rollout is open"
        return _watched(spec, settings)
    except Busy as busy:
        return str(busy)


def _watched(spec: Spec, settings: Settings) -> str:
    """To its very end; how it ended stands on the run's page."""
    with showing.shown(spec.name):
        summary = watch(spec, settings, to_the_end=True).outcome.summary
        showing.said(spec.name, "rollout", summary)
    deployments.tidy(spec)
    return summary


def _look(store: Store, spec: Spec) -> None:
    """What burns is looked for here, too: it needs the rollout database alone, and the next tick tells the registry."""
    with store.transaction() as connection:
        paging.look(store, spec.name, Policy.of(spec.slo, spec.rollout), time.time(), connection)


def _due(store: Store, name: str) -> bool:
    """With no rollout open: has the registry to be told of an undo by hand, or to be looked at for what was pressed in vain?"""
    with store.transaction() as connection:
        lease, untold = leases.read(name, connection), ledger.pending(name, connection)
    return bool(untold) or lease is None or time.time() - lease.until > IDLE_SECONDS


def tick(spec: Spec, settings: Settings) -> Outcome:
    """One tick, without traffic of its own."""
    store = Store(settings.database)
    store.create()
    with sole("rollout", spec.name, settings):
        return controller.tick(store, _registry(settings), spec, time.time(), _holder(settings))


def watch(spec: Spec, settings: Settings, *, to_the_end: bool = False) -> Watched:
    """Tick every 2 s until the rollout is closed or, unless `to_the_end`, waits for a person or is on probation."""
    store = Store(settings.database)
    registry = _registry(settings)
    counted: dict[str, Any] = {}
    console = Console(highlight=False, soft_wrap=True)
    with sole("rollout", spec.name, settings), ExitStack() as around:
        route = store.route(spec.name)
        if route and route.canary:
            url = around.enter_context(gateway(spec, settings))
            counted = around.enter_context(traffic(spec, url, settings))
        wait = around.enter_context(listening(spec.name, settings, console)) if to_the_end else time.sleep
        outcome = _tick_on(store, registry, spec, _holder(settings), wait, console, to_the_end=to_the_end)
    return Watched(outcome, counted)


def _registry(settings: Settings) -> Registry:
    """The registry, with the key that names of approvers are signed with, if there is one (infra/auth.ini)."""
    registry = Registry(settings.mlflow, settings.artifacts)
    registry.audit_key = settings.audit_key.encode() or None
    return registry


def _holder(settings: Settings) -> str:
    """This controller's name: one a workspace, since its lock (`sole`) lies there."""
    return f"{socket.gethostname()}:{settings.workspace}"[-250:]


def _tick_on(
    store: Store, registry: Registry, spec: Spec, holder: str, wait: Wait, console: Console, *, to_the_end: bool
) -> Outcome:
    failures, said = 0, ""
    while True:
        started = time.monotonic()
        try:
            outcome = controller.tick(store, registry, spec, time.time(), holder)
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
            patient = outcome.waiting_for_approval or outcome.on_probation
            if not outcome.open or (patient and not to_the_end):
                return outcome
        wait(max(0.0, TICK_SECONDS - (time.monotonic() - started)))
