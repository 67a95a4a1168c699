"""The judge's threshold: chosen on labelled pairs, frozen, and published with the rates it really has, domain by domain.

With a flag of true positive rate TPR and false positive rate FPR, a true rate is read off the flagged share q = pi TPR +
(1 - pi) FPR with the variance q (1 - q) / (TPR - FPR)^2 an output (Rogan & Gladen 1978). That is minimised here at the expected
prevalence pi: where faults are rare it prefers a judge with 1 % false positives to one of higher balanced accuracy with 15 %.

Nothing is pooled over domains: a judge that merely tells domains apart would look good on the pool and be blind in each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UserError
from pipelines.scoring.compare import SEED, Estimate, share

FEWEST = 20  # labels of each kind and domain; half choose, half measure. 10 of 10 flagged still allow a TPR of 0.69


@dataclass(frozen=True)
class Frozen:
    """Flag what scores `threshold` or more. `tpr` and `fpr` are exact 95 % intervals (Clopper & Pearson 1934) on labels that
    did not choose the threshold; `cost` is the variance an output, at `prevalence`, on those that did."""

    domain: str
    threshold: float
    prevalence: float
    tpr: Estimate
    fpr: Estimate
    cost: float

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def read(cls, plain: dict[str, Any]) -> "Frozen":
        """What `plain` wrote. Raises UserError."""
        try:
            rates = {name: Estimate(**plain[name]) for name in ("tpr", "fpr")}
            return cls(**{**plain, **rates})
        except (KeyError, TypeError) as error:
            raise UserError(f"threshold record: {error}; freeze the threshold again") from error


def freeze(
    scores: Sequence[float] | NDArray[np.float64],
    unsupported: Sequence[bool] | NDArray[np.bool_],
    domains: Sequence[str],
    prevalence: float,
    *,
    seed: int = SEED,
) -> tuple[Frozen, ...]:
    """One record a domain, by name. `scores` are P(unsupported), `prevalence` (0 to 1) is the share expected in use.

    In each domain half the labels of each kind, drawn by `seed`, choose the threshold; the other half measure its rates, so
    that the published intervals are exact.

    Raises:
        UserError: columns of different lengths, a score outside 0 to 1, fewer than FEWEST labels of a kind in a domain, or a
            domain in which no threshold finds unsupported outputs more often than supported ones.
    """
    if not 0 < prevalence < 1:
        raise UserError(f"prevalence: {prevalence:g} lies outside 0 to 1; give the unsupported share expected in use")
    if not len(scores) == len(unsupported) == len(domains) != 0:
        lengths = f"{len(scores)} scores, {len(unsupported)} labels, {len(domains)} domains"
        raise UserError(f"threshold: {lengths}; give one of each for every pair")
    score, bad = np.asarray(scores, dtype=np.float64), np.asarray(unsupported, dtype=np.bool_)
    if not ((score >= 0) & (score <= 1)).all():
        raise UserError(f"scores: row {int(np.argmin((score >= 0) & (score <= 1)))} lies outside 0 to 1; judge that pair anew")
    named = np.asarray(domains, dtype=object)
    return tuple(
        _one(domain, score[named == domain], bad[named == domain], prevalence, seed) for domain in sorted(set(domains))
    )


def choose(scores: NDArray[np.float64], unsupported: NDArray[np.bool_], prevalence: float) -> tuple[float, float]:
    """The threshold of the least q (1 - q) / (TPR - FPR)^2, and that least.

    A rate is taken as (hits + 1/2) / (n + 1): no flag among 20 is not a false positive rate of 0. Raises ValueError where no
    threshold has a TPR above its FPR.
    """
    at = np.unique(scores)
    bad, good = np.sort(scores[unsupported]), np.sort(scores[~unsupported])
    tpr, fpr = ((len(each) - np.searchsorted(each, at) + 0.5) / (len(each) + 1) for each in (bad, good))
    q = prevalence * tpr + (1 - prevalence) * fpr
    useful = tpr > fpr
    if not useful[1:].any():  # the lowest threshold flags everything
        raise ValueError("no threshold has a true positive rate above its false positive rate")
    cost = np.where(useful, q * (1 - q) / np.where(useful, tpr - fpr, 1.0) ** 2, np.inf)
    cost[0] = np.inf
    best = int(np.argmin(cost))
    # between this score and the next lower one: a score that moves in its last digit stays on its side
    return float((at[best] + at[best - 1]) / 2), float(cost[best])


def _one(domain: str, scores: NDArray[np.float64], unsupported: NDArray[np.bool_], prevalence: float, seed: int) -> Frozen:
    rng = np.random.default_rng([seed, *domain.encode()])  # a record is the same whatever other domains there are
    for kind, count in (("unsupported", int(unsupported.sum())), ("supported", int((~unsupported).sum()))):
        if count < FEWEST:
            raise UserError(f"domain {domain}: {count} labels say {kind}, {FEWEST} are needed; label more such")
    chosen = np.zeros(len(scores), dtype=np.bool_)
    for rows in _kinds(unsupported):
        chosen[rng.permutation(rows)[: len(rows) // 2]] = True
    try:
        threshold, cost = choose(scores[chosen], unsupported[chosen], prevalence)
    except ValueError as error:
        raise UserError(f"domain {domain}: {error}; the judge knows nothing here: train it on this domain") from error
    rest = scores[~chosen] >= threshold, unsupported[~chosen]
    return Frozen(domain, threshold, prevalence, _rate(*rest, kind=True), _rate(*rest, kind=False), cost)


def _kinds(unsupported: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    yield np.flatnonzero(unsupported)
    yield np.flatnonzero(~unsupported)


def _rate(flagged: NDArray[np.bool_], unsupported: NDArray[np.bool_], *, kind: bool) -> Estimate:
    among = flagged[unsupported == kind]
    return share(int(among.sum()), len(among))
