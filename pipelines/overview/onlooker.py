"""The rollout database for one who only looks: reading it every few seconds never keeps a gateway or a controller waiting."""

import sqlite3
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from pipelines.overview.facts import Day
from pipelines.registry.records import Entry
from pipelines.rollout.store import Store, events, outbox, rollouts

DAY = 86_400.0  # seconds


class Onlooker(Store):
    """A Store whose transactions on SQLite read a snapshot and take no lock (Store's own begin as writers). It cannot write."""

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url, pool_pre_ping=True)
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _looking)
            sa.event.listen(self.engine, "begin", _begin)


def _looking(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=2000")
    connection.execute("PRAGMA query_only=1")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def recorded(name: str, connection: sa.Connection) -> list[Entry]:
    """What the registry was told, or is still to be told, of `name`, oldest first: read without asking MLflow.

    Of a version that it is not told of by a rollout (`seqline history` knows of those, too) nothing stands here.
    """
    told = sa.select(outbox.c.id, outbox.c.payload, rollouts.c.version).join(rollouts)
    query = told.where(rollouts.c.name == name, outbox.c.effect == "record").order_by(outbox.c.id)
    return [_entry(row) for row in connection.execute(query).mappings()]


def _entry(row: Mapping[Any, Any]) -> Entry:
    payload = row["payload"]
    return Entry(payload["at"], row["version"], payload["event"], f"{row['id']:09d}", payload["detail"])


def judged(name: str, since: float, connection: sa.Connection) -> tuple[Day, ...]:
    """Answers that the judge flagged, of all it read, by day (UTC) since then; mirrored ones are not counted."""
    day = sa.cast(events.c.at / DAY, sa.Integer) if connection.dialect.name == "sqlite" else sa.func.floor(events.c.at / DAY)
    good = events.c.slis["judge"].as_boolean()
    counts = sa.func.count().filter(good.is_(False)), sa.func.count().filter(good.is_not(None))
    shown = sa.and_(events.c.name == name, events.c.kind == "verdict", sa.not_(events.c.shadow), events.c.at >= since)
    found = connection.execute(sa.select(day, *counts).where(shown).group_by(day).order_by(day))
    return tuple(Day(int(at) * DAY, bad, n) for at, bad, n in found if n)
