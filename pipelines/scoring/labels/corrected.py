"""The corrected rate: what share of the answers is unsupported, from the judge's verdicts on all and people's labels on a few.

A judge's own rate is its mistakes as much as the model's, so it drives nothing. Labels are drawn by its verdict, more where
they tell more (`next_labels`), and weighted back by the known flagged share: for a verdict of two values this stratified
estimate is prediction-powered inference with the power tuned best (PPI++, Angelopoulos, Duchi & Zrnic 2023). The interval is
anytime-valid (`region`): it may be looked at after every label. What the judge was measured at when its threshold was frozen
only makes it narrower; should the judge have drifted since, it is wider, and still covers.
"""

from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from pipelines.errors import UserError
from pipelines.scoring.compare import Estimate
from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.labels.region import RATES, Array, Bets, Strata, bets_on, highest_rate, rate_bounds, share_bounds

Answer = Literal["supported", "unsupported", "can't tell"]
Of = Literal["model", "outputs"]

LEAST_SHARE = 0.1  # of the labels in each stratum: the spread seen in a few labels may be 0 by luck
FOR_SHARE = 0.1  # share of alpha that goes on the flagged share of outputs not yet judged
QUANTILES = (0.1, 0.5, 0.9)  # of what the frozen labels say of each rate: more made no interval narrower
BELOW, ABOVE = (0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8), (1.25, 1.5, 2.0, 2.5, 3.5, 5.0)  # rates over a budget that are bet on
ANY_JUDGE = ((0.4, 0.6, 0.75, 0.85, 0.93, 0.98), (0.003, 0.01, 0.03, 0.08, 0.16, 0.3))  # bets where nothing was frozen


class Label(NamedTuple):
    """What one reviewer said of one output, and whether the judge had flagged it."""

    item: Hashable
    flagged: bool
    answer: Answer


@dataclass(frozen=True)
class Stratum:
    """The outputs of one verdict: how many were judged so, labelled, and of these called unsupported or left undecided."""

    judged: int
    labels: int = 0
    unsupported: int = 0
    unclear: int = 0

    @property
    def weight(self) -> float:
        """How many outputs a label stands for; keep it with the label wherever labels of both strata meet. 0 without labels."""
        return self.judged / self.labels if self.labels else 0.0

    @property
    def decided(self) -> int:
        return self.labels - self.unclear


@dataclass(frozen=True)
class Corrected:
    """Always three numbers: the judge's own rate, the corrected one with its interval (None: unknown), the labels used."""

    judged: float
    corrected: Estimate | None
    labels: int

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def __str__(self) -> str:
        if self.corrected is None:
            return f"judged {self.judged:.1%}, corrected unknown, {self.labels} labels"
        c = self.corrected
        return f"judged {self.judged:.1%}, corrected {c.value:.1%} [{c.low:.1%}, {c.high:.1%}], {self.labels} labels"


@dataclass(frozen=True)
class Gated:
    """What labels say of a budget (0 to 1), and the one-sided bounds of the rate that say it. Only "within" may open a gate."""

    verdict: Literal["within", "over", "inconclusive", "unknown"]
    budget: float
    low: float
    high: float

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def tally(labels: Iterable[Label], flagged: int, passed: int) -> tuple[Stratum, Stratum]:
    """Count `labels` by stratum, an item once, where `flagged` and `passed` outputs were judged so. A clear answer outweighs
    "can't tell".

    Raises:
        UserError: an item with both verdicts or contradicting answers, an unknown answer, or more labelled items than judged.
    """
    verdicts: dict[Hashable, bool] = {}
    answers: dict[Hashable, Answer] = {}
    for item, verdict, answer in labels:
        if answer not in ("supported", "unsupported", "can't tell"):
            raise UserError(f"labels: item {item} has the answer {answer!r}; take supported, unsupported or can't tell")
        if verdicts.setdefault(item, verdict) != verdict:
            raise UserError(f"labels: item {item} is both flagged and passed; label the verdicts of one judge at a time")
        before = answers.get(item, "can't tell")
        if "can't tell" not in (before, answer) and before != answer:
            raise UserError(f"labels: item {item} is called supported and unsupported; let one more reviewer decide")
        answers[item] = before if answer == "can't tell" else answer
    return _stratum(flagged, True, verdicts, answers), _stratum(passed, False, verdicts, answers)


def corrected_rate(
    flagged: Stratum, passed: Stratum, frozen: Frozen | None = None, *, of: Of = "model", confidence: float = 0.95
) -> Corrected:
    """The corrected rate with its anytime-valid interval; unknown until each stratum that holds outputs has a clear label.

    of "model": of all that this model answers to requests like these, judged or not; labels are drawn at random within each
    stratum, and the flagged share has an uncertainty of its own. of "outputs": of the judged outputs alone, whose flagged share
    is known; labels count as drawn with replacement, which errs to the wide side where they are a large part of a stratum.

    What reviewers could not tell may be either: the interval holds every way in which it might have been decided. `frozen` is
    the judge's record in this domain, made before the first of these labels and the same at every look; it narrows the
    interval and is not relied on.

    Raises:
        UserError: nothing was judged, or counts that contradict each other.
    """
    check(flagged, passed)
    judged, labels = flagged.judged / (flagged.judged + passed.judged), flagged.labels + passed.labels
    if not _told(flagged, passed):
        return Corrected(judged, None, labels)
    strata, alpha = _ways(flagged, passed, of, 1 - confidence)
    lows, highs = rate_bounds(strata, bets(frozen).log_marginal(strata), alpha)
    value = float(Strata.of(judged, flagged.decided, flagged.unsupported, passed.decided, passed.unsupported).rate())
    return Corrected(judged, Estimate(value, float(lows.min()), float(highs.max()), labels), labels)


def gated(
    flagged: Stratum,
    passed: Stratum,
    budget: float,
    frozen: Frozen | None = None,
    *,
    of: Of = "model",
    confidence: float = 0.95,
) -> Gated:
    """Whether the rate lies within `budget` (0 to 1) or over it; inconclusive while the labels cannot tell.

    Two one-sided tests whose bets are laid around the budget (`budget_bets`), so that they tell sooner than the interval of
    all rates. However often it is asked, "within" is said of a rate at or above the budget with probability 1 - confidence
    at most, and "over" of one at or below it. The budget is set before the first of these labels.

    Raises:
        UserError: a budget outside 0 to 1, or as `corrected_rate`.
    """
    if not 0 < budget < 1:
        raise UserError(f"budget: {budget:g} lies outside 0 to 1; give the largest share of unsupported outputs allowed")
    check(flagged, passed)
    if not _told(flagged, passed):
        return Gated("unknown", budget, 0.0, 1.0)
    strata, alpha = _ways(flagged, passed, of, 1 - confidence)
    below, above = budget_bets(frozen, budget)
    high = float(highest_rate(strata, below.log_marginal(strata), alpha).max())
    low = float(1 - highest_rate(strata.turned(), above.log_marginal(strata), alpha).max())
    return Gated("within" if high < budget else "over" if low > budget else "inconclusive", budget, low, high)


def budget_bets(frozen: Frozen | None, budget: float) -> tuple[Bets, Bets]:
    """Bets that the rate lies below `budget`, and that it lies above."""
    return bets(frozen, tuple(budget * part for part in BELOW)), bets(frozen, tuple(min(budget * part, 0.99) for part in ABOVE))


@lru_cache(maxsize=64)
def bets(frozen: Frozen | None, rates: tuple[float, ...] = tuple(RATES)) -> Bets:
    """Bets at these true `rates` on what the frozen labels say of the judge (Jeffreys' posterior), or on any judge."""
    if frozen is None:
        return bets_on(*ANY_JUDGE, rates)
    tpr, fpr = (stats.beta(r.value * r.n + 0.5, (1 - r.value) * r.n + 0.5).ppf(QUANTILES) for r in (frozen.tpr, frozen.fpr))
    return bets_on(tpr, fpr, rates)


def next_labels(flagged: Stratum, passed: Stratum, size: int) -> tuple[int, int]:
    """How many of the next `size` labels to draw from each stratum: after Neyman (1934), by share times spread seen so far.

    It looks at past labels only, as an anytime-valid interval asks. No stratum is asked for more than it holds.
    """
    check(flagged, passed)
    share = flagged.judged / (flagged.judged + passed.judged)
    strata = Strata.of(share, flagged.labels, flagged.unsupported, passed.labels, passed.unsupported)
    wanted = int(flagged_labels(strata, size))
    left, right = flagged.judged - flagged.labels, passed.judged - passed.labels
    first = min(max(wanted, size - right), left)
    return first, min(size - first, right)


def flagged_labels(strata: Strata, size: int) -> Array:
    """Of the next `size` labels, those to draw from the flagged stratum, where none runs out; in arrays, for simulations."""
    s = strata
    to_flagged = s.share * _spread(s.flagged, s.flagged_bad)
    to_passed = (1 - s.share) * _spread(s.passed, s.passed_bad)
    part = np.clip(to_flagged / (to_flagged + to_passed), LEAST_SHARE, 1 - LEAST_SHARE)
    return np.clip(np.round(part * (s.flagged + s.passed + size)) - s.flagged, 0, size)


def check(flagged: Stratum, passed: Stratum) -> None:
    """Raises UserError where nothing was judged, or the counts of a stratum contradict each other."""
    if flagged.judged + passed.judged == 0:
        raise UserError("judged: 0 outputs; let the judge see some before its rate is corrected")
    for name, side in (("flagged", flagged), ("passed", passed)):
        whole = min(side.unsupported, side.unclear, side.labels) >= 0 and side.unsupported + side.unclear <= side.labels
        if not whole or side.labels > side.judged:
            raise UserError(f"{name}: {side} does not add up; count labels within judged, the rest within labels")


def _told(flagged: Stratum, passed: Stratum) -> bool:
    """Whether each stratum that holds outputs has a clear label."""
    return all(side.decided or not side.judged for side in (flagged, passed))


def _ways(flagged: Stratum, passed: Stratum, of: Of, alpha: float) -> tuple[Strata, float]:
    """Every way in which what is open may be, and the alpha that is left: the extreme flagged shares, the undecided labels."""
    total = flagged.judged + passed.judged
    shares = {flagged.judged / total}
    if of == "model":
        shares = {float(each) for each in share_bounds(total, flagged.judged, FOR_SHARE * alpha)}
        alpha *= 1 - FOR_SHARE
    bad = (range(side.unsupported, side.unsupported + side.unclear + 1) for side in (flagged, passed))
    share, hits, missed = np.array(list(product(sorted(shares), *bad)), dtype=np.float64).T
    return Strata.of(share, flagged.labels, hits, passed.labels, missed), alpha


def _spread(n: Array, bad: Array) -> Array:
    return np.asarray(np.sqrt((bad + 0.5) * (n - bad + 0.5)) / (n + 1))


def _stratum(judged: int, side: bool, verdicts: dict[Hashable, bool], answers: dict[Hashable, Answer]) -> Stratum:
    said = [answers[item] for item, verdict in verdicts.items() if verdict == side]
    if len(said) > judged:
        kind = "flagged" if side else "passed"
        raise UserError(f"labels: {len(said)} {kind} items, {judged} were judged so; give counts of one judge and time")
    return Stratum(judged, len(said), said.count("unsupported"), said.count("can't tell"))
