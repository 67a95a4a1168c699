"""The journal's rows of answers that are gone: deleted with a request, or left without request and sender by age."""

from collections.abc import Container, Sequence

import sqlalchemy as sa

from pipelines.rollout.store import Store, events, rollouts

AT_ONCE = 500  # requests in one statement
ROWS_AT_ONCE = 5_000  # in one transaction: gateways write between two
HOUR = 3_600.0  # seconds of the journal read in one


def named(store: Store, name: str, wanted: Container[str], since: float = 0.0) -> set[str]:
    """Those of `wanted` that the rows of model `name` name, of answers since `since` (seconds since the epoch)."""
    store.create()
    found, start = set[str](), since
    while True:
        with store.transaction() as connection:
            later = (events.c.name == name, events.c.at >= start)
            first = connection.execute(sa.select(sa.func.min(events.c.at)).where(*later)).scalar()
            if first is None:
                return found
            start = first + HOUR
            rows = sa.select(events.c.request).where(*later, events.c.at < start)
            found.update(each for each in connection.execute(rows).scalars() if each and each in wanted)


def delete(store: Store, name: str, requests: Sequence[str]) -> int:
    """Delete the rows of these requests to model `name`; how many there were."""
    found = 0
    with store.transaction() as connection:
        for start in range(0, len(requests), AT_ONCE):
            some = events.c.request.in_(requests[start : start + AT_ONCE])
            found += connection.execute(sa.delete(events).where(events.c.name == name, some)).rowcount
    return found


def blank(store: Store, name: str, before: float) -> int:
    """Take request and sender from the rows of before `before` (seconds since the epoch); of how many.

    What they count in stays: version, time, good or bad. Rows that an open rollout may still bet on keep theirs.
    """
    with store.transaction() as connection:
        still_open = sa.select(sa.func.min(rollouts.c.opened_at)).where(rollouts.c.outcome.is_(None), rollouts.c.name == name)
        opened = connection.execute(still_open).scalar()
    until, since, found = before if opened is None else min(before, opened), 0.0, 0
    columns = (events.c.gateway, events.c.seq, events.c.at)
    while True:
        with store.transaction() as connection:
            named = (events.c.name == name, events.c.at >= since, events.c.at < until, events.c.request != "")
            rows = connection.execute(sa.select(*columns).where(*named).order_by(events.c.at).limit(ROWS_AT_ONCE)).all()
            if rows:
                one = (events.c.gateway == sa.bindparam("g"), events.c.seq == sa.bindparam("s"))
                blanked = sa.update(events).where(*one).values(request="", user_hmac="")
                connection.execute(blanked, [{"g": gateway, "s": seq} for gateway, seq, _ in rows])
        found += len(rows)
        if len(rows) < ROWS_AT_ONCE:
            return found
        since = rows[-1][2]
