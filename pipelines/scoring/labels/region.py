"""What labels drawn by the judge's verdict say of the truth, at every look: a joint confidence region and its projections.

Outputs fall into two strata, flagged and passed; w is the flagged share. A label says whether an output is unsupported: within
a stratum such labels are coin throws with unknown chances (p1, p0). For any prior bet, the marginal likelihood of the labels
over their likelihood at the true (p1, p0) is a martingale that starts at 1, so by Ville's inequality the region

    {(p1, p0): log likelihood(p1, p0) >= log marginal - log(1/alpha)}

holds the truth at every look, all looks together, with probability 1 - alpha: however often it is looked at, whenever labelling
stops, and however past labels decide which stratum is asked next (Robbins 1970; Waudby-Smith & Ramdas 2024). The prior only
decides how small the region is. So it may use all that is believed of the judge (`bets_on`), and coverage never rests on it.

Both strata share one region: a rate w p1 + (1-w) p0 is bounded by the best and worst point of it, which a Lagrange multiplier
gives in closed form. All functions take numpy arrays of any one shape, so that a simulation runs the very code of a gate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, expit, logit, logsumexp, xlog1py, xlogy

Array = NDArray[np.float64]

RATES = expit(np.linspace(logit(0.003), logit(0.6), 24))  # true rates that are bet on, evenly in log-odds
RATES.setflags(write=False)
CLOSEST = 1e-5  # no bet on a chance nearer to 0 or 1: one label against it would cost the whole bet
INFORMED = 0.75  # share of the capital that believes in the judge; the rest (Jeffreys' prior) guards against its drift
HALVINGS = 36  # of an interval 40 wide in log(multiplier): exact to 1e-9


@dataclass(frozen=True)
class Strata:
    """Labels by the judge's verdict, as arrays of one shape: the flagged share of the outputs, and of each stratum the labels
    drawn and how many of them said unsupported."""

    share: Array
    flagged: Array
    flagged_bad: Array
    passed: Array
    passed_bad: Array

    @classmethod
    def of(
        cls, share: ArrayLike, flagged: ArrayLike, flagged_bad: ArrayLike, passed: ArrayLike, passed_bad: ArrayLike
    ) -> "Strata":
        given = (share, flagged, flagged_bad, passed, passed_bad)
        return cls(*np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in given)))

    def turned(self) -> "Strata":
        """Supported for unsupported, and the other way round."""
        return Strata(self.share, self.flagged, self.flagged - self.flagged_bad, self.passed, self.passed - self.passed_bad)

    def swapped(self) -> "Strata":
        """Flagged for passed, and the other way round."""
        return Strata(1 - self.share, self.passed, self.passed_bad, self.flagged, self.flagged_bad)

    def rate(self) -> Array:
        """The stratified estimate of the unsupported share; a stratum without labels counts as half bad."""
        return self.share * _seen(self.flagged, self.flagged_bad) + (1 - self.share) * _seen(self.passed, self.passed_bad)


@dataclass(frozen=True)
class Bets:
    """A discrete prior on (p1, p0) beside Jeffreys'. `logs` holds the logs of p1, 1-p1, p0, 1-p0, one column a bet."""

    logs: Array

    def log_marginal(self, strata: Strata) -> Array:
        """Natural log of the probability of these labels under the whole prior."""
        s = strata
        counts = np.stack([s.flagged_bad, s.flagged - s.flagged_bad, s.passed_bad, s.passed - s.passed_bad], axis=-1)
        informed = logsumexp(counts @ self.logs, axis=-1) - np.log(self.logs.shape[1])
        plain = jeffreys(s.flagged, s.flagged_bad) + jeffreys(s.passed, s.passed_bad)
        return np.asarray(np.logaddexp(informed + np.log(INFORMED), plain + np.log1p(-INFORMED)))


def bets_on(true_positive_rates: ArrayLike, false_positive_rates: ArrayLike, rates: ArrayLike = RATES) -> Bets:
    """Bets on a judge with any of these rates, at each of the true `rates` pi: p1 = pi TPR / q, p0 = pi (1 - TPR) / (1 - q)."""
    pi, tpr, fpr = (each.ravel() for each in np.meshgrid(rates, true_positive_rates, false_positive_rates, indexing="ij"))
    q = pi * tpr + (1 - pi) * fpr
    p1, p0 = (np.clip(p, CLOSEST, 1 - CLOSEST) for p in (pi * tpr / q, pi * (1 - tpr) / (1 - q)))
    return Bets(np.stack([np.log(p1), np.log1p(-p1), np.log(p0), np.log1p(-p0)]))


def jeffreys(n: Array, bad: Array) -> Array:
    """Natural log of the probability of one order of `bad` among `n` labels under Jeffreys' prior Beta(1/2, 1/2)."""
    return np.asarray(betaln(bad + 0.5, n - bad + 0.5) - betaln(0.5, 0.5))


def rate_bounds(strata: Strata, log_marginal: Array, alpha: float) -> tuple[Array, Array]:
    """Lower and upper bounds of the rate w p1 + (1-w) p0 over the region of level 1 - alpha."""
    return 1 - highest_rate(strata.turned(), log_marginal, alpha), highest_rate(strata, log_marginal, alpha)


def highest_rate(strata: Strata, log_marginal: Array, alpha: float) -> Array:
    """The upper bound alone: stationary points of w p1 + (1-w) p0 by multiplier k, halved to the region's edge."""
    s, floor = strata, log_marginal + np.log(alpha)
    low, high = np.full(s.share.shape, -15.0), np.full(s.share.shape, 25.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inside = _likelihood(s, *_raised(s, np.exp(middle))) >= floor
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    p1, p0 = _raised(s, np.exp(high))  # just outside: never too small
    return np.clip(s.share * p1 + (1 - s.share) * p0, 0.0, 1.0)


def share_bounds(n: ArrayLike, hits: ArrayLike, alpha: float) -> tuple[Array, Array]:
    """Bounds of one share, at every look, from `hits` of `n`: the region of a single stratum under Jeffreys' prior."""
    alone = Strata.of(1.0, n, hits, 0.0, 0.0)
    return rate_bounds(alone, jeffreys(alone.flagged, alone.flagged_bad), alpha)


def judge_bounds(strata: Strata, log_marginal: Array, alpha: float) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Bounds of the judge's true and false positive rates over the same region: both hold at once, at every look.

    The TPR is the flagged share of what is unsupported, so labels by verdict must be weighted back; counting them as they come
    would take the sampling for the judge.
    """
    floor = log_marginal + np.log(alpha)
    tpr = 1 - _most_flagged(strata.swapped(), floor), _most_flagged(strata, floor)
    turned = strata.turned()
    return tpr, (1 - _most_flagged(turned.swapped(), floor), _most_flagged(turned, floor))


def _raised(s: Strata, k: Array) -> tuple[Array, Array]:
    """Where k w = (n - bad)/(1 - p) - bad/p in each stratum."""
    return _root(s.flagged, s.flagged_bad, k * s.share), _root(s.passed, s.passed_bad, k * (1 - s.share))


def _root(n: Array, bad: Array, k: Array) -> Array:
    """The root of k p^2 + (n - k) p - bad = 0 in [bad/n, 1], in the form that loses no digits."""
    k = np.maximum(k, 1e-12)  # a stratum that holds no output: any chance does
    b = n - k
    root = np.sqrt(b * b + 4 * k * bad)
    return np.where(b > 0, 2 * bad / np.maximum(root + b, 1e-300), (root - b) / (2 * k))


def _most_flagged(strata: Strata, floor: Array) -> Array:
    """The largest flagged share of what is unsupported, w p1 / (w p1 + (1-w) p0), with log likelihood at least `floor`.

    On the way there p1 = (bad + m)/(n + m) and p0 = (bad - m)/(n - m), with a multiplier m from 0 to the passed bad.
    """
    s = strata
    low, high = np.zeros(s.share.shape), np.ones(s.share.shape)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inside = _likelihood(s, *_shifted(s, middle * s.passed_bad)) >= floor
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    p1, p0 = _shifted(s, high * s.passed_bad)
    found, missed = s.share * p1, (1 - s.share) * p0
    return np.where(found + missed > 0, found / np.maximum(found + missed, 1e-300), 1.0)


def _shifted(s: Strata, m: Array) -> tuple[Array, Array]:
    """A stratum without labels is free: its chance is the extreme one, 1 of the flagged and 0 of the passed."""
    p1 = np.where(s.flagged + m > 0, (s.flagged_bad + m) / np.maximum(s.flagged + m, 1e-300), 1.0)
    return p1, np.where(s.passed - m > 0, (s.passed_bad - m) / np.maximum(s.passed - m, 1e-300), 0.0)


def _likelihood(s: Strata, p1: Array, p0: Array) -> Array:
    """Natural log of the probability of the labels in their order."""
    flagged = xlogy(s.flagged_bad, p1) + xlog1py(s.flagged - s.flagged_bad, -p1)
    return np.asarray(flagged + xlogy(s.passed_bad, p0) + xlog1py(s.passed - s.passed_bad, -p0))


def _seen(n: Array, bad: Array) -> Array:
    return np.where(n > 0, bad / np.maximum(n, 1), 0.5)
