"""What was in production on a day, and why: read from the registry's history. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipelines.registry.records import Entry


@dataclass(frozen=True)
class Reign:
    """`version` answered users from `since` to `until` (None: to this day), in seconds since the epoch.

    A `canary` did so for `weight` percent of them; a champion for the rest, and has the facts of its promotion: `approver`,
    `digest` of the evidence, `data_md5`.
    """

    version: str
    since: float
    until: float | None
    why: str
    canary: bool = False
    weight: float = 100.0
    facts: dict[str, Any] = field(default_factory=dict)

    def touches(self, start: float, end: float) -> bool:
        return self.since < end and (self.until is None or self.until > start)


def reigns(entries: Iterable[Entry]) -> list[Reign]:
    """Who served when, oldest first, champions and canaries."""
    found: list[Reign] = []
    champion: Reign | None = None
    canary: Reign | None = None
    for entry in sorted(entries, key=lambda entry: (entry.at, entry.id)):
        if canary and (entry.event == "stage" or (entry.event in ENDS and entry.version == canary.version)):
            found.append(_ended(canary, entry.at))
            canary = None
        if entry.event == "stage":
            share = float(entry.detail.get("weight", 0))
            canary = Reign(entry.version, entry.at, None, _why(entry), canary=True, weight=share)
        crowned = entry.version if entry.event == "promoted" else entry.detail.get("champion") if _reverts(entry) else None
        if crowned:
            if champion:
                found.append(_ended(champion, entry.at))
            facts = {key: entry.detail.get(key) for key in FACTS} if entry.event == "promoted" else {}
            champion = Reign(str(crowned), entry.at, None, _why(entry), facts=facts or _facts_of(found, str(crowned)))
    found += [reign for reign in (champion, canary) if reign]
    return sorted(found, key=lambda reign: (reign.since, reign.canary))


FACTS = ("approver", "digest", "data_md5")
ENDS = frozenset({"promoted", "rolled back", "superseded"})


def on(entries: Iterable[Entry], day: date) -> list[Reign]:
    """Who served on `day` (UTC), champions and canaries, oldest first; empty if nothing was in production."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    since, until = start.timestamp(), (start + timedelta(days=1)).timestamp()
    return [reign for reign in reigns(entries) if reign.touches(since, until)]


def _reverts(entry: Entry) -> bool:
    """Was a promotion undone? A canary that is rolled back leaves the champion where it is, and names none."""
    return entry.event == "rolled back" and bool(entry.detail.get("champion"))


def _ended(reign: Reign, at: float) -> Reign:
    return Reign(reign.version, reign.since, at, reign.why, reign.canary, reign.weight, reign.facts)


def _facts_of(found: Sequence[Reign], version: str) -> dict[str, Any]:
    """The facts of the promotion that first brought `version`."""
    return next((reign.facts for reign in reversed(found) if reign.version == version and not reign.canary), {})


def _why(entry: Entry) -> str:
    reasons = entry.detail.get("reasons") or [entry.event]
    return f"{entry.event}: {'; '.join(reasons)}"
