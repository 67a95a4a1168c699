"""`make bench-probation`: what users meet of a version that turns bad two hours after it was let in, on the virtual clock.

RUNS (20) rollouts a cell: the real fold and decide, from the first stage on; no cell depends on the load of the machine. A
version is set back to the first stage by a test of its own answers, and rolled back there by comparison with the champion.
"""

import math
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipelines.rollout import watch
from pipelines.rollout.decide import decide, step
from pipelines.rollout.policy import TERMINAL, Action, Observed, Phase, traffic
from tests.benchmarks import results
from tests.benchmarks.rollout.clock import CLASSIC, POLL, TICK, Clock
from tests.benchmarks.rollout.scenarios import BASE
from tests.benchmarks.rollout.traffic import Floats, Rate, World, flat, hit, late

RUNS = int(os.environ.get("RUNS", "20"))
HOUR = 3_600.0
DAY = 24 * HOUR
POLICY = replace(CLASSIC, probation_seconds=DAY)
USERS = 20_000
SHARES = (0.5, 0.05, 0.01)


@dataclass
class Watched(Clock):
    """A rollout with a probation. `begun`: when it began; `hurt`: times of the canary's bad answers to users since then."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.begun = math.inf
        self.hurt: list[float] = []

    def tick(self) -> None:
        weight, _ = traffic(self.state, self.policy)
        w, end = weight / 100, self.now + self.look
        bad = self.live(self.now, end, w)
        if bad:
            end = min(end, math.ceil(min(each.at for each in bad) / TICK) * TICK)
            bad = [each for each in bad if each.at <= end]
        if self.begun < math.inf:
            self.hurt += [each.at for each in bad]
        before = self.state.evidence.slis["availability"].canary
        found = self.folded(self.now, end, w, shadow=False)
        seen = found.slis["availability"].canary
        watched = {
            name: replace(each, good=each.good + seen.n - before.n - len(bad)) for name, each in self.state.watched.items()
        }
        watched, users = watch.fold(watched, bad, "2", found.entered, found.users)
        self.state, self.now = replace(self.state, watched=watched, evidence=replace(found, users=users)), end
        self._judge(weight)

    def _judge(self, weight: float) -> None:
        decision = decide(self.state, Observed(self.now), self.policy)
        self.state = step(self.state, decision, self.now, self.policy)
        if decision.action is Action.HOLD:
            return
        self.actions.append((self.now, decision.action))
        if decision.action in (Action.SET_BACK, Action.ROLLBACK):  # the gateways hear of it a poll later
            self.hurt += [each.at for each in self.live(self.now, self.now + POLL, weight / 100)]
        if decision.action is Action.SET_BACK:  # and draw the users anew
            self.world = replace(self.world, seed=self.world.seed + 100_000, _pieces={})

    def after(self, action: Action) -> float | None:
        """When it was first decided so in the probation, None if never."""
        return next((at for at, done in self.actions if done is action and at >= self.begun), None)


def probation(canary: Rate, champion: Rate, rate: float, seed: int, longest: float) -> Watched:
    """A good version's rollout up to its probation; from there on `canary` and `champion`, whose times count from then."""
    usual = World({"availability": flat(BASE)}, {"availability": flat(BASE)}, rate, USERS, "heavy", seed)
    clock = Watched(usual, POLICY, 96 * HOUR)
    while clock.state.phase not in (Phase.PROBATION, *TERMINAL):
        clock.tick()
    clock.begun = clock.now
    arms = [{"availability": replace(each, at=_later(each, clock.begun))} for each in (champion, canary)]
    clock.world = World(arms[0], arms[1], rate, USERS, "heavy", seed + 50_000)
    while clock.now < clock.begun + longest and clock.state.phase not in TERMINAL:
        clock.tick()
    return clock


def _later(rate: Rate, start: float) -> Callable[[Floats], Floats]:
    return lambda t: rate.at(t - start)


def turned_bad(share: float, rate: float) -> list[results.Row]:
    runs = [probation(late(share, BASE, 2 * HOUR), flat(BASE), rate, seed, 12 * HOUR) for seed in range(RUNS)]
    runs = [run for run in runs if run.begun < math.inf]
    onset = [run.begun + 2 * HOUR for run in runs]
    until = {action: [run.after(action) for run in runs] for action in (Action.SET_BACK, Action.ROLLBACK)}
    rows = []
    for action, told in (
        (Action.SET_BACK, "99 % of the users have the champion again"),
        (Action.ROLLBACK, "it is rolled back"),
    ):
        hurt = [sum(start <= at <= end + POLL for at in run.hurt)
                for run, start, end in zip(runs, onset, until[action], strict=True) if end is not None]  # fmt: skip
        waited = [end - start for start, end in zip(onset, until[action], strict=True) if end is not None]
        missed = sum(end is None for end in until[action])
        early = sum(end is not None and end < start for start, end in zip(onset, until[action], strict=True))
        claim = (
            f"turns {share:.0%} bad after 2 h, {rate:g}/s: bad answers until {told} (median {statistics.median(waited):.0f} s)"
        )
        rows.append(results.bounded(claim, statistics.mean(hurt), "answers", None, len(hurt), hurt, missed=missed, early=early))
    return rows


def shared(rate: float) -> list[results.Row]:
    """Both versions' dependency breaks for five minutes, two hours in."""
    broken = hit(BASE, 0.3, 2 * HOUR, 2 * HOUR + 300)
    runs = [probation(broken, broken, rate, seed, 6 * HOUR) for seed in range(RUNS)]
    back = sum(run.state.phase is Phase.ROLLED_BACK for run in runs) / len(runs)
    set_back = sum(run.after(Action.SET_BACK) is not None for run in runs) / len(runs)
    kept = sum(run.state.phase in (Phase.PROBATION, Phase.PROMOTED) for run in runs) / len(runs)
    return [
        results.bounded(f"an incident hits both, {rate:g}/s: rolled back", back, "share", 0.01, len(runs)),
        results.bounded(f"an incident hits both, {rate:g}/s: set back to 1 % meanwhile", set_back, "share", None, len(runs)),
        results.at_least(f"an incident hits both, {rate:g}/s: in production 4 h later", kept, "share", 0.95, len(runs)),
    ]


def good(rate: float) -> list[results.Row]:
    runs = [probation(flat(BASE), flat(BASE), rate, seed, DAY + HOUR) for seed in range(RUNS)]
    doubted = sum(run.after(Action.SET_BACK) is not None for run in runs) / len(runs)
    kept = sum(run.state.phase is Phase.PROMOTED for run in runs) / len(runs)
    return [
        results.bounded(f"a good version, {rate:g}/s: set back in 24 h", doubted, "share", 0.05, len(runs)),
        results.at_least(f"a good version, {rate:g}/s: the probation ends", kept, "share", 0.9, len(runs)),
    ]


def main() -> None:
    rows = [row for share in SHARES for rate in (10.0, 100.0) for row in turned_bad(share, rate)]
    rows += [*shared(10.0), *shared(100.0), *good(10.0)]
    results.write(
        "probation", rows, "champion at its SLO of 99.9 %; tick 2 s, poll 0.2 s; holdback 1 %; without the gateways' fuse"
    )


if __name__ == "__main__":
    main()
