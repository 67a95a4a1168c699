"""Estimates with their intervals, and what a difference means: the only statistics that a report or a gate may use.

Means and paired differences: BCa bootstrap (Efron 1987) by scipy, seeded, so that the same scores always give the same
interval; their p by approximate randomization (Noreen 1989; Riezler and Maxwell 2005). Shares: the exact interval of Clopper
and Pearson (1934).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Outcome = Literal["better", "not worse", "worse", "inconclusive"]

FEWEST = 10  # paired values below which a bootstrap interval is too short to be believed: every verdict is inconclusive
BLOCK = 256  # resamples in memory at a time
SEED = 20_240_501


@dataclass(frozen=True)
class Estimate:
    """`value` with its interval from `low` to `high`, from `n` values; same unit as the values."""

    value: float
    low: float
    high: float
    n: int


def mean(values: ArrayLike, *, confidence: float = 0.95, resamples: int = 2_000, seed: int = SEED) -> Estimate:
    """The mean of one-dimensional `values` with its BCa bootstrap interval.

    Raises:
        ValueError: fewer than two values, or values that are not finite.
    """
    data: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or len(data) < 2 or not np.isfinite(data).all():
        raise ValueError(f"a mean needs at least two finite values in one row, not an array of shape {data.shape}")
    value = float(data.mean())
    if np.ptp(data) == 0:  # nothing to resample: the interval is the value, and FEWEST guards against believing it too soon
        return Estimate(value, value, value, len(data))
    interval = stats.bootstrap(
        (data,),
        np.mean,
        n_resamples=resamples,
        batch=BLOCK,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), len(data))


def difference(
    ours: ArrayLike, theirs: ArrayLike, *, confidence: float = 0.95, resamples: int = 2_000, seed: int = SEED
) -> Estimate:
    """The mean of `ours - theirs`, value by value on the same test pairs, with its paired bootstrap interval.

    Raises:
        ValueError: the two differ in length, or as `mean` says.
    """
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"a paired difference needs as many values on both sides, not {a.shape} and {b.shape}")
    return mean(a - b, confidence=confidence, resamples=resamples, seed=seed)


def gap(ours: ArrayLike, theirs: ArrayLike, *, confidence: float = 0.95, resamples: int = 2_000, seed: int = SEED) -> Estimate:
    """The mean of `ours` minus that of `theirs`, of different pairs, with its bootstrap interval; `n` is that of the fewer.

    Raises:
        ValueError: fewer than two values on a side, or values that are not finite.
    """
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if min(a.size, b.size) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"a gap needs at least two finite values on both sides, not {a.size} and {b.size}")
    value = float(a.mean() - b.mean())
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return Estimate(value, value, value, min(a.size, b.size))
    interval = stats.bootstrap(
        (a, b),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        n_resamples=resamples,
        batch=BLOCK,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), min(a.size, b.size))


def randomization(ours: ArrayLike, theirs: ArrayLike, *, resamples: int = 2_000, seed: int = SEED) -> float:
    """The p of a mean difference this far from 0, either way, if it were a coin's toss which side of each pair is whose.

    Exact where the pairs are so few that all tosses can be tried, else of `resamples` random ones (never 0 then).
    """
    gains = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    if not gains.any():
        return 1.0
    found = stats.permutation_test(
        (gains,),
        np.mean,
        permutation_type="samples",
        n_resamples=resamples - 1,
        batch=BLOCK,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Each p as Holm (1979) adjusts it for their number: at most a share alpha of such families has one wrongly below alpha."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    adjusted, reached = [0.0] * len(ps), 0.0
    for place, index in enumerate(order):
        reached = max(reached, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = reached
    return adjusted


def share(hits: int, n: int, *, confidence: float = 0.95, method: Literal["exact", "wilson"] = "exact") -> Estimate:
    """The share `hits / n` (0 to 1) with its interval: exact (never too narrow), or Wilson's (right on average).

    Raises:
        ValueError: n is 0, or hits lies outside 0..n.
    """
    interval = stats.binomtest(hits, n).proportion_ci(confidence, method=method)
    return Estimate(hits / n, float(interval.low), float(interval.high), n)


def verdict(estimate: Estimate, margin: float = 0.0) -> Outcome:
    """What the interval of a difference (ours - theirs, more is better) allows to say.

    better: wholly above 0; not worse: wholly above -margin; worse: wholly below -margin; else inconclusive, as with fewer
    than FEWEST values.
    """
    if estimate.n < FEWEST:
        return "inconclusive"
    if estimate.low > 0:
        return "better"
    if estimate.low >= -margin:
        return "not worse"
    return "worse" if estimate.high < -margin else "inconclusive"
