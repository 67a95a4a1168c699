"""How many mirrored answers a canary with lower scores gets before it is rolled back: the real fold and decide, in shadow.

Every pair is of a user of its own; nothing but the score is wrong, so that the other SLIs' e-values only thin the mean. No
user meets any of these answers. Beside it what the best stake, had it been known, needs on average, and for how many pairs
Hoeffding's fixed test of the same error would wait (with the drop known, looked at once).
"""

import math
import os
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipelines import spec
from pipelines.rollout import evidence as ev
from pipelines.rollout import policy as po
from pipelines.rollout.decide import decide
from pipelines.rollout.policy import Action, Observed, Policy
from pipelines.rollout.store import Event
from tests.benchmarks import results

RUNS = int(os.environ.get("RUNS", "100"))
POLICY = replace(Policy.of(spec.Slo(), spec.Rollout()), shadow_requests=1_000_000)  # shadow does not end while we look
MOST = 3_000  # pairs
ALIKE = 300

Draw = Callable[[random.Random], float]


@dataclass(frozen=True)
class Canary:
    """What is drawn as the two scores of a request."""

    name: str
    champion: Draw
    canary: Draw
    goal: float | None = None  # pairs


def steady(drop: float, goal: float | None = None) -> Canary:
    return Canary(f"{drop:g} lower, steadily", lambda _: 0.95, lambda _: 0.95 - drop, goal)


def noisy(high: tuple[float, float], low: tuple[float, float], noise: str) -> Canary:
    """Scores of a beta distribution each, independent of one another."""
    drop = high[0] / sum(high) - low[0] / sum(low)
    return Canary(
        f"{drop:.2g} lower on average, {noise}", lambda draw: draw.betavariate(*high), lambda draw: draw.betavariate(*low)
    )


# With four SLIs the bar is at e = 400. The goals: a tenth more than twice what the best stake needs.
LOWER = (
    steady(0.9), steady(0.8, 20), steady(0.5, 33), steady(0.3, 50), steady(0.1, 140),
    noisy((8, 2), (5, 5), "in noise"), noisy((1.6, 0.4), (1.0, 1.0), "in much noise"), noisy((8, 2), (7, 3), "in noise"),
)  # fmt: skip
SAME = Canary("alike, in noise", lambda draw: draw.betavariate(1.6, 0.4), lambda draw: draw.betavariate(1.6, 0.4))


def needed(canary: Canary, seed: int, most: int = MOST) -> int | None:
    """After how many pairs it is rolled back; None: not in `most`."""
    draw = random.Random(seed)
    state = po.prepared(po.start("2", "1", 0.0), POLICY)
    for n in range(1, most + 1):
        who = (f"r{n}", f"u{n}")
        one = Event(*who, "champion", "1", float(n), {"availability": True, "latency": True})
        other = replace(one, arm="canary", version="2", shadow=True)
        verdict = replace(one, kind="verdict", slis={"judge": True}, scores={"quality": canary.champion(draw)})
        second = replace(verdict, arm="canary", version="2", shadow=True, scores={"quality": canary.canary(draw)})
        state = replace(state, evidence=ev.fold(state.evidence, (one, other, verdict, second)))
        if decide(state, Observed(float(n)), POLICY).action is Action.ROLLBACK:
            return n
    return None


def best(canary: Canary, draws: int = 4_000) -> tuple[float, float]:
    """Return the pairs that the best stake needs on average, and those of Hoeffding's test; both of error alpha."""
    draw = random.Random(0)
    drops = [canary.champion(draw) - canary.canary(draw) for _ in range(draws)]
    growth = max(statistics.fmean(math.log1p(stake / 100 * drop) for drop in drops) for stake in range(1, 100))
    error = math.log(1 / POLICY.alpha)
    return error / growth, 2 * error / statistics.fmean(drops) ** 2


def rows() -> list[results.Row]:
    """How many pairs each lower canary gets, and how often one that is scored alike is rolled back."""
    found = []
    for canary in LOWER:
        runs = 1 if canary.goal or "steadily" in canary.name else max(5, RUNS // 4)
        pairs = [needed(canary, seed) for seed in range(runs)]
        counted = [n for n in pairs if n is not None]
        stake, hoeffding = (round(each, 1) for each in best(canary))
        claim = f"mirrored answers, score {canary.name} (best stake {stake:g}; Hoeffding {hoeffding:g})"
        missed = (runs - len(counted)) / runs
        mean = statistics.fmean(counted or [math.nan])
        found.append(results.bounded(claim, mean, "pairs", canary.goal, runs, counted, missed=missed, best=stake))
    back = sum(needed(SAME, seed, ALIKE) is not None for seed in range(4 * RUNS)) / (4 * RUNS)
    found.append(results.bounded(f"rolled back: scored {SAME.name}, {ALIKE} pairs", back, "share", 0.01, 4 * RUNS))
    return found


if __name__ == "__main__":
    results.write("rollout_quality", rows(), f"{len(POLICY.slis)} SLIs, their e-values averaged; alpha {POLICY.alpha:.0%}")
