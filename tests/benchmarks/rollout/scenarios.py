"""The canaries that every rule is tried on. Times scale with the traffic, so that as many requests come before an onset."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.rollout.policy import Policy
from tests.benchmarks.rollout.clock import Clock, Ended
from tests.benchmarks.rollout.traffic import Rate, World, drifting, flat, hit, late

BASE = 0.001  # the champion's bad rate: just its SLO of 99.9 %
HOURS = 96 * 3600.0  # for how long a rollout is followed

Rates = Callable[[float], Rate]  # by requests a second


@dataclass(frozen=True)
class Scenario:
    """`worse`: the canary is worse than the champion, so that it should be rolled back; else it should be let in."""

    name: str
    canary: Rates
    champion: Rates = lambda _rate: flat(BASE)
    worse: bool = False
    tail: str = "heavy"
    users: int = 20_000

    def world(self, rate: float, seed: int, slis: Sequence[str] = ("availability",)) -> World:
        """Only the first SLI is the scenario's; the others fail alike in both arms."""
        champion, canary = ({slis[0]: of(rate)} | {sli: flat(BASE) for sli in slis[1:]} for of in (self.champion, self.canary))
        return World(champion, canary, rate, self.users, self.tail, seed)


def _flat(rate: float) -> Rates:
    return lambda _rate: flat(rate)


def _incident(rate: float) -> Rate:
    """Both versions' dependency breaks for 3,000 requests, after 9,000."""
    return hit(BASE, 0.3, 9_000 / rate, 12_000 / rate)


BROKEN = {share: Scenario(f"bad {share:.1%}", _flat(share), worse=True) for share in (0.5, 0.05, 0.01, 0.002)}
LATE = Scenario("5 % bad after 6,000 requests", lambda rate: late(0.05, BASE, 6_000 / rate), worse=True)
DRIFT = Scenario("drifts to 2 % in 40,000 requests", lambda rate: drifting(BASE, 0.02, 40_000 / rate), worse=True)
GOOD = Scenario("good", _flat(BASE))
INCIDENT = Scenario("good, an incident hits both", _incident, _incident)
BETTER = Scenario("good, champion 10x better than its SLO", _flat(BASE / 10), _flat(BASE / 10))
WORSE = Scenario("good, champion 3x worse than its SLO", _flat(3 * BASE), _flat(3 * BASE))
FEW_USERS = Scenario("good, few users and one asks every sixth time", _flat(BASE), tail="very heavy", users=2_000)
FINE = (GOOD, INCIDENT, BETTER, WORSE, FEW_USERS)
TRICKLE = 1 / 120  # requests a second


def ours(scenario: Scenario, rate: float, policy: Policy, runs: int, longest: float = HOURS, first: int = 0) -> list[Ended]:
    """Rollouts of a scenario by the real decide, each on users and traffic of its own."""
    slis = [rule.name for rule in policy.slis]
    return [Clock(scenario.world(rate, seed, slis), policy, longest).run() for seed in range(first, first + runs)]


def theirs(rules: Mapping[str, Callable[[World], Ended]], scenario: Scenario, rate: float, runs: int) -> dict[str, list[Ended]]:
    """Rollouts of a scenario by each of the other rules, all on the same users and traffic."""
    worlds = [scenario.world(rate, seed) for seed in range(runs)]
    return {name: [rule(world) for world in worlds] for name, rule in rules.items()}
