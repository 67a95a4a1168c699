"""`make bench-rollout`: what users meet of a bad canary, and what becomes of good ones, under our rule and under others.

RUNS (100) rollouts a cell; the longest cells, of a canary just twice as bad as its SLO, take 40. Everything is virtual: no
cell depends on the load of the machine. The long proof of false rollbacks is `make prove-rollout`.
"""

import os
import statistics
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from pipelines.rollout.policy import Policy
from tests.benchmarks import results
from tests.benchmarks.rollout import picture, quality, scenarios
from tests.benchmarks.rollout.clock import CLASSIC, MIRRORED, SHADOW, Ended, with_slis
from tests.benchmarks.rollout.peers import ENOUGH, PEERS
from tests.benchmarks.rollout.scenarios import BASE, BROKEN, Scenario
from tests.benchmarks.rollout.traffic import information_limit, wald

RUNS = int(os.environ.get("RUNS", "100"))
RATES = (1.0, 10.0, 100.0)
BARS = {0.5: 3.0, 0.05: 3.0, 0.01: 6.0, 0.002: 60.0}  # bad answers that users met, at 10 and 100 requests a second
SIX = 1.45  # times these with six SLIs
RULES: dict[str, Policy] = {"ours": CLASSIC, "ours, shadow first": SHADOW, "ours, mirrored": MIRRORED}

Cells = dict[tuple[str, str, float], list[Ended]]


def tried(shown: Iterable[Scenario], rates: Iterable[float]) -> Cells:
    """Every rule on every scenario and rate."""
    cells: Cells = {}
    for scenario in shown:
        for rate in rates:
            for name, policy in RULES.items():
                cells[name, scenario.name, rate] = scenarios.ours(scenario, rate, policy, runs_of(scenario, name, rate))
            for name, found in scenarios.theirs(PEERS, scenario, rate, min(RUNS, 30)).items():
                cells[name, scenario.name, rate] = found
    return cells


def runs_of(scenario: Scenario, rule: str, rate: float) -> int:
    """Few where a rollout is long and no bar hangs on it."""
    long = not scenario.worse or scenario is BROKEN[0.002] or scenario in (scenarios.LATE, scenarios.DRIFT)
    barred = rate != RATES[0] and (rule, scenario) in (("ours", BROKEN[0.002]), ("ours, mirrored", scenarios.GOOD))
    return RUNS if barred or not long else max(RUNS // 5, 5)


def mean_bad(runs: list[Ended]) -> float:
    """Bad answers met before the rollback, on average over those that were rolled back."""
    return statistics.mean([run.bad for run in runs if run.rolled_back] or [float("nan")])


def missed(runs: list[Ended]) -> float:
    return sum(not run.rolled_back for run in runs) / len(runs)


def bars(cells: Cells) -> list[results.Row]:
    rows = []
    for share, goal in BARS.items():
        bound = wald(share, BASE, CLASSIC.alpha)
        for rate in RATES:
            found = cells["ours", BROKEN[share].name, rate]
            claim = f"bad answers met, canary {share:.1%} bad, {rate:g}/s"
            more = {"wald": round(bound, 2), "missed": missed(found), "over_wald": round(mean_bad(found) / bound, 2)}
            bar = goal if rate != RATES[0] else None
            rows.append(results.bounded(claim, mean_bad(found), "answers", bar, len(found), [e.bad for e in found], **more))
    for share in (0.5, 0.05, 0.01):
        for rate in RATES[1:]:
            found = cells["ours, shadow first", BROKEN[share].name, rate]
            claim = f"the same with shadow first, {share:.0%} bad, {rate:g}/s"
            rows.append(results.bounded(claim, mean_bad(found), "answers", 0.0, len(found), [e.bad for e in found]))
    return rows


def six_slis() -> list[results.Row]:
    rows = []
    for share, goal in BARS.items():
        found = scenarios.ours(BROKEN[share], RATES[1], with_slis(CLASSIC, 6), RUNS if share > 0.01 else max(RUNS // 5, 5))
        claim = f"six SLIs, canary {share:.1%} bad in one, {RATES[1]:g}/s"
        bad = [e.bad for e in found]
        rows.append(
            results.bounded(claim, mean_bad(found), "answers", round(SIX * goal, 2), len(found), bad, missed=missed(found))
        )
    return rows


def against(cells: Cells) -> list[results.Row]:
    """Ours beside each peer: `ratio` says how many times more bad answers the peer serves where it rolls back at all."""
    rows = []
    for scenario in BROKEN.values():
        ours = mean_bad(cells["ours", scenario.name, RATES[1]])
        for name in PEERS:
            found = cells[name, scenario.name, RATES[1]]
            claim = f"canary {scenario.name}, {RATES[1]:g}/s, where {name} misses {missed(found):.0%}"
            row = results.bounded(claim, ours, "answers", None, len(found))
            if missed(found) < 1:
                peer = round(mean_bad(found), 2)
                row |= {"peer": peer, "peer_name": name, "ratio": round(peer / ours, 2)}
            rows.append(row)
    return rows


def fine(cells: Cells, shown: Iterable[Scenario]) -> list[results.Row]:
    """Good canaries: let in, not rolled back, never blind."""
    rows = []
    for scenario in shown:
        found = [e for rate in RATES for rule in RULES for e in cells[rule, scenario.name, rate]]
        rows.append(results.bounded(f"rolled back: {scenario.name}", 1 - missed(found), "share", 0.01, len(found)))
    let_in = [e for rule in RULES for rate in RATES for e in cells[rule, scenarios.WORSE.name, rate]]
    rows.append(
        results.at_least(
            "let in: " + scenarios.WORSE.name, sum(e.promoted for e in let_in) / len(let_in), "share", 0.95, len(let_in)
        )
    )
    blind = sum(e.promoted and e.served < ENOUGH for (rule, *_), runs in cells.items() if rule in RULES for e in runs)
    rows.append(results.bounded("blind promotions", blind, "rollouts", 0, sum(map(len, cells.values()))))
    answers = information_limit(BASE, 2 * BASE, 1 - MIRRORED.confidence)
    for rate in RATES[1:]:
        minutes = [e.seconds / 60 for e in cells["ours, mirrored", scenarios.GOOD.name, rate] if e.promoted]
        goal = max(10.0, 2 * answers / rate / 60)
        p90 = round(sorted(minutes)[int(0.9 * len(minutes))], 1)
        claim = f"minutes to 100 %, mirrored, {rate:g}/s, median (p90 {p90}; limit {answers / rate / 60:.1f})"
        rows.append(results.bounded(claim, statistics.median(minutes), "min", round(goal, 1), len(minutes), minutes))
    return rows


def starved() -> Cells:
    """A canary that fails every second request, with a request every two minutes, and with none."""
    cells: Cells = {}
    bad = BROKEN[0.5]
    for rate, what in ((scenarios.TRICKLE, "trickle"), (1e-9, "no traffic")):
        for name, policy in RULES.items():
            cells[name, what, rate] = scenarios.ours(bad, rate, policy, 20)
        for name, found in scenarios.theirs(PEERS, bad, rate, 20).items():
            cells[name, what, rate] = found
    return cells


def show(cells: Cells) -> None:
    """One line a scenario and rate, one column a rule: bad answers met and what became of the canaries."""
    console = Console(width=200)
    rules = [*RULES, *PEERS]
    table = Table("canary", "req/s", *rules, title="bad answers met (rolled back / let in, %)")
    for scenario, rate in dict.fromkeys((scenario, rate) for _, scenario, rate in cells):
        row = [scenario, f"{rate:.2g}"]
        for rule in rules:
            runs = cells[rule, scenario, rate]
            back, let_in = (sum(getattr(e, what) for e in runs) / len(runs) for what in ("rolled_back", "promoted"))
            row.append(f"{statistics.mean(e.bad for e in runs):.4g} ({back:.0%}/{let_in:.0%})")
        table.add_row(*row)
    console.print(table)


def main() -> None:
    worse = [*BROKEN.values(), scenarios.LATE, scenarios.DRIFT]
    cells = tried([*worse, *scenarios.FINE], RATES)
    rows = bars(cells) + six_slis() + quality.rows() + fine(cells, scenarios.FINE) + against(cells)
    hungry = starved()
    show(cells | hungry)
    picture.draw(cells, list(BROKEN.values()), RATES[1])
    blind = sum(e.promoted for (rule, *_), runs in hungry.items() if rule in RULES for e in runs)
    rows.append(results.bounded("let in on a trickle, or on no traffic", blind, "rollouts", 0, 20 * 2 * len(RULES)))
    bounds = ", ".join(f"{share:.1%} {wald(share, BASE, CLASSIC.alpha):.2f}" for share in BARS)
    results.write(
        "rollout",
        rows,
        "champion at its SLO of 99.9 %; users lognormal (sigma 1.5), split by hash; tick 2 s, poll 0.2 s; alpha 1 %, 95 %",
        f"Wald's bound, bad answers by the canary's rate, the champion's known: {bounds}",
    )


if __name__ == "__main__":
    main()
