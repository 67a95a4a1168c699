"""A calibrated logistic head over named columns: P(unsupported) from evidence, with the signs that are known held.

P = 1 / (1 + exp(-(intercept + weights * (values - mean) / scale))), fit by penalised maximum likelihood. A column with a known
sign never gets a weight of the other (its least is 0): what a small training set says by chance cannot turn good evidence bad.
It starts from the weights that are expected: evidence that no training fault touched still counts against faults that nobody
thought of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.errors import UserError
from pipelines.scoring.compare import Estimate, mean, share

Floats = NDArray[np.float64]

STRENGTH = 0.1  # of the penalty on squared weights beside the mean log loss: a head for texts unlike those that it was fit on
BINS = 10


@dataclass(frozen=True)
class Penalty:
    """`strength` times half the squared distance of the weights from those `expected`: a standard deviation's log-odds, 0 of a
    column that it lacks."""

    strength: float = STRENGTH
    expected: Mapping[str, float] = field(default_factory=dict)


PLAIN = Penalty()


@dataclass(frozen=True)
class Head:
    """One number a column, in the order of `columns`."""

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def logits(self, values: ArrayLike, names: Sequence[str]) -> Floats:
        """The log-odds of "unsupported" of each row of `values`, whose columns are `names`; NaN counts as the column's mean.

        A row's is the same in any batch. Raises UserError where `names` lacks a column.
        """
        try:
            picked = [names.index(column) for column in self.columns]
        except ValueError as error:
            raise UserError(f"judge: {error}: no such evidence; use the judge with the code that made it") from error
        rows = np.asarray(values, dtype=np.float64)[:, picked]
        standard = np.nan_to_num((rows - np.array(self.mean)) / np.array(self.scale), nan=0.0)
        # a matrix product would add up in an order that depends on the batch
        logits: Floats = np.ascontiguousarray(standard * np.array(self.weights)).sum(axis=1) + self.intercept
        return logits

    def probabilities(self, values: ArrayLike, names: Sequence[str]) -> Floats:
        """P(unsupported), 0 to 1, of each row of `values`. Raises UserError where `names` lacks a column."""
        return sigmoid(self.logits(values, names))

    def shifted(self, logit: float) -> "Head":
        """The same with `logit` added to each row's log-odds."""
        return replace(self, intercept=self.intercept + logit)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Head":
        """What `plain` wrote. Raises UserError."""
        try:
            rows = {name: tuple(float(each) for each in plain[name]) for name in ("mean", "scale", "weights")}
            head = cls(tuple(str(each) for each in plain["columns"]), **rows, intercept=float(plain["intercept"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"judge's head: {error!r}; train the judge again") from error
        if any(len(each) != len(head.columns) for each in rows.values()) or not all(each > 0 for each in head.scale):
            raise UserError("judge's head: its rows do not fit its columns; train the judge again")
        return head


@dataclass(frozen=True)
class Calibration:
    """`brier` is the mean squared distance of probability and truth (with its interval), `bins` are equally many outputs each:
    their mean probability and the share that is unsupported (exact interval)."""

    brier: Estimate
    bins: tuple[tuple[float, Estimate], ...]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"brier": asdict(self.brier), "bins": [{"probability": at, "unsupported": asdict(e)} for at, e in self.bins]}


def fit(
    values: ArrayLike,
    names: Sequence[str],
    unsupported: ArrayLike,
    signs: Mapping[str, int],
    *,
    prevalence: float | None = None,
    domains: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
    penalty: Penalty = PLAIN,
) -> Head:
    """Fit a head on rows of `values` whose truth is known.

    `signs` names the columns that are read, each with the sign of its weight (+1, -1, 0: either). With `prevalence` (0 to 1)
    the rows are weighed as if that share were unsupported; `weights` weigh rows of the same truth. Each of `domains` has an
    intercept of its own while fitting, so that telling domains apart earns nothing; the head gets their mean. NaN counts as the
    column's mean. Raises UserError where a column is missing or where one truth is.
    """
    from scipy.optimize import minimize

    columns = tuple(signs)
    if missing := [column for column in columns if column not in names]:
        raise UserError(f"judge: no column {missing[0]}; name one of {', '.join(names)}")
    rows = np.asarray(values, dtype=np.float64)[:, [names.index(column) for column in columns]]
    truth = np.asarray(unsupported, dtype=np.bool_)
    if truth.all() or not truth.any():
        raise UserError("judge: all pairs have the same truth; give supported and unsupported ones")
    middle, scale = _moments(rows)
    standard = np.nan_to_num((rows - middle) / scale, nan=0.0)
    weight = _weigh(truth, prevalence, np.ones(len(truth)) if weights is None else np.asarray(weights, dtype=np.float64))
    known = sorted(set(domains)) if domains is not None else [""]
    place = np.array([known.index(each) for each in domains]) if domains is not None else np.zeros(len(truth), dtype=np.int64)
    count, centre = len(columns), np.array([penalty.expected.get(column, 0.0) for column in columns])

    def loss(point: Floats) -> tuple[float, Floats]:
        away, logit = point[:count] - centre, standard @ point[:count] + point[count:][place]
        error = weight * (sigmoid(logit) - truth)
        value = float(weight @ (np.logaddexp(0.0, logit) - truth * logit)) + penalty.strength / 2 * float(away @ away)
        return value, np.concatenate([standard.T @ error + penalty.strength * away, np.bincount(place, error, len(known))])

    bounds = [{1: (0.0, None), -1: (None, 0.0)}.get(sign, (None, None)) for sign in signs.values()]
    free = [(None, None)] * len(known)
    best = minimize(loss, np.zeros(count + len(known)), jac=True, method="L-BFGS-B", bounds=[*bounds, *free]).x
    means, scales, slopes = (tuple(round(float(each), 6) for each in row) for row in (middle, scale, best[:count]))
    return Head(columns, means, scales, slopes, round(float(best[count:].mean()), 6))


def calibrated(head: Head, logits: Floats, unsupported: ArrayLike, prevalence: float) -> Head:
    """`head` with its log-odds scaled and moved so that they hold at `prevalence` (0 to 1) on pairs of one domain, which it
    found to have these `logits` (Platt 1999). Their order stays: a slope below 0 is taken as 0."""
    line = fit(np.asarray(logits)[:, None], ("logit",), unsupported, {"logit": 1}, prevalence=prevalence, penalty=Penalty(1e-4))
    slope = line.weights[0] / line.scale[0]
    moved = line.intercept + slope * (head.intercept - line.mean[0])
    return replace(head, weights=tuple(round(slope * each, 6) for each in head.weights), intercept=round(moved, 6))


def calibration(probabilities: ArrayLike, unsupported: ArrayLike, bins: int = BINS) -> Calibration:
    """How far probabilities are to be taken at their word, on pairs that did not make them."""
    p, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(unsupported, dtype=np.bool_)
    parts = [part for part in np.array_split(np.argsort(p, kind="stable"), bins) if len(part)]
    shown = tuple((float(p[part].mean()), share(int(truth[part].sum()), len(part))) for part in parts)
    return Calibration(mean((p - truth) ** 2), shown)


def auroc(scores: ArrayLike, unsupported: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """The probability that an unsupported output scores above a supported one (ties count half), by DeLong et al. (1988), its
    interval on the logit scale. Raises UserError where one truth is missing."""
    from scipy.stats import norm, rankdata

    score, truth = np.asarray(scores, dtype=np.float64), np.asarray(unsupported, dtype=np.bool_)
    bad, good = score[truth], score[~truth]
    if len(bad) < 2 or len(good) < 2:
        raise UserError("auroc: fewer than two pairs of one truth; give more")
    everyone = rankdata(np.concatenate([bad, good]))
    above = (everyone[: len(bad)] - rankdata(bad)) / len(good)  # share of the good that a bad one beats
    below = 1 - (everyone[len(bad) :] - rankdata(good)) / len(bad)
    value = float(above.mean())
    deviation = float(np.sqrt(above.var(ddof=1) / len(bad) + below.var(ddof=1) / len(good)))
    z = float(norm.ppf(0.5 + confidence / 2)) * deviation
    if not 0 < value < 1:  # never a miss: as sure as the fewer of the two kinds allow
        fewer = min(len(bad), len(good))
        return replace(share(round(value * fewer), fewer, confidence=confidence), value=value, n=len(score))
    odds, spread = np.log(value / (1 - value)), z / (value * (1 - value))
    low, high = (float(each) for each in sigmoid(np.array([odds - spread, odds + spread])))
    return Estimate(value, low, high, len(score))


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    found: Floats = np.exp(-np.logaddexp(0.0, -logits))
    return found


def _moments(rows: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column, of what is known; 0 and 1 where nothing varies."""
    known = np.isfinite(rows)
    count = np.maximum(known.sum(axis=0), 1)
    middle = np.where(known, rows, 0.0).sum(axis=0) / count
    scale = np.sqrt(np.where(known, (rows - middle) ** 2, 0.0).sum(axis=0) / count)
    return middle, np.where(scale > 1e-5, scale, 1.0)


def _weigh(truth: NDArray[np.bool_], prevalence: float | None, weights: Floats) -> Floats:
    """Weights that add up to 1, and those of the unsupported to `prevalence`."""
    if prevalence is None:
        prevalence = float(weights[truth].sum() / weights.sum())
    bad, good = weights[truth].sum(), weights[~truth].sum()
    found: Floats = np.where(truth, prevalence * weights / bad, (1 - prevalence) * weights / good)
    return found
