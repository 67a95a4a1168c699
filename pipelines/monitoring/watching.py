"""Which traffic one look at a drift rests on, so that looking at any hour keeps the promise of one false alarm in 100 months.

A test begins every HALF_DAYS and is asked from then on until it is two such halves old; what is said comes from the one that
is in its second half. At most three tests thus speak in any 30 days, and ALPHA for each makes 0.9 %. A promotion begins one
more, since the new champion has a reference of its own and what came before it tells nothing of that: 0.3 % for each.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.monitoring.drift import Side, Text, Verdict, sided
from pipelines.monitoring.facts import Tools
from pipelines.monitoring.profile import Profile, TooFew
from pipelines.spec.watch import LOOKED_BACK

ALPHA = 0.003  # of a test, both sides together
HALF_DAYS = LOOKED_BACK // 2
DAY = 86_400.0  # seconds


def since(now: float, promoted: float = 0.0) -> float:
    """When the test began that speaks at `now`, not before the champion was `promoted`: all in seconds since the epoch."""
    return max(promoted, (now // (HALF_DAYS * DAY) - 1) * HALF_DAYS * DAY)


@dataclass(frozen=True)
class Drift:
    """What `seqline drift` says of a model's traffic between `since` and `until` (seconds since the epoch)."""

    name: str
    version: str
    verdict: Verdict
    since: float
    until: float
    sides: tuple[Side, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def watched(
    name: str, version: str, sides: Sequence[tuple[str, Profile | TooFew, Sequence[Text], Tools]], begun: float, now: float
) -> Drift:
    """Compare each side (its name, reference, texts since `begun` in the order they came, tools); together at ALPHA.

    Drifted if any side is, unknown if any is and none drifted. A side whose texts are TooFew for a reference is unknown.
    """
    found = tuple(
        Side(side, "unknown", str(profile), 0, 0, ALPHA / 2)
        if isinstance(profile, TooFew)
        else sided(side, profile, texts, tools, ALPHA / 2)
        for side, profile, texts, tools in sides
    )
    said = {side.verdict for side in found}
    verdict: Verdict = "drifted" if "drifted" in said else "unknown" if "unknown" in said or not said else "not drifted"
    return Drift(name, version, verdict, begun, now, found)
