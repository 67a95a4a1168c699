"""Hashed users and their bad answers on a virtual clock, the same for every rule that is tried on them.

Users are placed in [0, 1) by a hash salted per rollout; the canary serves those below its weight, so that users only join.
How often a user asks is heavy-tailed. Only bad answers are drawn one by one (a Poisson stream an arm and SLI, thinned to the
rate of the moment, each a function of the seed and the time alone); good ones between them are counted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CHUNK = 256  # bad answers expected in one piece of a stream

TAILS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "heavy": lambda draw, users: draw.lognormal(
        0.0, 1.5, users
    ),  # the busiest 1 % of 20,000 users send a fifth of the requests
    "very heavy": lambda _draw, users: (
        np.arange(1, users + 1, dtype=np.float64) ** np.float64(-1.1)
    ),  # the busiest of 2,000 users sends every sixth
}


@dataclass(frozen=True)
class Rate:
    """The chance that an answer is bad, at a time (seconds since the rollout began); `peak` is never passed."""

    peak: float
    at: Callable[[Floats], Floats]

    def mean(self, start: float, end: float) -> float:
        return float(self.at(np.array([(start + end) / 2]))[0])


def flat(rate: float) -> Rate:
    return Rate(rate, lambda t: np.full(t.shape, rate))


def late(rate: float, before: float, onset: float) -> Rate:
    """`before`, and from `onset` on `rate`."""
    return Rate(max(rate, before), lambda t: np.where(t < onset, before, rate))


def drifting(first: float, last: float, until: float) -> Rate:
    """From `first` to `last`, in a straight line, at `until` seconds."""
    return Rate(max(first, last), lambda t: first + (last - first) * np.clip(t / until, 0, 1))


def hit(usual: float, incident: float, start: float, end: float) -> Rate:
    """`usual`, and `incident` from `start` to `end`."""
    return Rate(max(usual, incident), lambda t: np.where((t >= start) & (t < end), incident, usual))


@dataclass
class Bads:
    """Bad answers in order of time: when, at which place of the hash the user stands, and who it is."""

    at: Floats
    place: Floats
    user: NDArray[np.int64]

    def between(self, start: float, end: float) -> "Bads":
        """Those in (start, end]."""
        a, b = np.searchsorted(self.at, [start, end], side="right")
        return Bads(self.at[a:b], self.place[a:b], self.user[a:b])


@dataclass
class World:
    """Who asks and how the two versions answer: `champion` and `canary` hold a rate for each SLI, by its name."""

    champion: dict[str, Rate]
    canary: dict[str, Rate]
    rate: float = 10.0
    users: int = 20_000
    tail: str = "heavy"
    seed: int = 0
    _pieces: dict[tuple[str, str, int], Bads] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        draw = np.random.default_rng((self.seed, 1))
        place = draw.random(self.users)
        order = np.argsort(place)
        requests = TAILS[self.tail](draw, self.users)[order]
        self.place, self.user = place[order], order
        self.cumulated = np.cumsum(requests) / requests.sum()
        self.draw = np.random.default_rng((self.seed, 2))

    def share(self, low: float, high: float) -> float:
        """Share of the requests that users between two places of the hash send."""
        a, b = np.searchsorted(self.place, [low, high])
        return float((self.cumulated[b - 1] if b else 0.0) - (self.cumulated[a - 1] if a else 0.0))

    def bads(self, arm: str, sli: str, start: float, end: float) -> Bads:
        """The answers of `arm` that are bad in (start, end] if it is asked: each user's own requests, whoever answers them."""
        peak = (self.canary if arm == "canary" else self.champion)[sli].peak * self.rate
        if peak == 0 or end <= start:
            return Bads(np.empty(0), np.empty(0), np.empty(0, np.int64))
        length = CHUNK / peak
        pieces = [self._piece(arm, sli, k, length) for k in range(int(start / length), int(end / length) + 1)]
        found = [piece.between(start, end) for piece in pieces]
        if len(found) == 1:
            return found[0]
        return Bads(*(np.concatenate([getattr(each, name) for each in found]) for name in ("at", "place", "user")))

    def requests(self, start: float, end: float, share: float, rate: float = 0.0) -> int:
        """How many requests a `share` of the traffic sends that are not bad at `rate`."""
        return int(self.draw.poisson(max(0.0, self.rate * share * (end - start) * (1 - rate))))

    def _piece(self, arm: str, sli: str, k: int, length: float) -> Bads:
        key = (arm, sli, k)
        if key not in self._pieces:
            self._pieces = {old: piece for old, piece in self._pieces.items() if old[2] >= k - 2 or old[:2] != key[:2]}
            rate = (self.canary if arm == "canary" else self.champion)[sli]
            draw = np.random.default_rng((self.seed, 3, arm == "canary", *sli.encode(), k))
            n = int(draw.poisson(CHUNK))
            at = np.sort(draw.random(n)) * length + k * length
            who = np.searchsorted(self.cumulated, draw.random(n), side="right")
            kept = draw.random(n) * rate.peak < rate.at(at)
            who = np.minimum(who[kept], self.users - 1)
            self._pieces[key] = Bads(at[kept], self.place[who], self.user[who])
        return self._pieces[key]


def wald(rate: float, champion: float, alpha: float) -> float:
    """Bad answers of a canary that any test of error `alpha` must see on average, the champion's rate being known to it.

    Wald 1945: ln(1/alpha) / KL(canary || champion) answers, of which `rate` are bad.
    """
    divergence = rate * math.log(rate / champion) + (1 - rate) * math.log((1 - rate) / (1 - champion))
    return rate * math.log(1 / alpha) / divergence


def information_limit(rate: float, bound: float, error: float) -> float:
    """Answers that any test of `error` needs on average to exclude `bound` for a canary of `rate`."""
    divergence = rate * math.log(rate / bound) + (1 - rate) * math.log((1 - rate) / (1 - bound))
    return math.log(1 / error) / divergence
