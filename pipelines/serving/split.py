"""Who gets which model: a sticky split by keyed hash, the mirror, and when a new route may be applied. All pure."""

import hashlib
import hmac
from collections.abc import Set
from typing import Literal

from pipelines.rollout.store import Route

Arm = Literal["champion", "canary"]
NOWHERE = Route(champion=None)


def unit(salt: str, key: str) -> float:
    """Map a sender to [0, 1), evenly, the same for ever under one salt and independently under another."""
    mac = hmac.digest(salt.encode(), key.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return int.from_bytes(mac[:7]) / 2**56


def leased(route: Route, now: float) -> bool:
    """Is a controller watching the canary? `now` in seconds since the epoch."""
    return route.canary is not None and now < route.lease_until


def arm(route: Route, key: str, now: float) -> Arm:
    """The arm of a sender. Raising the weight only moves senders from the champion to the canary."""
    in_share = unit(route.salt, key) < route.weight / 100
    return "canary" if in_share and leased(route, now) else "champion"


def mirrored(route: Route, now: float) -> bool:
    """Is the champion's traffic copied to the canary?"""
    return route.shadow and leased(route, now)


def sampled(request: str, share: float) -> bool:
    """Does the judge read this request's answers? By the request's id alone, hence alike in both arms."""
    return unit("judge", request) < share


def versions(*routes: Route) -> frozenset[str]:
    """The versions that the routes name."""
    return frozenset(v for route in routes for v in (route.champion, route.canary) if v is not None)


def settle(applied: Route, wanted: Route, up: Set[str]) -> Route:
    """The route to follow: `wanted` as soon as it can be applied whole, till then `applied`.

    A version that `wanted` gives a new part must have its engine up. A part that stays as it is needs nothing, so that a
    rollback never waits, and a change of weight does not wait for a canary that crashed.
    """
    if wanted.generation == applied.generation:
        return wanted  # the lease was renewed
    champion_ready = wanted.champion in (None, applied.champion) or wanted.champion in up
    canary_ready = wanted.canary in (None, applied.canary) or wanted.canary in up
    return wanted if champion_ready and canary_ready else applied
