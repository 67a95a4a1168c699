"""The rollout database: what the gateways saw, where they send traffic, and what the controller decided.

Any SQLAlchemy URL; SQLite by default. It holds no text of any request. Gateways append events and read the route; the
controller reads events and, in one transaction a tick, writes its decision, its offsets, the route and an outbox of effects
on the registry. `status` and `rollback` need this module and nothing heavier. It also holds the hashes of the API keys.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

from pipelines.errors import Transient
from pipelines.rollout.tables import api_keys, counted, decisions, events, metadata, outbox, rollouts, routes

__all__ = [
    "LEASE_SECONDS", "Event", "Journal", "Rollout", "Route", "Stale", "Store", "api_keys", "counted", "decisions", "events",
    "outbox", "rollouts",
]  # fmt: skip

LEASE_SECONDS = 30.0
BUSY_SECONDS = 20  # that a connection to SQLite waits for another's transaction
CREATE_LOCK = 7_305_813  # any number that is ours: PostgreSQL's CREATE TABLE IF NOT EXISTS fails when two run at once


@dataclass(frozen=True)
class Event:
    """One answer (`kind` answer), one late verdict on an answer (verdict), or a gateway that lowered the canary itself (fuse).

    `slis` maps an SLI's name to True (good) or False (bad); an SLI that does not apply is absent. `arm` is the arm that the
    user belongs to (champion or canary): when the champion answered for a failed canary, the failure is the canary's event.
    `request` is the request's id, the same in both arms of a mirrored request. `at` is in seconds since the epoch. `scores`
    maps the name of a scored SLI to a number from 0 to 1, the higher the better.
    """

    request: str
    user_hmac: str
    arm: str
    version: str
    at: float
    slis: Mapping[str, bool]
    kind: str = "answer"
    shadow: bool = False
    gateway: str = ""
    seq: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """Where a gateway sends traffic. `weight` is the canary's share of the users, in percent (0 in shadow).

    `lease_until` (seconds since the epoch) is renewed by each tick: past it a gateway sends everything to the champion, since
    a canary that nobody watches gets no traffic.
    """

    champion: str | None
    canary: str | None = None
    weight: float = 0.0
    shadow: bool = False
    salt: str = ""
    lease_until: float = 0.0
    generation: int = 0


@dataclass(frozen=True)
class Journal:
    """Events after the given offsets, in order a gateway, and the offsets after them."""

    events: Sequence[Event]
    offsets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Rollout:
    """A row of `rollouts`; `outcome` is None while it is open."""

    id: int
    name: str
    version: str
    champion: str | None
    state: Mapping[str, Any]
    offsets: Mapping[str, int]
    outcome: str | None
    opened_at: float
    closed_at: float | None


class Stale(Transient):
    """Somebody else moved the route since it was read; read again and decide again."""


class Store:
    """One rollout database. Every public method is one transaction unless it is handed a connection."""

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url, pool_pre_ping=True)
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _sqlite_pragmas)
            sa.event.listen(self.engine, "begin", _sqlite_begin)

    def create(self) -> None:
        """Make the tables, columns and indexes that are missing."""
        with self.transaction() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CREATE_LOCK)))
            metadata.create_all(connection)
            for index in rollouts.indexes:  # a database made before has its tables, but not a newer index
                index.create(connection, checkfirst=True)
            if "scores" not in {column["name"] for column in sa.inspect(connection).get_columns(events.name)}:
                connection.execute(sa.text("ALTER TABLE events ADD COLUMN scores JSON"))  # made before answers were scored

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        try:
            with self.engine.begin() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            raise Transient(f"rollout database {self.engine.url.render_as_string()}: {error.orig}") from error

    def append(self, name: str, gateway: str, batch: Sequence[Event]) -> None:
        """Write a batch of events; `seq` must rise within a gateway. A batch written twice is kept once."""
        if not batch:
            return
        rows = [
            {
                "gateway": gateway, "seq": e.seq, "name": name, "kind": e.kind, "request": e.request, "user_hmac": e.user_hmac,
                "arm": e.arm, "version": e.version, "shadow": e.shadow, "at": e.at, "slis": dict(e.slis),
                "scores": dict(e.scores) or None,
            }
            for e in batch
        ]  # fmt: skip
        with self.transaction() as connection:
            dialect = sqlite if self.engine.dialect.name == "sqlite" else postgresql
            connection.execute(dialect.insert(events).on_conflict_do_nothing(), rows)

    def read(self, name: str, offsets: Mapping[str, int], connection: sa.Connection | None = None) -> Journal:
        """Return the events of `name` past `offsets` (gateway -> last seq read), ordered by time, and the new offsets."""
        if connection is None:
            with self.transaction() as own:
                return self.read(name, offsets, own)
        found: list[Event] = []
        after = dict(offsets)
        for gateway, head in self.heads(name, connection).items():
            unread = sa.and_(events.c.gateway == gateway, events.c.seq <= head)
            if gateway in offsets:
                unread = sa.and_(unread, events.c.seq > offsets[gateway])
            found += [_event(row) for row in connection.execute(sa.select(events).where(unread)).mappings()]
            after[gateway] = head
        return Journal(sorted(found, key=lambda event: (event.at, event.seq)), after)

    def heads(self, name: str, connection: sa.Connection) -> dict[str, int]:
        """The last event of each gateway of `name`: three looks into the primary key each, however many events."""
        found: dict[str, int] = {}
        every = sa.select(sa.func.min(events.c.gateway))
        gateway = connection.execute(every).scalar()
        while gateway is not None:
            own = events.c.gateway == gateway  # a gateway serves one model: its first event names it
            if connection.execute(sa.select(events.c.name).where(own).order_by(events.c.seq).limit(1)).scalar() == name:
                found[gateway] = connection.execute(sa.select(sa.func.max(events.c.seq)).where(own)).scalar_one()
            gateway = connection.execute(every.where(events.c.gateway > gateway)).scalar()
        return found

    def route(self, name: str, connection: sa.Connection | None = None) -> Route | None:
        if connection is None:
            with self.transaction() as own:
                return self.route(name, own)
        row = connection.execute(sa.select(routes).where(routes.c.name == name)).mappings().first()
        return Route(**{k: v for k, v in row.items() if k != "name"}) if row else None

    def open_rollout(self, name: str, connection: sa.Connection | None = None) -> Rollout | None:
        """The rollout of `name` that is open, if any; locked to the end of the transaction."""
        if connection is None:
            with self.transaction() as own:
                return self.open_rollout(name, own)
        query = sa.select(rollouts).where(rollouts.c.name == name, rollouts.c.outcome.is_(None)).with_for_update()
        row = connection.execute(query).mappings().first()
        return Rollout(**row) if row else None

    def set_route(self, name: str, route: Route, connection: sa.Connection) -> Route:
        """Replace the route read as `route.generation` by `route`; its generation rises by one.

        Raises:
            Stale: the route has another generation by now.
        """
        values = {k: getattr(route, k) for k in ("champion", "canary", "weight", "shadow", "salt", "lease_until")}
        values["generation"] = route.generation + 1
        if route.generation == 0:
            try:
                connection.execute(sa.insert(routes).values(name=name, **values))
            except sa.exc.IntegrityError:
                raise Stale(f"{name}: the route was created by somebody else meanwhile") from None
        else:
            changed = connection.execute(
                sa.update(routes).where(routes.c.name == name, routes.c.generation == route.generation).values(**values)
            )
            if changed.rowcount != 1:
                raise Stale(f"{name}: the route changed since generation {route.generation} was read")
        return Route(**{**values, "generation": route.generation + 1})

    def renew(self, name: str, generation: int, connection: sa.Connection, now: float) -> None:
        """Lengthen the canary's lease without a new generation."""
        renewal = sa.update(routes).where(routes.c.name == name, routes.c.generation == generation)
        connection.execute(renewal.values(lease_until=now + LEASE_SECONDS))


def _event(row: Mapping[Any, Any]) -> Event:
    return Event(**{k: v for k, v in row.items() if k not in ("name", "scores")}, scores=row["scores"] or {})


def _sqlite_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous=FULL")  # WAL with NORMAL may lose the last commits when the power goes


@retry(
    retry=retry_if_exception_type(sqlite3.OperationalError),
    wait=wait_random(0.001, 0.05),
    stop=stop_after_delay(BUSY_SECONDS),
    reraise=True,
)
def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite tells the loser of two that switch a new file at once "locked" without waiting busy_timeout."""
    connection.execute("PRAGMA journal_mode=WAL")


def _sqlite_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
