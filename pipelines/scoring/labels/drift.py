"""Is the judge still the one that was frozen? Its true and false positive rates on fresh labels beside the frozen ones.

Changed means that the fresh region and the frozen exact intervals cannot both be true; that is said of an unchanged judge with
probability 5 % at most, over all looks together. What cannot be told closes a gate as a change does.
"""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from pipelines.scoring.compare import Estimate, share
from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.labels.corrected import Stratum, bets, check
from pipelines.scoring.labels.region import Strata, judge_bounds

FRESH_ALPHA, FROZEN_ALPHA = 0.03, 0.01  # 0.03 for both fresh rates, 0.01 for each frozen one: 0.05 together
FEWEST = 20  # labels of each stratum below which a silence means nothing


@dataclass(frozen=True)
class Drift:
    """Both rates on fresh labels (`n` is all of these) and when frozen, with the intervals compared, and the verdict."""

    domain: str
    verdict: Literal["unchanged", "changed", "unknown"]
    tpr: Estimate
    fpr: Estimate
    frozen_tpr: Estimate
    frozen_fpr: Estimate

    @property
    def closes(self) -> bool:
        """Whether a gate that trusts this judge must stay shut."""
        return self.verdict != "unchanged"

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "closes": self.closes}


def drifted(frozen: Frozen, flagged: Stratum, passed: Stratum) -> Drift:
    """Compare fresh labels, drawn by verdict among the judged outputs of this domain, with the `frozen` record.

    Unknown: fewer than FEWEST clear labels in a stratum, or none that says unsupported, or none that says supported. Answers
    left open count as whatever speaks for an unchanged judge. Raises UserError for counts that contradict each other.
    """
    check(flagged, passed)
    share_ = flagged.judged / (flagged.judged + passed.judged)
    ways = product(
        range(flagged.unsupported, flagged.unsupported + flagged.unclear + 1),
        range(passed.unsupported, passed.unsupported + passed.unclear + 1),
    )
    bad, missed = np.array(list(ways), dtype=np.float64).T
    strata = Strata.of(share_, flagged.labels, bad, passed.labels, missed)
    seen = Strata.of(share_, flagged.decided, flagged.unsupported, passed.decided, passed.unsupported)
    n = flagged.labels + passed.labels
    found = judge_bounds(strata, bets(frozen).log_marginal(strata), FRESH_ALPHA)
    values = [_flagged_share(each) for each in (seen, seen.turned())]
    told = all(value is not None for value in values) and min(flagged.decided, passed.decided) >= FEWEST
    fresh = [
        Estimate(0.5 if value is None else value, float(low.min()), float(high.max()), n)
        for value, (low, high) in zip(values, found, strict=True)
    ]
    before = [share(round(each.value * each.n), each.n, confidence=1 - FROZEN_ALPHA) for each in (frozen.tpr, frozen.fpr)]
    apart = any(new.high < old.low or new.low > old.high for new, old in zip(fresh, before, strict=True))
    verdict: Literal["unchanged", "changed", "unknown"] = "unknown" if not told else "changed" if apart else "unchanged"
    return Drift(frozen.domain, verdict, *fresh, *before)


def _flagged_share(s: Strata) -> float | None:
    """Of what is unsupported, the estimated share that is flagged; None where no label says unsupported."""
    if s.flagged_bad + s.passed_bad == 0:
        return None
    found = float(s.share * s.flagged_bad / max(float(s.flagged), 1.0))
    missed = float((1 - s.share) * s.passed_bad / max(float(s.passed), 1.0))
    return found / (found + missed) if found + missed else None
