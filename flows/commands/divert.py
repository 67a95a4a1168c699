"""`seqline divert NAME [ENDPOINT]`: everybody to a managed model of `serving.endpoints`, now; `--back` to the champion.

An endpoint stands as a version in the route (`endpoint:NAME`), so gateways follow within 0.2 s, without a restart.
"""

import time
from dataclasses import replace
from getpass import getuser
from typing import TYPE_CHECKING, Annotated

import typer

from flows.reporting import report
from flows.settings import Settings, spec_of
from pipelines.errors import UserError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pipelines.rollout.store import Route, Store
    from pipelines.spec import Spec

PREFIX = "endpoint:"


def divert(
    name: Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")],
    endpoint: Annotated[str, typer.Argument(help="A name of serving.endpoints; by default the backup, or the only one.")] = "",
    back: Annotated[bool, typer.Option("--back", help="Everybody to the champion again.")] = False,
    why: Annotated[str, typer.Option(help="Goes into the history.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send everybody to a backup model, or back to the champion."""
    from pipelines.rollout.store import Store

    settings = Settings()
    spec = spec_of(name, settings)
    store = Store(settings.database)
    store.create()
    version = None if back else PREFIX + chosen(spec, endpoint)
    said = order(store, spec.name, version, why, getuser(), time.time())
    report({"done": said}, as_json, said)


def chosen(spec: "Spec", endpoint: str) -> str:
    """The endpoint that is meant.

    Raises:
        UserError: the spec has no such one, or several and none is the backup.
    """
    known = spec.serving.endpoints
    wanted = endpoint or spec.serving.overload.backup or (next(iter(known)) if len(known) == 1 else "")
    if wanted not in known:
        there = ", ".join(known) or "none: write one into the YAML, and restart the gateway"
        raise UserError(f"{wanted or 'ENDPOINT'}: must be one of serving.endpoints: {there}")
    return wanted


def order(store: "Store", name: str, version: str | None, why: str, by: str, now: float) -> str:
    """Make `version` (an endpoint) the one that serves everybody; None: the champion that was let in last.

    A rollout that is open is rolled back first: it would take the route back.

    Raises:
        UserError: nothing would change.
    """
    from pipelines.rollout import effects, ledger
    from pipelines.rollout.store import Route

    reason = f"by hand, {by}: {why or 'no reason given'}"
    _end(store, name, why, by, now)
    with store.transaction() as connection:
        route, last = store.route(name, connection) or Route(None), ledger.latest_rollout(name, connection)
        wanted = version or _champion(name, route, connection)
        if wanted == route.champion:
            raise UserError(f"{name}: {wanted} serves everybody already")
        moved = store.set_route(name, replace(route, champion=wanted, canary=None, weight=0.0, shadow=False), connection)
        if last:
            event = "diverted" if version else "diverted back"
            ledger.add_order(last.id, now, moved.generation, event, reason, connection)
            for effect, payload in effects.ordered(event, now, f"{wanted} serves everybody: {reason}"):
                ledger.enqueue(last.id, effect, payload, connection)
    return f"{name}: {wanted} serves everybody instead of {route.champion}"


def _end(store: "Store", name: str, why: str, by: str, now: float) -> None:
    """End the rollout that is open, if one is. One that is decided, but not told to the registry yet, would set the route once
    more: it is closed, as a rollback does."""
    from pipelines.rollout import ledger
    from pipelines.rollout import status as rollout_status
    from pipelines.rollout.policy import TERMINAL

    rollout = store.open_rollout(name)
    if rollout and ledger.state_of(rollout).phase not in TERMINAL:
        rollout_status.rollback(store, name, why, now, by)
    with store.transaction() as connection:
        rollout = store.open_rollout(name, connection)
        if rollout and ledger.state_of(rollout).phase in TERMINAL:
            ledger.close(rollout.id, ledger.state_of(rollout).phase.value, now, connection)


def _champion(name: str, route: "Route", connection: "sa.Connection") -> str:
    """The version that was let in last and not taken back.

    Raises:
        UserError: everybody has it, or there is none.
    """
    import sqlalchemy as sa

    from pipelines.rollout.store import rollouts

    if not (route.champion or "").startswith(PREFIX):
        raise UserError(f"{name}: nobody was diverted: version {route.champion} serves everybody")
    let_in = sa.select(rollouts.c.version).where(rollouts.c.name == name, rollouts.c.outcome == "promoted")
    version = connection.execute(let_in.order_by(rollouts.c.id.desc()).limit(1)).scalar()
    if version is None:
        raise UserError(f"{name}: no version was ever let in: there is none to go back to")
    return str(version)
