"""Which requests a replay sent (pipelines/rollout/replay.py): held-out texts for a rollout, and nobody's real question.

Traces name no sender, events do, by a pseudonym; and whose pseudonyms a replay's are is known, since it names its senders.
"""

import hashlib
import hmac

import sqlalchemy as sa

from pipelines.rollout.store import Store
from pipelines.rollout.tables import events

SEED = 1  # replay's own, unless --seed says otherwise
AT_A_TIME = 10_000  # pseudonyms in a query: SQLite takes 32,766 variables


def pseudonyms(key: bytes, users: int, seed: int = SEED) -> frozenset[str]:
    """What the gateway writes, under the key of pseudonyms, for the `users` senders of a replay."""
    names = (f"replay-{seed}-{user}" for user in range(users))
    return frozenset(hmac.digest(key, name.encode(), hashlib.sha256).hex() for name in names)


def replayed(store: Store, name: str, since: float, senders: frozenset[str]) -> frozenset[str]:
    """The ids of the requests to model `name` by one of `senders` that were answered since (seconds since the epoch).

    A replay with a `--seed` of its own is known by those senders only: `pseudonyms(key, users, seed)`.
    """
    wanted = sa.select(events.c.request.distinct()).where(events.c.name == name, events.c.at >= since)
    ordered, found = sorted(senders), set[str]()
    with store.transaction() as connection:
        for start in range(0, len(ordered), AT_A_TIME):
            some = events.c.user_hmac.in_(ordered[start : start + AT_A_TIME])
            found.update(connection.execute(wanted.where(some)).scalars())
    return frozenset(found)
