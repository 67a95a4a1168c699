"""`make bench-judge`: what the corrected rate of a judged model is worth, simulated with the product's own functions.

RUNS (10,000) runs a cell, LABELS (200) labels in batches of 10, looked at after each; JUDGED (10,000) outputs. Nothing here
depends on the load of the machine. "Outputs" is the rate of the judged outputs, "model" that of the model that wrote them.
"""

import bisect
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.labels.corrected import Stratum, bets
from pipelines.scoring.labels.drift import drifted
from tests.benchmarks import labelling, results
from tests.benchmarks.labelling import ALPHA, BATCH, Cell, covering, drawn, few_looks, plus_plus, simple

RUNS = int(os.environ.get("RUNS", "10000"))
GATES = max(RUNS // 2, 1)  # runs a canary
LABELS = int(os.environ.get("LABELS", "200"))
JUDGED = 10_000
CHUNK = 5_000  # runs side by side; each chunk freezes its own judge
CELLS = [Cell(*rates) for rates in itertools.product((0.01, 0.05, 0.1, 0.2, 0.3), (0.0, 0.05, 0.15, 0.35), (0.5, 0.8, 0.95))]
USEFUL = (0.05, 0.8)  # a judge of at most this FPR and at least this TPR: the bar on labels is read there
SHARP, FAIR = (0.02, 0.9), (0.05, 0.8)  # FPR, TPR of the judges of the gates
BUDGETS = (0.02, 0.05, 0.1, 0.2)
TIMES = (0.1, 0.25, 0.5, 1.0, 1.1, 2.0)  # the canary's rate over its budget
COVERED, SAVED, WRONG, MISSED = 0.945, 1.4, 0.05, 0.01  # the bars of issue 7


@dataclass
class Found:
    """Shares of runs that covered at every look, mean widths at the last look, and the mean squared error there."""

    outputs: float
    model: float
    width: float
    model_width: float
    error: float

    def saved(self, cell: Cell) -> float:
        """Labels of simple sampling with the same error, over ours."""
        return cell.prevalence * (1 - cell.prevalence) / LABELS / self.error


@dataclass
class Compared:
    """A cell: ours, `peer`, `raw`, and how many times fewer labels than simple sampling, for the same RMSE and width."""

    ours: Found
    peer: tuple[float, float, float]
    raw: float
    saved: float
    narrow: float


def found(cell: Cell, runs: int, believed: Cell | None = None) -> Found:
    """`believed`: the judge as it was when frozen, where it has drifted since."""
    parts = []
    for chunk in range(max(1, runs // CHUNK)):
        rng = np.random.default_rng((chunk, *_seed(cell)))
        n = min(runs, CHUNK)
        bet = bets((believed or cell).frozen(rng))
        always, outputs, model = covering(cell, bet, n, LABELS, JUDGED, rng)
        error = float(np.mean((outputs.value - outputs.truth) ** 2))
        parts.append((*always.mean(axis=1), outputs.width, model.width, error))
    return Found(*(float(each) for each in np.mean(parts, axis=0)))


def peer(cell: Cell, runs: int) -> tuple[float, float, float]:
    """Plain PPI++: share covered at every look, share at the last alone, mean width there."""
    rng = np.random.default_rng((1, *_seed(cell)))
    always = np.ones(runs, dtype=np.bool_)
    for low, high in plus_plus(cell, runs, LABELS, JUDGED, rng):
        covers = (low <= cell.prevalence) & (cell.prevalence <= high)
        always &= covers
    return float(always.mean()), float(covers.mean()), float(np.mean(high - low))


def raw(cell: Cell, runs: int) -> float:
    """Share of runs in which the judge's own rate, with Wilson's 95 % interval, covers the truth."""
    flagged = np.random.default_rng((2, *_seed(cell))).binomial(JUDGED, cell.flagged, runs)
    spread = stats.norm.ppf(1 - ALPHA / 2) ** 2 / JUDGED
    middle = (flagged / JUDGED + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (flagged / JUDGED * (1 - flagged / JUDGED) + spread / 4)) / (1 + spread)
    return float(np.mean(np.abs(middle - cell.prevalence) <= half))


def as_narrow(prevalence: float, width: float) -> float:
    """Labels that simple sampling needs for an anytime-valid interval of the same mean width, over LABELS."""

    def wider(n: int) -> bool:
        rng = np.random.default_rng(3)
        low, high = simple(np.full(1_000, float(n)), rng.binomial(n, prevalence, 1_000).astype(np.float64))
        return float(np.mean(high - low)) > width

    tried = np.unique(np.geomspace(LABELS / 4, LABELS * 16, 160).astype(int)).tolist()
    return float(tried[bisect.bisect_left(tried, True, hi=len(tried) - 1, key=lambda n: not wider(n))] / LABELS)


def coverage() -> list[results.Row]:
    """Every cell; ours beside plain PPI++ and the raw rate."""
    table = Table("prev.", "FPR", "TPR", "outputs", "model", "PPI++ all looks", "PPI++ last", "raw", "width", "model", "PPI++")
    for name in ("labels saved", "at most", "by width"):
        table.add_column(name)
    cells = {}
    for cell in CELLS:
        f, p, own = found(cell, RUNS), peer(cell, RUNS), raw(cell, RUNS)
        narrow = as_narrow(cell.prevalence, f.width)
        cells[cell] = Compared(f, p, own, f.saved(cell), narrow)
        shares = [f"{each:.1%}" for each in (f.outputs, f.model, p[0], p[1], own)]
        widths = [f"{each:.3f}" for each in (f.width, f.model_width, p[2])]
        rates = [f"{each:g}" for each in (cell.prevalence, cell.fpr, cell.tpr)]
        table.add_row(*rates, *shares, *widths, f"{f.saved(cell):.2f}", f"{cell.most_saved():.2f}", f"{narrow:.2f}")
    Console(width=180).print(table)
    return [*_covered([*cells.values()]), *_saved(cells)]


def _covered(cells: list[Compared]) -> list[results.Row]:
    wide = [each.ours.width / each.peer[2] for each in cells]
    own = [each.raw for each in cells]
    median = f"width, median of {len(cells)} cells, over plain PPI++'s (labels {LABELS}, one look)"
    return [
        _least(f"outputs: covered at every look, least of {len(cells)} cells", (each.ours.outputs for each in cells), COVERED),
        _least("model: the same", (each.ours.model for each in cells), COVERED),
        _least("plain PPI++: covered at every look, least", (each.peer[0] for each in cells), None),
        _least("plain PPI++: covered at the last look, least", (each.peer[1] for each in cells), None),
        results.bounded("the judge's own rate: covered, mean", float(np.mean(own)), "share", None, RUNS, own),
        results.bounded(median, float(np.median(wide)), "times", None, RUNS, wide),
    ]


def _saved(cells: dict[Cell, Compared]) -> list[results.Row]:
    good = {cell: each for cell, each in cells.items() if cell.fpr <= USEFUL[0] and cell.tpr >= USEFUL[1]}
    able = [each.saved for cell, each in cells.items() if cell.most_saved() >= SAVED]
    common = [each.narrow for cell, each in good.items() if cell.prevalence >= 0.05]
    judge = "FPR <= 5 %, TPR >= 80 %"
    return [
        _least(f"labels saved at the same RMSE, {judge}, least", (each.saved for each in good.values()), SAVED, "times"),
        _least(f"the same, all {len(able)} cells where {SAVED} is possible, least", able, SAVED, "times"),
        _least("the same, all cells, least", (each.saved for each in cells.values()), None, "times"),
        _least(f"labels saved at the same width, {judge}, prevalence >= 5 %, least", common, SAVED, "times"),
        _least(f"the same, {judge}, least", (each.narrow for each in good.values()), None, "times"),
    ]


def lies() -> list[results.Row]:
    """A judge that was frozen as a better one than it is; and a small batch of outputs labelled without replacement."""
    sharp = [Cell(rate, 0.02, 0.95) for rate in (0.01, 0.1, 0.3)]
    drifts = [(Cell(cell.prevalence, 0.35, 0.5), cell) for cell in sharp]
    told = [found(now, RUNS, before) for now, before in drifts]
    rows = [_least("covered, the judge drifted from 95/2 % to 50/35 %", [min(f.outputs, f.model) for f in told], COVERED)]
    honest = [found(now, CHUNK).width for now, _ in drifts]
    dearer = [f.width / width for f, width in zip(told, honest, strict=True)]
    rows.append(results.bounded("width after that drift over width without", max(dearer), "times", None, len(told), dearer))
    shares = []
    for cell in (Cell(rate, fpr, tpr) for rate in (0.01, 0.1, 0.3) for fpr, tpr in (FAIR, (0.35, 0.5))):
        rng = np.random.default_rng((4, *_seed(cell)))
        always = np.ones(RUNS, dtype=np.bool_)
        for look in few_looks(cell, bets(cell.frozen(rng)), RUNS, LABELS, 600, rng):
            always &= look.covers
        shares.append(float(always.mean()))
    return [*rows, _least("covered, 600 outputs labelled without replacement", shares, COVERED)]


def gates() -> list[results.Row]:
    """Let in when the rate is within the budget, send back when over, at the first look that tells."""
    table = Table("judge FPR/TPR", "budget", *(f"{times:g}x: in / out / neither" for times in TIMES), "fixed-n labels, 1x v 2x")
    wrong, good, missed, rows = [], [], [], []
    for (fpr, tpr), budget in itertools.product((SHARP, FAIR), BUDGETS):
        ended = {times: gate(Cell(times * budget, fpr, tpr), budget) for times in TIMES}
        wrong += [ended[1.0][0], ended[1.1][0]]
        good.append(ended[1.0][1])
        missed.append(ended[2.0][0])
        least = _fixed(Cell(budget, fpr, tpr), Cell(2 * budget, fpr, tpr), budget)
        shown = [f"{a:.2%} / {b:.2%} / {1 - a - b:.1%}" for a, b in ended.values()]
        table.add_row(f"{fpr:g} / {tpr:g}", f"{budget:.0%}", *shown, f"{least:.0f}")
        name = f"judge {fpr:.0%}/{tpr:.0%}, budget {budget:.0%}"
        rows.append(
            results.at_least(f"twice the budget sent back by {LABELS} labels, {name}", ended[2.0][1], "share", 0.99, GATES)
        )
        rows.append(results.at_least(f"a quarter of the budget let in, {name}", ended[0.25][0], "share", None, GATES))
    Console(width=180).print(table)
    return [
        results.bounded("let in at the budget or 10 % over it, most", max(wrong), "share", WRONG, GATES, wrong),
        results.bounded("let in at twice the budget, most", max(missed), "share", MISSED, GATES, missed),
        results.bounded("sent back at exactly the budget, most", max(good), "share", WRONG, GATES, good),
        *rows,
    ]


def gate(cell: Cell, budget: float) -> tuple[float, float]:
    """Shares of canaries let in and sent back within LABELS labels; the other looks are inconclusive to the last."""
    said = []
    for chunk in range(max(1, GATES // CHUNK)):
        rng = np.random.default_rng((5, chunk, *_seed(cell)))
        said.append(labelling.gates(cell, cell.frozen(rng), budget, min(GATES, CHUNK), LABELS, JUDGED, rng))
    return float(np.mean(np.concatenate(said) > 0)), float(np.mean(np.concatenate(said) < 0))


def drift_check() -> list[results.Row]:
    """Fresh labels of the frozen judge, and of one that changed: said to have changed at any look."""
    before = Cell(0.1, 0.05, 0.8)
    rows = []
    for claim, now, labels, goal in (
        ("unchanged judge called changed, 300 labels", before, 300, ALPHA),
        ("the same at other prevalence, 30 %", Cell(0.3, 0.05, 0.8), 300, ALPHA),
        ("FPR 5 -> 20 % found by 300 labels", Cell(0.1, 0.2, 0.8), 300, None),
        ("FPR 5 -> 35 % found by 300 labels", Cell(0.1, 0.35, 0.8), 300, None),
        ("TPR 80 -> 40 % found by 300 labels", Cell(0.1, 0.05, 0.4), 300, None),
        ("TPR 80 -> 40 % found by 1,000 labels", Cell(0.1, 0.05, 0.4), 1000, None),
    ):
        rng = np.random.default_rng(6)
        said = [_changed(before.frozen(rng), now, labels, rng) for _ in range(max(20, RUNS // 50))]
        rows.append(results.bounded(claim, float(np.mean(said)), "share", goal, len(said)))
    return rows


def _changed(frozen: Frozen, cell: Cell, labels: int, rng: np.random.Generator) -> bool:
    flagged: NDArray[np.int64] = rng.binomial(JUDGED, cell.flagged, 1)
    for look, s in enumerate(drawn(cell, flagged / JUDGED, labels, rng)):
        if (look + 1) % (50 // BATCH):  # a verdict after every 50 labels
            continue
        n = [int(each[0]) for each in (s.flagged, s.flagged_bad, s.passed, s.passed_bad)]
        sides = Stratum(int(flagged[0]), n[0], n[1]), Stratum(JUDGED - int(flagged[0]), n[2], n[3])
        if drifted(frozen, *sides).verdict == "changed":
            return True
    return False


def _fixed(good: Cell, bad: Cell, budget: float) -> float:
    """Labels of one test, looked at once, that lets in 5 % at `budget` and misses 1 % at twice: no rule needs fewer."""
    power = stats.norm.ppf(1 - WRONG) * good.deviation() + stats.norm.ppf(1 - MISSED) * bad.deviation()
    return float((power / budget) ** 2)


def _least(claim: str, values: Iterable[float], goal: float | None, unit: str = "share") -> results.Row:
    values = [*values]
    row = results.at_least(claim, min(values), unit, goal, RUNS)
    return {**row, "spread": [round(min(values), 4), round(max(values), 4)]}


def _seed(cell: Cell) -> tuple[int, int, int]:
    return round(cell.prevalence * 10_000), round(cell.fpr * 10_000), round(cell.tpr * 10_000)


def main() -> None:
    rows = [*coverage(), *lies(), *gates(), *drift_check()]
    results.write(
        "judge", rows, f"{RUNS} runs a cell, {GATES} a canary, {LABELS} labels in batches of {BATCH}, {JUDGED} outputs judged"
    )


if __name__ == "__main__":
    main()
