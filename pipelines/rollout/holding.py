"""`pause`, `freeze` and `resume`: a person stops what would rise. What protects users, a rollback, goes on all the same.

A pause stops one rollout where it is. A freeze stops every rollout of the model, those not yet opened, too, until `resume`.
Each is one transaction on the rollout database alone, and goes into the history.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import sqlalchemy as sa

from pipelines.errors import UserError
from pipelines.rollout import effects, ledger
from pipelines.rollout.policy import TERMINAL, Action, Decision
from pipelines.rollout.store import Rollout, Route, Store
from pipelines.rollout.tables import holds

RISING = frozenset({Action.ADVANCE, Action.REARM, Action.OPEN_GATE, Action.PROMOTE, Action.END_PROBATION})


@dataclass(frozen=True)
class Hold:
    """What a person has stopped: the rollout with the id `rollout`, or with None every one of the model."""

    rollout: int | None
    person: str
    why: str
    at: float

    @property
    def said(self) -> str:
        """Who stopped what, since when and why, in one line."""
        since = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        what = "frozen" if self.rollout is None else "paused"
        return f"{what} by {self.person} since {since}{': ' + self.why if self.why else ''}"


def held(name: str, rollout: int | None, connection: sa.Connection) -> Hold | None:
    """What stops `rollout` of `name`, if anything does. A pause ends with its rollout."""
    row = connection.execute(sa.select(holds).where(holds.c.name == name)).mappings().first()
    if row is None or row["rollout"] not in (None, rollout):
        return None
    return Hold(row["rollout"], row["person"], row["why"], row["at"])


def checked(decision: Decision, hold: Hold | None) -> Decision:
    """`decision`, unless it would give a held canary more than it has."""
    if hold is None or decision.action not in RISING:
        return decision
    return replace(decision, action=Action.HOLD, reasons=(hold.said, f"but for that: {decision.reasons[0]}"))


def pause(store: Store, name: str, why: str, now: float, by: str) -> str:
    """Stop the open rollout where it is; return what was done.

    Raises:
        UserError: no rollout is open, or the model is frozen.
    """
    with store.transaction() as connection:
        rollout = store.open_rollout(name, connection)
        if rollout is None or ledger.state_of(rollout).phase in TERMINAL:
            raise UserError(f"{name}: nothing to pause: no rollout is open (`seqline freeze {name}` stops the next one, too)")
        there = held(name, rollout.id, connection)
        if there:
            raise UserError(f"{name}: it is {there.said}: `seqline resume {name}` first")
        _put(name, Hold(rollout.id, by, why, now), connection)
        _note(store, rollout, "paused", by, why, now, connection)
    return f"{name}: version {rollout.version} stays where it is; a rollback is still made if it gets worse"


def freeze(store: Store, name: str, why: str, now: float, by: str) -> str:
    """Let nothing rise in `name` until `resume`; return what was done.

    Raises:
        UserError: it is frozen already.
    """
    store.create()
    with store.transaction() as connection:
        rollout = store.open_rollout(name, connection)
        there = held(name, rollout.id if rollout else None, connection)
        if there and there.rollout is None:
            raise UserError(f"{name}: it is {there.said} already")
        _put(name, Hold(None, by, why, now), connection)
        _note(store, rollout or ledger.latest_rollout(name, connection), "frozen", by, why, now, connection)
    what = f"version {rollout.version} stays where it is" if rollout else "a new version stays in shadow"
    return f"{name}: {what}, until `seqline resume {name}`"


def resume(store: Store, name: str, why: str, now: float, by: str) -> str:
    """Lift a pause or a freeze; return what was done.

    Raises:
        UserError: there is none.
    """
    store.create()
    with store.transaction() as connection:
        rollout = store.open_rollout(name, connection)
        there = held(name, rollout.id if rollout else None, connection)
        if there is None:
            raise UserError(f"{name}: nothing to resume: it is neither paused nor frozen")
        connection.execute(sa.delete(holds).where(holds.c.name == name))
        _note(store, rollout or ledger.latest_rollout(name, connection), "resumed", by, why, now, connection)
    return f"{name}: no longer {there.said}"


def _put(name: str, hold: Hold, connection: sa.Connection) -> None:
    connection.execute(sa.delete(holds).where(holds.c.name == name))
    values = {"rollout": hold.rollout, "person": hold.person, "why": hold.why, "at": hold.at}
    connection.execute(sa.insert(holds).values(name=name, **values))


def _note(store: Store, rollout: Rollout | None, event: str, by: str, why: str, now: float, connection: sa.Connection) -> None:
    """Put it into the history: of the rollout that it stops or, with none open, of the last one."""
    if rollout is None:
        return
    route = store.route(rollout.name, connection) or Route(None)
    reason = f"by hand, {by}: {why or 'no reason given'}"
    ledger.add_order(rollout.id, now, route.generation, event, reason, connection)
    for effect, payload in effects.ordered(event, now, reason):
        ledger.enqueue(rollout.id, effect, payload, connection)
