"""Labelling simulated: a model and a judge of known rates, labels drawn batch by batch, looked at after every batch.

All runs of a cell go side by side through the product's own functions (`region`, `corrected`), which take arrays.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, xlog1py, xlogy

from pipelines.scoring.compare import share
from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.labels.corrected import FOR_SHARE, budget_bets, flagged_labels
from pipelines.scoring.labels.region import INFORMED, RATES, Bets, Strata, highest_rate, jeffreys, rate_bounds, share_bounds

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Draw = Callable[[int, Counts, Counts, Counts], Counts]  # stratum, labels seen, unsupported of these, labels to draw

ALPHA = 0.05
BATCH = 10
VALIDATION = (100, 300)  # labels that measured the frozen judge: unsupported, supported


@dataclass(frozen=True)
class Cell:
    """The share of unsupported outputs, and the judge's rates."""

    prevalence: float
    fpr: float
    tpr: float

    @property
    def flagged(self) -> float:
        return self.prevalence * self.tpr + (1 - self.prevalence) * self.fpr

    @property
    def chances(self) -> tuple[float, float]:
        """Of being unsupported: a flagged output, a passed one."""
        return self.prevalence * self.tpr / self.flagged, self.prevalence * (1 - self.tpr) / (1 - self.flagged)

    def deviation(self) -> float:
        """Standard deviation a label of the best stratified estimate (Neyman)."""
        p1, p0 = self.chances
        return self.flagged * math.sqrt(p1 * (1 - p1)) + (1 - self.flagged) * math.sqrt(p0 * (1 - p0))

    def most_saved(self) -> float:
        """How many times fewer labels than simple sampling any stratified estimate may need for the same error."""
        return self.prevalence * (1 - self.prevalence) / self.deviation() ** 2

    def frozen(self, rng: np.random.Generator) -> Frozen:
        """This judge, measured on VALIDATION labels."""
        found, wrong = (int(rng.binomial(n, p)) for n, p in zip(VALIDATION, (self.tpr, self.fpr), strict=True))
        return Frozen("simulated", 0.5, 0.1, share(found, VALIDATION[0]), share(wrong, VALIDATION[1]), 0.0)


@dataclass(frozen=True)
class Looked:
    """The intervals and estimates of all runs at one look, and their true rates."""

    truth: Array
    value: Array
    low: Array
    high: Array
    strata: Strata

    @property
    def covers(self) -> NDArray[np.bool_]:
        return (self.low <= self.truth) & (self.truth <= self.high)

    @property
    def width(self) -> float:
        return float(np.mean(self.high - self.low))


def looks(
    cell: Cell, bet: Bets, runs: int, labels: int, judged: int, rng: np.random.Generator
) -> Iterator[tuple[Looked, Looked]]:
    """The rate of `judged` outputs, drawn from with replacement, and that of the model that gave them, after each batch."""
    flagged = rng.binomial(judged, cell.flagged, runs) / judged
    ends = share_bounds(judged, np.round(flagged * judged), FOR_SHARE * ALPHA)
    for strata in drawn(cell, flagged, labels, rng):
        yield _both(cell, strata, marginals(bet, strata), ends)


def covering(
    cell: Cell, bet: Bets, runs: int, labels: int, judged: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Looked, Looked]:
    """Which runs of `looks` covered at every look (a row each for outputs and model), and the last look of both.

    Where the true chances lie in the region their rate lies within its bounds, so that these need not be computed.
    """
    flagged = rng.binomial(judged, cell.flagged, runs) / judged
    ends = share_bounds(judged, np.round(flagged * judged), FOR_SHARE * ALPHA)
    known = (ends[0] <= cell.flagged) & (cell.flagged <= ends[1])
    always = np.ones((2, runs), dtype=np.bool_)
    p1, p0 = cell.chances
    for s in drawn(cell, flagged, labels, rng):
        marginal = marginals(bet, s)
        true = xlogy(s.flagged_bad, p1) + xlog1py(s.flagged - s.flagged_bad, -p1)
        true += xlogy(s.passed_bad, p0) + xlog1py(s.passed - s.passed_bad, -p0)
        open_ = np.flatnonzero(~known | (true < marginal + np.log(ALPHA) + 1e-9))
        few = Strata(*(each[open_] for each in (s.share, s.flagged, s.flagged_bad, s.passed, s.passed_bad)))
        found = _both(cell, few, marginal[open_], (ends[0][open_], ends[1][open_]))
        always[:, open_] &= np.stack([each.covers for each in found])
    return always, *_both(cell, s, marginal, ends)


def marginals(bet: Bets, strata: Strata) -> Array:
    """`Bets.log_marginal`, asked once for runs with the same labels."""
    rows = np.stack([strata.flagged, strata.flagged_bad, strata.passed, strata.passed_bad], axis=-1)
    distinct, which = np.unique(rows, axis=0, return_inverse=True)
    return bet.log_marginal(Strata.of(0.5, *distinct.T))[which]


def _both(cell: Cell, strata: Strata, marginal: Array, ends: tuple[Array, Array]) -> tuple[Looked, Looked]:
    p1, p0 = cell.chances
    outputs = rate_bounds(strata, marginal, ALPHA)
    counts = (strata.flagged, strata.flagged_bad, strata.passed, strata.passed_bad)
    bounds = [rate_bounds(Strata.of(end, *counts), marginal, (1 - FOR_SHARE) * ALPHA) for end in ends]
    low, high = np.minimum(bounds[0][0], bounds[1][0]), np.maximum(bounds[0][1], bounds[1][1])
    truth = strata.share * p1 + (1 - strata.share) * p0
    return _looked(strata, truth, *outputs), _looked(strata, np.full(truth.shape, cell.prevalence), low, high)


def gates(cell: Cell, frozen: Frozen, budget: float, runs: int, labels: int, judged: int, rng: np.random.Generator) -> Array:
    """What `corrected.gated` says first of each run's canary: 1 within the budget, -1 over it, 0 nothing."""
    flagged = rng.binomial(judged, cell.flagged, runs) / judged
    ends = share_bounds(judged, np.round(flagged * judged), FOR_SHARE * ALPHA)
    below, above = budget_bets(frozen, budget)
    said, alpha = np.zeros(runs), (1 - FOR_SHARE) * ALPHA
    for s in drawn(cell, flagged, labels, rng):
        at = [Strata.of(end, s.flagged, s.flagged_bad, s.passed, s.passed_bad) for end in ends]
        high = np.maximum(*(highest_rate(each, marginals(below, s), alpha) for each in at))
        low = 1 - np.maximum(*(highest_rate(each.turned(), marginals(above, s), alpha) for each in at))
        said = np.where(said != 0, said, np.where(high < budget, 1.0, np.where(low > budget, -1.0, 0.0)))
    return said


def few_looks(cell: Cell, bet: Bets, runs: int, labels: int, judged: int, rng: np.random.Generator) -> Iterator[Looked]:
    """The rate of `judged` outputs, few beside the labels, which are drawn without replacement."""
    flagged = rng.binomial(judged, cell.flagged, runs)
    p1, p0 = cell.chances
    bad = rng.binomial(flagged, p1), rng.binomial(judged - flagged, p0)
    truth = (bad[0] + bad[1]) / judged
    sizes = flagged, judged - flagged

    def draw(side: int, seen: Counts, hits: Counts, n: Counts) -> Counts:
        left = bad[side] - hits
        return np.asarray(rng.hypergeometric(left, sizes[side] - seen - left, n))

    for strata in _drawn(flagged / judged, labels, draw, sizes):
        yield _looked(strata, truth, *rate_bounds(strata, marginals(bet, strata), ALPHA))


def drawn(cell: Cell, flagged: Array, labels: int, rng: np.random.Generator) -> Iterator[Strata]:
    """The labels after each batch, allotted by the product's rule to outputs that never run out."""
    never = np.full(flagged.shape, labels)

    def draw(side: int, _seen: Counts, _hits: Counts, n: Counts) -> Counts:
        return np.asarray(rng.binomial(n, cell.chances[side]))

    return _drawn(flagged, labels, draw, (never, never))


def _drawn(flagged: Array, labels: int, draw: Draw, sizes: tuple[Counts, Counts]) -> Iterator[Strata]:
    seen, hits = np.zeros((2, len(flagged)), dtype=np.int64), np.zeros((2, len(flagged)), dtype=np.int64)
    for _ in range(0, labels, BATCH):
        before = Strata.of(flagged, seen[0], hits[0], seen[1], hits[1])
        left = sizes[0] - seen[0], sizes[1] - seen[1]
        first = np.minimum(np.maximum(flagged_labels(before, BATCH).astype(np.int64), BATCH - left[1]), left[0])
        for side, n in enumerate((first, np.minimum(BATCH - first, left[1]))):
            hits[side] += draw(side, seen[side], hits[side], n)
            seen[side] += n
        yield Strata.of(flagged, seen[0], hits[0], seen[1], hits[1])


def _looked(strata: Strata, truth: Array, low: Array, high: Array) -> Looked:
    return Looked(truth, strata.rate(), low, high, strata)


def simple(n: Array, bad: Array) -> tuple[Array, Array]:
    """The same kind of interval for labels drawn without a judge: bets on the same rates, Jeffreys' prior beside them."""
    alone = Strata.of(np.ones(n.shape), n, bad, 0.0, 0.0)
    each = np.stack([bad, n - bad], -1) @ np.stack([np.log(RATES), np.log1p(-RATES)])
    informed = logsumexp(each, -1) - np.log(len(RATES))
    return rate_bounds(alone, np.logaddexp(informed + np.log(INFORMED), jeffreys(n, bad) + np.log1p(-INFORMED)), ALPHA)


def plus_plus(cell: Cell, runs: int, labels: int, judged: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Plain PPI++ (Angelopoulos, Duchi & Zrnic 2023): labels drawn at random, power tuned, the interval of the central limit
    theorem for the labels so far. As in ppi-python 0.2.3's `ppi_mean_ci`, but for its clipping of the power to 0..1. Yields the
    bounds at each look."""
    p1, p0 = cell.chances
    kinds = cell.flagged * p1, cell.flagged * (1 - p1), (1 - cell.flagged) * p0, (1 - cell.flagged) * (1 - p0)
    rate = rng.binomial(judged, cell.flagged, runs) / judged
    counts = np.zeros((runs, 4))
    for n in range(BATCH, labels + 1, BATCH):
        counts += rng.multinomial(BATCH, kinds, size=runs)
        both, f, y = counts[:, 0] / n, (counts[:, 0] + counts[:, 1]) / n, (counts[:, 0] + counts[:, 2]) / n
        spread = f * (1 - f)
        power = np.where(spread > 0, (both - f * y) / np.maximum(spread, 1e-12) / (1 + n / judged), 0.0)
        rest = y * (1 - y) - 2 * power * (both - f * y) + power**2 * spread
        half = 1.959964 * np.sqrt(power**2 * rate * (1 - rate) / judged + np.maximum(rest, 0.0) / (n - 1))
        middle = power * rate + y - power * f
        yield middle - half, middle + half
