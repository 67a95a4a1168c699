"""How a rollout is opened, and what becomes of an older one that is still open then."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from pipelines.errors import UserError
from pipelines.rollout import effects, holding, ledger, watch
from pipelines.rollout import policy as po
from pipelines.rollout.policy import TERMINAL, Action, Decision, Phase, State
from pipelines.rollout.store import LEASE_SECONDS, Rollout, Route, Store
from pipelines.rollout.wording import number

DOUBT = math.log(20)  # from this e-value on (one in twenty, by chance) a version whose probation is cut short is taken back


def open(  # noqa: A001
    store: Store, name: str, version: str, champion: str | None, now: float, salt: str | None = None, *, again: bool = False
) -> int:
    """Open the rollout of `version`, once, and return its id; a version rolled out before is only taken `again` on demand.

    The champion is the one that the route names; `champion` counts where there is no route yet. An older version's rollout
    that is still open is closed as superseded; one on probation was let in, and becomes the champion.

    Raises:
        UserError: a newer version is being rolled out, or a person holds one on probation.
    """
    with store.transaction() as connection:
        older = store.open_rollout(name, connection)
        known = ledger.rollout_of(name, version, connection)
        if known and (known.outcome is None or not again):
            return known.id
        if older:
            _end(store, older, version, now, connection)
        route = store.route(name, connection) or Route(champion)
        state = po.start(version, route.champion, now)
        rollout = ledger.begin(name, state, store.heads(name, connection), connection)
        enqueue(rollout, effects.opened(version, route.champion, now), connection)
        if state.phase is Phase.SHADOW:
            wanted = replace(route, canary=version, weight=0.0, shadow=True, salt=salt or secrets.token_hex(16))
            store.set_route(name, replace(wanted, lease_until=now + LEASE_SECONDS), connection)
        return rollout


def _end(store: Store, older: Rollout, version: str, now: float, connection: sa.Connection) -> None:
    """Close the rollout of an older version for that of `version`."""
    state = ledger.state_of(older)
    if state.phase in TERMINAL:  # decided; only the registry does not know all of it yet, and the outbox stays
        ledger.close(older.id, state.phase, now, connection)
        return
    if int(version) <= int(older.version):
        raise UserError(
            f"{older.name}: version {older.version} is being rolled out, and {version} is older: roll it back first"
        )
    if state.phase is Phase.PROBATION:
        _decide(store, older, state, version, now, connection)
        return
    ledger.close(older.id, "superseded", now, connection)
    enqueue(older.id, effects.closed("superseded", now, [f"version {version} came"], canary=False), connection)


def _decide(store: Store, older: Rollout, state: State, version: str, now: float, connection: sa.Connection) -> None:
    """A probation that cannot go on: the version keeps what it was given, or is taken back if anything speaks against it."""
    hold = holding.held(older.name, older.id, connection)
    if hold:
        raise UserError(
            f"{older.name}: version {older.version} is on probation, {hold.said}: `seqline resume {older.name}` first"
        )
    fused = ("a gateway cut it off",) if state.evidence.fused is not None else ()
    log = watch.log_worse(state.watched)
    doubts = (*fused, *([f"on probation it may not keep what the champion kept: e = {number(log)}"] if log >= DOUBT else []))
    if not doubts:
        _cut_short(store, older, state, version, now, connection)
        return
    reasons = (*doubts, f"version {version} came")
    route = store.route(older.name, connection) or Route(older.champion)
    ledger.add_decision(older.id, now, route.generation, Decision(Action.ROLLBACK, reasons, {}), connection)
    ledger.close(older.id, "reverted", now, connection)
    enqueue(older.id, effects.reverted(state.evidence.champion, now, reasons), connection)


def _cut_short(store: Store, older: Rollout, state: State, version: str, now: float, connection: sa.Connection) -> None:
    """End a probation before its time: the version was let in, and the next one is compared with it."""
    reason = f"ended early: version {version} came"
    route = store.route(older.name, connection) or Route(older.champion)
    moved = store.set_route(older.name, replace(route, champion=older.version, canary=None, weight=0.0), connection)
    decision = Decision(Action.END_PROBATION, (reason,), {})
    last = {"at": now, "action": decision.action, "reasons": decision.reasons, "numbers": {}}
    ledger.save(older.id, replace(state, phase=Phase.PROMOTED, since=now), last, older.offsets, connection)
    ledger.add_decision(older.id, now, moved.generation, decision, connection)
    ledger.close(older.id, Phase.PROMOTED, now, connection)
    enqueue(older.id, effects.ended([reason], now), connection)


def enqueue(rollout: int, rows: Sequence[effects.Row], connection: sa.Connection) -> None:
    """Put what the registry has to be told into the outbox, in order."""
    for effect, payload in rows:
        ledger.enqueue(rollout, effect, payload, connection)
