"""Which controller acts for a model: one at a time, the one whose last tick is less than LEASE_SECONDS ago.

Each change of hands raises a token. A controller that slept through its lease (a stopped process, a machine that swapped)
finds another token when it commits, and commits nothing.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from pipelines.rollout.store import LEASE_SECONDS, Stale
from pipelines.rollout.tables import controllers


@dataclass(frozen=True)
class Lease:
    """The right to act for `name`, a `holder`'s until `until` (seconds since the epoch); `mine`: the one's who asked."""

    name: str
    holder: str
    token: int
    until: float
    mine: bool = True


def take(name: str, holder: str, now: float, connection: sa.Connection) -> Lease:
    """Take or renew the lease; if another controller's has not run out, return that one, with `mine` False.

    A holder that comes again, restarted after a kill, say, goes on at once: two of one name must exclude each other by
    other means (a lock on their machine).

    Raises:
        Stale: another controller took it in this very moment.
    """
    found = read(name, connection, lock=True)
    if found and found.holder != holder and now < found.until:
        return found
    until = now + LEASE_SECONDS
    if found is None:
        try:
            connection.execute(sa.insert(controllers).values(name=name, holder=holder, token=1, until=until))
        except sa.exc.IntegrityError:
            raise Stale(f"{name}: another controller took the lease in this moment") from None
        return Lease(name, holder, 1, until)
    token = found.token + (found.holder != holder)
    connection.execute(sa.update(controllers).where(controllers.c.name == name).values(holder=holder, token=token, until=until))
    return Lease(name, holder, token, until)


def read(name: str, connection: sa.Connection, *, lock: bool = False) -> Lease | None:
    """The lease on `name` as it stands, with `mine` False; `lock` keeps others from it to the end of the transaction."""
    query = sa.select(controllers).where(controllers.c.name == name)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return Lease(**row, mine=False) if row else None


def lost(lease: Lease, connection: sa.Connection) -> bool:
    """Has another controller taken over since? If not, none can before the end of the transaction."""
    found = read(lease.name, connection, lock=True)
    return found is None or found.token != lease.token


def check(lease: Lease, connection: sa.Connection) -> None:
    """Raises Stale if another controller has taken over."""
    if lost(lease, connection):
        raise Stale(f"{lease.name}: another controller took over while this one slept; nothing was changed")
