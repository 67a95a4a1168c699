"""`make prove-rollout`: ROLLOUTS (10,000) good canaries, journals with gaps, and the mutants of the code that decides and acts.

About half an hour of a core, the mutants ten minutes of it. Good canaries are those of the table's scenarios, a third each
without shadow, with shadow, and mirrored throughout, at 10 requests a second.
"""

import os

from pipelines.rollout.policy import Phase, traffic
from tests.benchmarks import results
from tests.benchmarks.rollout import mutants, scenarios
from tests.benchmarks.rollout.clock import CLASSIC, MIRRORED, SHADOW, Clock, Ended
from tests.benchmarks.rollout.peers import ENOUGH

ROLLOUTS = int(os.environ.get("ROLLOUTS", "10000"))
RATE = 10.0
POLICIES = (CLASSIC, SHADOW, MIRRORED)


def good() -> dict[str, list[Ended]]:
    """Good canaries by scenario."""
    each = max(1, ROLLOUTS // (len(scenarios.FINE) * len(POLICIES)))
    return {
        scenario.name: [
            run for i, policy in enumerate(POLICIES) for run in scenarios.ours(scenario, RATE, policy, each, first=i * each)
        ]
        for scenario in scenarios.FINE
    }


def gaps(runs: int) -> tuple[int, int]:
    """Journals that are silent for five of every fifteen minutes: how often a weight rose on old news, how many ended wrong."""
    rose = wrong = 0
    silent = [(600.0 + k * 900.0, 900.0 + k * 900.0) for k in range(100)]
    for seed in range(runs):
        for scenario in (scenarios.GOOD, scenarios.BROKEN[0.05]):
            policy = POLICIES[seed % 3]
            clock = Clock(scenario.world(RATE, seed), policy, scenarios.HOURS, silent)
            while clock.now < clock.longest and clock.state.phase not in (Phase.PROMOTED, Phase.ROLLED_BACK):
                weight, last = traffic(clock.state, policy)[0], clock.state.evidence.last or 0.0
                clock.tick()
                last = max(last, clock.state.evidence.last or 0.0)
                rose += traffic(clock.state, policy)[0] > weight and clock.now - last > 30
            wrong += (clock.state.phase is Phase.ROLLED_BACK) != scenario.worse
    return rose, wrong


def main() -> None:
    rows = []
    alive = mutants.survivors()  # first: a mutant whose text is gone costs no more than these minutes
    found = good()
    every = [run for runs in found.values() for run in runs]
    for name, runs in {"all": every, **found}.items():
        back = sum(run.rolled_back for run in runs) / len(runs)
        rows.append(results.bounded(f"rolled back though good: {name}", back, "share", 0.01, len(runs)))
        let_in = sum(run.promoted for run in runs) / len(runs)
        rows.append(results.at_least(f"let in: {name}", let_in, "share", 0.95, len(runs)))
    blind = sum(run.promoted and run.served < ENOUGH for run in every)
    rows.append(results.bounded("let in blind", blind, "rollouts", 0, len(every)))
    rose, wrong = gaps(max(10, ROLLOUTS // 100))
    rows.append(results.bounded("weight rose on old news, journal with gaps", rose, "times", 0, max(10, ROLLOUTS // 100) * 2))
    rows.append(results.bounded("ended wrong, journal with gaps", wrong, "rollouts", None, max(10, ROLLOUTS // 100) * 2))
    rows.append(results.bounded("mutants that no test caught", len(alive), "mutants", 0, len(mutants.MUTANTS)))
    results.write("rollout_proof", rows, *(f"survived: {name}" for name in alive))


if __name__ == "__main__":
    main()
