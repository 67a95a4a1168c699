"""What was in production on a day, and why: read from the registry's history. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipelines.registry.records import Entry


@dataclass(frozen=True)
class Reign:
    """`version` answered users from `since` to `until` (None: to this day), in seconds since the epoch.

    A `canary` did so for `weight` percent of them, and so did a champion `former` that a probation keeps; a champion for the
    rest, and has the facts of its promotion: `approver`, `digest` of the evidence, `data_md5`.
    """

    version: str
    since: float
    until: float | None
    why: str
    canary: bool = False
    former: bool = False
    weight: float = 100.0
    facts: dict[str, Any] = field(default_factory=dict)

    def touches(self, start: float, end: float) -> bool:
        return self.since < end and (self.until is None or self.until > start)


def reigns(entries: Iterable[Entry]) -> list[Reign]:
    """Who served when, oldest first, champions and canaries."""
    found: list[Reign] = []
    champion: Reign | None = None
    part: Reign | None = None  # a canary, or the former champion in a probation
    whose = ""
    for entry in sorted(entries, key=lambda entry: (entry.at, entry.id)):
        if part and (entry.event == "stage" or (entry.event in ENDS and entry.version == whose)):
            found.append(_ended(part, entry.at))
            part = None
        begun = _part(entry)
        if begun:
            part, whose = begun, entry.version
        crowned = entry.version if entry.event == "promoted" else entry.detail.get("champion") if _reverts(entry) else None
        if crowned:
            if champion:
                found.append(_ended(champion, entry.at))
            facts = {key: entry.detail.get(key) for key in FACTS} if entry.event == "promoted" else {}
            champion = Reign(str(crowned), entry.at, None, _why(entry), facts=facts or _facts_of(found, str(crowned)))
    found += [reign for reign in (champion, part) if reign]
    return sorted(found, key=lambda reign: (reign.since, reign.canary or reign.former))


FACTS = ("approver", "digest", "data_md5")
ENDS = frozenset({"promoted", "rolled back", "superseded", "set back", "probation ended"})


def on(entries: Iterable[Entry], day: date) -> list[Reign]:
    """Who served on `day` (UTC), champions and canaries, oldest first; empty if nothing was in production."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    since, until = start.timestamp(), (start + timedelta(days=1)).timestamp()
    return [reign for reign in reigns(entries) if reign.touches(since, until)]


def _part(entry: Entry) -> Reign | None:
    """Who serves a part of the users from this entry on, beside the champion."""
    if entry.event in ("stage", "set back"):
        return Reign(entry.version, entry.at, None, _why(entry), canary=True, weight=float(entry.detail.get("weight", 0)))
    former, holdback = entry.detail.get("former"), entry.detail.get("holdback")
    if entry.event == "promoted" and former and holdback:
        why = f"version {entry.version} on probation"
        return Reign(str(former), entry.at, None, why, former=True, weight=float(holdback))
    return None


def _reverts(entry: Entry) -> bool:
    """Was a promotion undone? A canary that is rolled back leaves the champion where it is, and names none."""
    return entry.event in ("rolled back", "set back") and bool(entry.detail.get("champion"))


def _ended(reign: Reign, at: float) -> Reign:
    return replace(reign, until=at)


def _facts_of(found: Sequence[Reign], version: str) -> dict[str, Any]:
    """The facts of the promotion that first brought `version`."""
    return next((reign.facts for reign in reversed(found) if reign.version == version and not reign.canary), {})


def _why(entry: Entry) -> str:
    reasons = entry.detail.get("reasons") or [entry.event]
    return f"{entry.event}: {'; '.join(reasons)}"
