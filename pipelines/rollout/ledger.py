"""The controller's rows in the rollout database: rollouts, decisions, the outbox. Each call is part of a transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from pipelines.rollout import evidence as ev
from pipelines.rollout import watch
from pipelines.rollout.evidence import Count
from pipelines.rollout.policy import CERTAIN, Decision, Phase, State
from pipelines.rollout.store import Event, Rollout, Stale
from pipelines.rollout.tables import counted, decisions, events, measures, outbox, rollouts

STATE = TypeAdapter(State)
IN = 500  # values in one IN (...)
MEASURE_SECONDS = 10.0  # between two measures; more the longer a rollout lasts, so that a week's wait is drawn as well
MEASURES = 500  # in the time that a rollout lasted so far


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
    """Insert a rollout and return its id.

    Raises:
        Stale: somebody else opened one in this very moment.
    """
    found = state.evidence
    values = {"name": name, "version": found.canary, "champion": found.champion or None, "opened_at": state.opened_at}
    try:
        row = connection.execute(sa.insert(rollouts).values(**values, state=_json(state, {}), offsets=dict(offsets)))
    except sa.exc.IntegrityError:
        raise Stale(f"{name}: another rollout was opened in this moment") from None
    key = row.inserted_primary_key
    assert key is not None
    return int(key[0])


def save(rollout: int, state: State, last: Mapping[str, Any], offsets: Mapping[str, int], connection: sa.Connection) -> None:
    """Keep the state after a tick, what the tick said (`last`), and how far the journal was read."""
    values = {"state": _json(state, last), "offsets": dict(offsets)}
    connection.execute(sa.update(rollouts).where(rollouts.c.id == rollout).values(**values))


def close(rollout: int, outcome: str, now: float, connection: sa.Connection) -> None:
    connection.execute(sa.update(rollouts).where(rollouts.c.id == rollout).values(outcome=outcome, closed_at=now))


def in_production(champion: str | None, rollout: Rollout | None) -> str | None:
    """The version that was let in last and not taken back, by the route's champion and the open rollout.

    On probation the route has it as a canary, with the former champion to fall back to.
    """
    return rollout.version if rollout and state_of(rollout).phase is Phase.PROBATION else champion


def with_users(rollout: int, state: State, batch: Iterable[Event], connection: sa.Connection) -> State:
    """`state` with those users of `batch` that have been bet on before."""
    keys = sorted({key for event in batch for key in (*ev.keys(event), *_watch_keys(state, event))})
    found: set[str] = set()
    for start in range(0, len(keys), IN):
        some = counted.c.key.in_(keys[start : start + IN])
        found |= set(connection.execute(sa.select(counted.c.key).where(counted.c.rollout == rollout, some)).scalars())
    return replace(state, evidence=replace(state.evidence, users=frozenset(found)))


def _watch_keys(state: State, event: Event) -> list[str]:
    return [watch.key(name, event) for name, good in event.slis.items() if not good and name in state.watched]


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


def add_order(rollout: int, now: float, generation: int, order: str, reason: str, connection: sa.Connection) -> None:
    """Record a person's order (paused, frozen, resumed) among a rollout's decisions."""
    values = {"action": order, "reasons": [reason], "numbers": {}}
    connection.execute(sa.insert(decisions).values(rollout=rollout, at=now, generation=generation, **values))


def measure(
    rollout: int, opened_at: float, now: float, numbers: Mapping[str, float], connection: sa.Connection, *, always: bool
) -> None:
    """Keep how a rollout stands, unless that was done a moment ago; `always` where something happened."""
    latest = connection.execute(sa.select(sa.func.max(measures.c.at)).where(measures.c.rollout == rollout)).scalar()
    gap = max(MEASURE_SECONDS, (now - opened_at) / MEASURES)
    if latest is not None and (now <= latest or (now - latest < gap and not always)):
        return
    connection.execute(sa.insert(measures).values(rollout=rollout, at=now, numbers=dict(numbers)))


def measures_of(rollout: int, connection: sa.Connection) -> list[tuple[float, dict[str, float]]]:
    """How a rollout stood over time, oldest first: (time, numbers)."""
    query = sa.select(measures.c.at, measures.c.numbers).where(measures.c.rollout == rollout).order_by(measures.c.at)
    return [(at, numbers) for at, numbers in connection.execute(query)]


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


def again(effect: Effect, connection: sa.Connection) -> None:
    """Have everything on a model that came after `effect` told anew, in order: `effect` was told late, over what came after."""
    mine = sa.select(rollouts.c.id).where(rollouts.c.name == effect.name)
    later = sa.and_(outbox.c.id > effect.id, outbox.c.rollout.in_(mine))
    connection.execute(sa.update(outbox).where(later).values(done_at=None))


def rollout_of(name: str, version: str, connection: sa.Connection) -> Rollout | None:
    """The latest rollout of a version, open or closed."""
    query = sa.select(rollouts).where(rollouts.c.name == name, rollouts.c.version == version).order_by(rollouts.c.id.desc())
    row = connection.execute(query).mappings().first()
    return Rollout(**row) if row else None


def rollout(number: int, connection: sa.Connection) -> Rollout:
    """The rollout with this id."""
    row = connection.execute(sa.select(rollouts).where(rollouts.c.id == number)).mappings().one()
    return Rollout(**row)


def latest_rollout(name: str, connection: sa.Connection) -> Rollout | None:
    """The last rollout of a model, open or closed."""
    query = sa.select(rollouts).where(rollouts.c.name == name).order_by(rollouts.c.id.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return Rollout(**row) if row else None


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
