"""Bad answers met, by rule and by how bad the canary is: .seqline/bench/rollout.svg."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tests.benchmarks.rollout.clock import CLASSIC, Ended
from tests.benchmarks.rollout.scenarios import BASE, Scenario
from tests.benchmarks.rollout.traffic import wald

LEAST = 0.05  # what "none" is drawn as, on a logarithmic scale


def draw(cells: Mapping[tuple[str, str, float], Sequence[Ended]], shown: Sequence[Scenario], rate: float) -> None:
    """Draw one group of bars a canary and one bar a rule, with Wald's bound across the group."""
    rules = list(dict.fromkeys(rule for rule, *_ in cells))
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(rules)
    for i, rule in enumerate(rules):
        runs = [cells[rule, scenario.name, rate] for scenario in shown]
        means = [max(LEAST, sum(e.bad for e in each) / len(each)) for each in runs]
        axes.bar([x + i * width for x in range(len(shown))], means, width, label=rule)
    for x, scenario in enumerate(shown):
        bound = wald(scenario.canary(rate).peak, BASE, CLASSIC.alpha)
        axes.hlines(bound, x - width, x + 0.8, colors="black", linestyles="dashed", label="Wald's bound" if x == 0 else "")
    axes.set_yscale("log")
    axes.set_xticks([x + 0.4 for x in range(len(shown))], [scenario.name for scenario in shown])
    axes.set_ylabel("bad answers that users met")
    axes.set_title(f"Until the rollback, or for as long as the rule watched ({rate:g} requests a second)")
    axes.legend(fontsize=8, ncols=2)
    out = Path(".seqline/bench/rollout.svg")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
