"""What others do, as their documentation says it, on the same users and the same bad answers.

Assumed, where the documents leave it open: a metric is computed over the window before the look, from counts without loss;
0/0 (no traffic) is not a number, which fails Argo's `result >= x` and is Flagger's failed check "no values found". Read:
- Argo Rollouts 1.10, docs/features/analysis.md, "Background Analysis": 20/40/60/80 % for 10 minutes each; the analysis begins
  at 40 % (`startingStep: 2`), every 5 minutes, `result >= 0.95`, and three failed measurements abort.
- Flagger, docs "Istio Canary Deployments": interval 1m, stepWeight 10, maxWeight 50, `request-success-rate` min 99 over 1m,
  threshold 5 (the rollback comes at the tick after the fifth failed check; pkg/controller/scheduler.go).
- Kayenta as Argo's docs use it: an experiment of 1 h with a baseline of the same size, then one Mann-Whitney test on the series
  by minute (98 %, NetflixACAJudge); here 1 % and 1 % of the users, then 100 %. Without data the judge fails the canary.
- "burn > 4x": a seed rule of burn-rate alerts, used as a rollback: our stages, 10 minutes each, a look every 5 minutes.
"Tuned": our stages 1/5/25/50 %, 10 minutes (Flagger: one check) each, success of at least 1 - 4 x (1 - SLO), a look a minute
over the last 5 minutes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy import stats

from pipelines.rollout.policy import Phase
from tests.benchmarks.rollout.clock import Ended
from tests.benchmarks.rollout.traffic import World

SLI = "availability"
ENOUGH = 50  # canary answers below which letting it in is blind
OURS = (1.0, 5.0, 25.0, 50.0)


@dataclass
class Tally:
    """A canary under one rule: what its users met so far, and minute by minute."""

    world: World
    now: float = 0.0
    served: int = 0
    bad: int = 0

    def serve(self, seconds: float, weight: float) -> tuple[int, int]:
        """Let time pass at `weight` percent; return the canary's answers and its bad ones."""
        n, bad = counts(self.world, "canary", self.now, self.now + seconds, 0.0, weight / 100)
        self.now, self.served, self.bad = self.now + seconds, self.served + n, self.bad + bad
        return n, bad

    def end(self, phase: Phase, weight: float) -> Ended:
        return Ended(phase, self.now, self.served, self.bad, 0, weight)


def counts(world: World, arm: str, start: float, end: float, low: float, high: float) -> tuple[int, int]:
    """Answers and bad answers of `arm` to the users between two places of the hash."""
    place = world.bads(arm, SLI, start, end).place
    bad = int(((place >= low) & (place < high)).sum())
    rate = (world.canary if arm == "canary" else world.champion)[SLI].mean(start, end)
    return world.requests(start, end, world.share(low, high), rate) + bad, bad


def success(window: list[tuple[int, int]]) -> float:
    """Share of good answers in the looks of a window; not a number without an answer."""
    n, bad = sum(each[0] for each in window), sum(each[1] for each in window)
    return 1 - bad / n if n else math.nan


def argo(world: World) -> Ended:
    """Argo Rollouts' documented background analysis."""
    return _argo(world, (20.0, 40.0, 60.0, 80.0), first=1, least=0.95, every=300.0)


def argo_tuned(world: World) -> Ended:
    return _argo(world, OURS, first=0, least=0.996, every=60.0)


def _argo(world: World, weights: tuple[float, ...], first: int, least: float, every: float) -> Ended:
    tally, failed, looks = Tally(world), 0, [(0, 0)]
    for stage, weight in enumerate(weights):
        for _ in range(int(600 / every)):
            if stage >= first and not (stage == first == 0 and len(looks) == 1):  # a new canary has no answer to look at yet
                failed += not success(looks[-int(300 / every) :]) >= least
                if failed == 3:
                    return tally.end(Phase.ROLLED_BACK, weight)
            looks.append(tally.serve(every, weight))
    return tally.end(Phase.PROMOTED, 100.0)


def flagger(world: World) -> Ended:
    """Flagger's documented canary."""
    return _flagger(world, (10.0, 20.0, 30.0, 40.0, 50.0), least=0.99, window=1)


def flagger_tuned(world: World) -> Ended:
    return _flagger(world, OURS, least=0.996, window=5)


def _flagger(world: World, weights: tuple[float, ...], least: float, window: int) -> Ended:
    tally, failed, looks, stage = Tally(world), 0, [], 0
    while True:
        looks.append(tally.serve(60.0, weights[stage]))
        if failed == 5:
            return tally.end(Phase.ROLLED_BACK, weights[stage])
        if not success(looks[-window:]) >= least:
            failed += 1
        elif stage + 1 < len(weights):
            stage += 1
        else:
            return tally.end(Phase.PROMOTED, 100.0)


def kayenta(world: World) -> Ended:
    """An hour at 1 %, beside a baseline of 1 %, then one Mann-Whitney test."""
    tally, ours, theirs = Tally(world), [], []
    for minute in range(60):
        ours.append(tally.serve(60.0, 1.0))
        theirs.append(counts(world, "champion", minute * 60.0, (minute + 1) * 60.0, 0.01, 0.02))
    canary, baseline = ([bad / n for n, bad in series if n] for series in (ours, theirs))
    if not canary or not baseline:
        return tally.end(Phase.ROLLED_BACK, 1.0)
    worse = stats.mannwhitneyu(canary, baseline, alternative="greater").pvalue < 0.02
    return tally.end(Phase.ROLLED_BACK if worse else Phase.PROMOTED, 1.0 if worse else 100.0)


def burn(world: World) -> Ended:
    """Rolls back on a burn of more than 4 in the last 5 minutes; no traffic burns nothing."""
    tally = Tally(world)
    for weight in OURS:
        for _ in range(2):
            if success([tally.serve(300.0, weight)]) < 0.996:
                return tally.end(Phase.ROLLED_BACK, weight)
    return tally.end(Phase.PROMOTED, 100.0)


PEERS: dict[str, Callable[[World], Ended]] = {
    "Argo, documented": argo,
    "Argo, tuned": argo_tuned,
    "Flagger, documented": flagger,
    "Flagger, tuned": flagger_tuned,
    "Kayenta-like": kayenta,
    "burn > 4x": burn,
}
