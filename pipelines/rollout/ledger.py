"""The controller's rows in the rollout database: rollouts, decisions, the outbox. Each call is part of a transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from pipelines.rollout.evidence import Count
from pipelines.rollout.policy import CERTAIN, Decision, State
from pipelines.rollout.store import Event, Rollout, counted, decisions, events, outbox, rollouts

STATE = TypeAdapter(State)
IN = 500  # values in one IN (...)


@dataclass(frozen=True)
class Effect:
    """Something to tell the registry; `id` orders effects and makes each once only."""

    id: int
    rollout: int
    name: str
    version: str
    effect: str
    payload: Mapping[str, Any]


def state_of(rollout: Rollout) -> State:
    """The state of a rollout, without the users that were bet on (see `with_users`)."""
    return STATE.validate_python(rollout.state["state"])


def begin(name: str, state: State, offsets: Mapping[str, int], connection: sa.Connection) -> int:
    """Insert a rollout and return its id."""
    found = state.evidence
    values = {"name": name, "version": found.canary, "champion": found.champion or None, "opened_at": state.opened_at}
    row = connection.execute(sa.insert(rollouts).values(**values, state=_json(state, {}), offsets=dict(offsets)))
    key = row.inserted_primary_key
    assert key is not None
    return int(key[0])


def save(rollout: int, state: State, last: Mapping[str, Any], offsets: Mapping[str, int], connection: sa.Connection) -> None:
    """Keep the state after a tick, what the tick said (`last`), and how far the journal was read."""
    values = {"state": _json(state, last), "offsets": dict(offsets)}
    connection.execute(sa.update(rollouts).where(rollouts.c.id == rollout).values(**values))


def close(rollout: int, outcome: str, now: float, connection: sa.Connection) -> None:
    connection.execute(sa.update(rollouts).where(rollouts.c.id == rollout).values(outcome=outcome, closed_at=now))


def with_users(rollout: int, state: State, batch: Iterable[Event], connection: sa.Connection) -> State:
    """`state` with those users of `batch` that have been bet on before."""
    keys = sorted({f"{sli}:{event.user_hmac}" for event in batch for sli in event.slis})
    found: set[str] = set()
    for start in range(0, len(keys), IN):
        some = counted.c.key.in_(keys[start : start + IN])
        found |= set(connection.execute(sa.select(counted.c.key).where(counted.c.rollout == rollout, some)).scalars())
    return replace(state, evidence=replace(state.evidence, users=frozenset(found)))


def add_users(rollout: int, users: Iterable[str], connection: sa.Connection) -> None:
    rows = [{"rollout": rollout, "key": key} for key in sorted(users)]
    if rows:
        connection.execute(sa.insert(counted), rows)


def add_decision(rollout: int, now: float, generation: int, decision: Decision, connection: sa.Connection) -> int:
    """Record a decision made at `generation` of the route, and return its id."""
    values = {"action": decision.action.value, "reasons": list(decision.reasons), "numbers": dict(decision.numbers)}
    row = connection.execute(sa.insert(decisions).values(rollout=rollout, at=now, generation=generation, **values))
    key = row.inserted_primary_key
    assert key is not None
    return int(key[0])


def decisions_of(rollout: int, connection: sa.Connection) -> list[dict[str, Any]]:
    """A rollout's decisions, oldest first."""
    query = sa.select(decisions).where(decisions.c.rollout == rollout).order_by(decisions.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def latest_decisions(name: str, most: int, connection: sa.Connection) -> list[dict[str, Any]]:
    """The last decisions on `name`, newest first, each with its rollout's `version`."""
    query = sa.select(decisions, rollouts.c.version).join(rollouts).where(rollouts.c.name == name)
    return [dict(row) for row in connection.execute(query.order_by(decisions.c.id.desc()).limit(most)).mappings()]


def enqueue(rollout: int, effect: str, payload: Mapping[str, Any], connection: sa.Connection) -> None:
    connection.execute(sa.insert(outbox).values(rollout=rollout, effect=effect, payload=dict(payload)))


def pending(name: str, connection: sa.Connection) -> list[Effect]:
    """The effects on `name` that the registry has not been told, in order."""
    query = (
        sa.select(outbox.c.id, outbox.c.rollout, rollouts.c.name, rollouts.c.version, outbox.c.effect, outbox.c.payload)
        .join(rollouts)
        .where(rollouts.c.name == name, outbox.c.done_at.is_(None))
        .order_by(outbox.c.id)
    )
    return [Effect(**row) for row in connection.execute(query).mappings()]


def done(effect: int, now: float, connection: sa.Connection) -> None:
    connection.execute(sa.update(outbox).where(outbox.c.id == effect).values(done_at=now))


def rollout_of(name: str, version: str, connection: sa.Connection) -> Rollout | None:
    """The latest rollout of a version, open or closed."""
    query = sa.select(rollouts).where(rollouts.c.name == name, rollouts.c.version == version).order_by(rollouts.c.id.desc())
    row = connection.execute(query).mappings().first()
    return Rollout(**row) if row else None


def heads(name: str, connection: sa.Connection) -> dict[str, int]:
    """The last event of each gateway: a new rollout reads from here."""
    query = sa.select(events.c.gateway, sa.func.max(events.c.seq)).where(events.c.name == name).group_by(events.c.gateway)
    return {row[0]: row[1] for row in connection.execute(query)}


def served(name: str, since: float, until: float, connection: sa.Connection) -> tuple[dict[str, Count], float | None]:
    """Count what users met from `since` to `until` in each certain SLI; return the counts and the time of the first answer."""
    shown = sa.and_(events.c.name == name, events.c.kind == "answer", sa.not_(events.c.shadow))
    columns: list[Any] = [sa.func.min(events.c.at)]
    for sli in CERTAIN:
        good = events.c.slis[sli].as_boolean()
        columns += [sa.func.count().filter(good.is_not(None)), sa.func.count().filter(good.is_(False))]
    query = sa.select(*columns).where(shown, events.c.at >= since, events.c.at < until)
    first, *numbers = connection.execute(query).one()
    return {sli: Count(numbers[2 * i], numbers[2 * i + 1]) for i, sli in enumerate(CERTAIN)}, first


def last_event(name: str, connection: sa.Connection) -> float | None:
    """When the latest answer was given."""
    return connection.execute(sa.select(sa.func.max(events.c.at)).where(events.c.name == name)).scalar()


def _json(state: State, last: Mapping[str, Any]) -> dict[str, Any]:
    bare = replace(state, evidence=replace(state.evidence, users=frozenset()))
    return {"state": STATE.dump_python(bare, mode="json"), "last": dict(last)}
