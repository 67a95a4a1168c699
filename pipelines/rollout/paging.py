"""The seed rule "burn > 4x for 30 minutes" pages a person, whoever serves, champion or canary. It decides nothing.

Answers are counted by the minute. Going back from now in steps of five minutes, an SLI burns for as long as each step that
was asked anything burned (so a slow burn is noticed up to a step late). A person is told once per episode, which ends with a
step that does not burn. A judge's flags have no budget, so they never page.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pipelines.rollout import effects, ledger
from pipelines.rollout.evidence import Count
from pipelines.rollout.policy import Policy
from pipelines.rollout.store import Route, Stale, Store
from pipelines.rollout.tables import burns

BURN = 4.0  # times the budget's rate
LASTING = 1_800.0  # seconds
STEP = 5  # minutes
BACK = 9  # steps that are looked at, in all
EVERY = 30.0  # seconds between two looks
SETTLED = 1.0  # seconds after which gateways have written what they saw

Minutes = Mapping[int, Count]  # minute since the epoch -> the answers in it


@dataclass(frozen=True)
class Burn:
    """An SLI that burns `burn` times its budget since `since` (seconds since the epoch)."""

    sli: str
    burn: float
    since: float

    @property
    def said(self) -> str:
        start = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{self.sli} burns {self.burn:.3g} times its budget since {start}"


def burning(sli: str, minutes: Minutes, budget: float, now: float) -> tuple[Burn | None, bool]:
    """Since when an SLI burns more than BURN times its `budget` of bad answers, and whether the latest step was calm.

    Without an answer in the last two steps it is neither.
    """
    last = int(now // 60)
    run, start, calm = Count(), None, False
    for k in range(BACK):
        these = [minute for minute in range(last - (k + 1) * STEP + 1, last - k * STEP + 1) if minute in minutes]
        step = sum((minutes[minute] for minute in these), Count())
        if not step.n:
            if start is None and k == 1:
                break
            continue
        if step.bad <= BURN * budget * step.n:
            calm = start is None
            break
        run, start = run + step, 60.0 * min(minute for minute in these if minutes[minute].bad)
    return (None if start is None else Burn(sli, run.bad / run.n / budget, start)), calm


def due(burn: Burn | None, now: float) -> bool:
    """Does it burn for long enough that a person is paged?"""
    return burn is not None and now - burn.since >= LASTING


def look(store: Store, name: str, policy: Policy, now: float, connection: sa.Connection) -> tuple[Burn, ...]:
    """Count what users met since the last look; return what a person is newly paged for, written into the history.

    Raises:
        Stale: somebody else looked for the first time in this moment.
    """
    row = connection.execute(sa.select(burns).where(burns.c.name == name).with_for_update()).mappings().first()
    if row and 0 <= now - row["looked_at"] < EVERY:
        return ()
    minutes, until = _counted(name, row, now, connection)
    promised = {rule.name for rule in policy.slis if rule.objective is not None}
    told = {name: burn for name, burn in row["told"].items() if name in promised} if row else {}
    fresh = []
    for rule in policy.slis:
        if rule.objective is None:
            continue
        mine = {minute: Count(*counts[rule.name]) for minute, counts in minutes.items() if rule.name in counts}
        burn, calm = burning(rule.name, mine, rule.budget, until)
        if burn and (rule.name in told or due(burn, until)):
            if rule.name not in told:
                fresh.append(burn)
            told[rule.name] = asdict(burn) | {"since": told.get(rule.name, asdict(burn))["since"]}
        elif calm:
            told.pop(rule.name, None)
    _keep(row is None, name, {"looked_at": until, "minutes": {str(m): c for m, c in minutes.items()}, "told": told}, connection)
    for burn in fresh:
        _tell(store, name, burn, now, connection)
    return tuple(fresh)


def paged(name: str, connection: sa.Connection) -> list[Burn]:
    """What a person was paged for and burns still."""
    told = connection.execute(sa.select(burns.c.told).where(burns.c.name == name)).scalar()
    return [Burn(**burn) for burn in (told or {}).values()]


def _counted(
    name: str, row: Mapping[Any, Any] | None, now: float, connection: sa.Connection
) -> tuple[dict[int, dict[str, list[int]]], float]:
    """Answers and bad answers by minute and SLI, brought up to the moment that is returned, too."""
    until, oldest = now - SETTLED, int(now // 60) - BACK * STEP
    known = row is not None and row["looked_at"] <= until
    minutes = {int(m): dict(counts) for m, counts in row["minutes"].items() if int(m) >= oldest} if row and known else {}
    start = max(row["looked_at"], 60.0 * oldest) if row and known else 60.0 * oldest
    while start < until:
        minute = int(start // 60)
        end = min(60.0 * (minute + 1), until)
        before = minutes.get(minute, {})
        served, _ = ledger.served(name, start, end, connection)
        sums = {sli: Count(*before.get(sli, (0, 0))) + count for sli, count in served.items()}
        if any(count.n for count in sums.values()):
            minutes[minute] = {sli: [count.n, count.bad] for sli, count in sums.items() if count.n}
        start = end
    return minutes, until


def _keep(new: bool, name: str, values: Mapping[str, Any], connection: sa.Connection) -> None:
    if not new:
        connection.execute(sa.update(burns).where(burns.c.name == name).values(**values))
        return
    try:
        connection.execute(sa.insert(burns).values(name=name, **values))
    except sa.exc.IntegrityError:
        raise Stale(f"{name}: somebody else looked at its burn in this moment") from None


def _tell(store: Store, name: str, burn: Burn, now: float, connection: sa.Connection) -> None:
    """Put a burn into the history: of the rollout that brought what is in production, or of the last one."""
    route = store.route(name, connection) or Route(None)
    version = ledger.in_production(route.champion, store.open_rollout(name, connection))
    brought = ledger.rollout_of(name, version, connection) if version else None
    rollout = brought or ledger.latest_rollout(name, connection)
    if rollout:
        ledger.add_order(rollout.id, now, route.generation, "paged", burn.said, connection)
        for effect, payload in effects.paged(burn.sli, burn.burn, burn.since, burn.said, now):
            ledger.enqueue(rollout.id, effect, payload, connection)
