"""What people's labels say of a model's versions and of its judge: three numbers always, agreement, drift. Pure.

Only labels drawn by the judge's verdict count for a rate (asked.py). One answer a reviewer and item counts, the latest. Where
reviewers contradict each other the majority counts, and a tie is undecided: the interval holds both ways, agreement says so.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipelines.errors import UserError
from pipelines.registry.labels import Answer, Judged
from pipelines.registry.queues import Listed
from pipelines.scoring.compare import Estimate, share
from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.labels.agreement import agreement
from pipelines.scoring.labels.corrected import Corrected, Gated, Label, Stratum, corrected_rate, gated, tally
from pipelines.scoring.labels.drift import Drift, drifted
from pipelines.scoring.labels.strata import stratum_of

NOTHING = Stratum(0)


class Left(NamedTuple):
    """A trace that was drawn by its verdict, and that a reviewer put away without an answer: undecided."""

    item: str
    version: str
    flagged: bool


class How(NamedTuple):
    """How labels are read: beside the judge's record in the domain, if it has one; with the confidence of every interval; and
    whether the rate keeps within a `budget` (1: none)."""

    frozen: Frozen | None = None
    confidence: float = 0.95
    budget: float = 1.0


@dataclass(frozen=True)
class Told:
    """What labels say of one `version` in one `domain`. `problem` says why there is no rate, empty where there is one, or
    where it is unknown for want of labels alone."""

    domain: str
    version: str
    flagged: Stratum
    passed: Stratum
    rate: Corrected | None
    items: int
    reviewers: int
    agreement: Estimate | None
    drift: Drift | None
    kept: Gated | None = None
    problem: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON: `judged`, `corrected` ("unknown" without labels), `labels`, and what they rest on. Rates have intervals."""
        rate, agreed = self.rate, self.agreement
        known = rate.corrected if rate else None
        return {
            "domain": self.domain,
            "version": self.version,
            "judged": _plain(share(self.flagged.judged, self.flagged.judged + self.passed.judged)) if rate else None,
            "corrected": _plain(known) if known else "unknown",
            "labels": rate.labels if rate else 0,
            "strata": {name: {**vars(each), "weight": each.weight} for name, each in self.strata},
            "items": self.items,
            "reviewers": self.reviewers,
            "agreement": {**_plain(agreed), "n": agreed.n} if agreed else "unknown",
            "drift": self.drift.plain() if self.drift else "unknown",
            "budget": self.kept.plain() if self.kept else None,
            "problem": self.problem,
        }

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        yield f"{self.domain} version {self.version}: {self.rate or self.problem}"
        for name, each in self.strata:
            counted = f"{each.unsupported} unsupported, {each.unclear} undecided"
            yield f"  {name:<12} {each.judged} judged so, {each.labels} labelled: {counted}"
        yield f"  agreement    {_agreed(self.agreement, self.items, self.reviewers)}"
        yield f"  judge        {_drift(self.drift)}"
        if self.kept:
            yield f"  budget       {self.kept.budget:.1%}: {self.kept.verdict}, [{self.kept.low:.1%}, {self.kept.high:.1%}]"
        if self.problem and self.rate:
            yield f"  {self.problem}"

    @property
    def strata(self) -> tuple[tuple[str, Stratum], tuple[str, Stratum]]:
        return ("flagged", self.flagged), ("passed", self.passed)


def tell(
    domain: str,
    rows: Sequence[Judged],
    left: Sequence[Left],
    judged: Mapping[str, tuple[int, int]],
    how: How | None = None,
) -> list[Told]:
    """What `rows` say of each version that was judged or labelled, the newest first.

    `judged` maps a version to the numbers of its answers that the judge flagged and passed; `left` are drawn answers that
    reviewers put away.
    """
    versions = {*judged, *(row.version for row in rows)}
    return [
        _version(
            domain,
            version,
            [row for row in rows if row.version == version],
            [each for each in left if each.version == version],
            judged.get(version, (0, 0)),
            how or How(),
        )
        for version in sorted(versions, key=newest, reverse=True)
    ]


def scored(told: Sequence[Told], version: str | None) -> dict[str, Any]:
    """What scores.json says of labels: `corrected`, of the champion `version`, with all `versions`; and the judge's `drift`.

    A candidate has served nobody yet, so no label is about it: what is known is how often its predecessor was wrong, and
    whether the judge that compares the two can still be believed. Without labels the rate is unknown. Drift is left out where
    the judge was not frozen for the domain, and unknown where the labels contradict what was judged.
    """
    own = next((each for each in told if each.version == version), None)
    found = own.plain() if own else {"judged": None, "corrected": "unknown", "labels": 0, "version": version}
    corrected = {**found, "versions": [each.plain() for each in told]}
    if own and own.problem and own.items:  # labels that cannot be counted: what cannot be told closes a gate
        return {"corrected": corrected, "drift": {"verdict": "unknown", "closes": True, "problem": own.problem}}
    return {"corrected": corrected, **({"drift": own.drift.plain()} if own and own.drift else {})}


def strata(rows: Sequence[Judged], left: Sequence[Left], judged: tuple[int, int]) -> tuple[Stratum, Stratum]:
    """The labels of one version by verdict: those drawn by it, an item once, where `judged` were flagged and passed.

    Raises:
        UserError: more items of a verdict are labelled than were judged so.
    """
    said: dict[str, list[Answer]] = defaultdict(list)
    verdicts: dict[str, bool] = {each.item: each.flagged for each in left}
    for row in rows:
        if row.verdict is not None and stratum_of(row.verdict) in row.drawn:
            said[row.item].append(row.answer)
            verdicts[row.item] = row.verdict
    labels = [Label(item, verdict, settled(said.get(item, []))) for item, verdict in verdicts.items()]
    return tally(labels, *judged)


def left_of(listed: Sequence[Listed], waiting: frozenset[str], rows: Sequence[Judged]) -> list[Left]:
    """What was drawn by its verdict, waits no longer, and has no answer that can be read."""
    answered = {row.item for row in rows}
    return [
        Left(each.trace, each.version, each.flagged)
        for each in listed
        if each.flagged is not None and stratum_of(each.flagged) in each.drawn and each.trace not in waiting | answered
    ]


def settled(answers: Sequence[Answer]) -> Answer:
    """What reviewers say together: the majority of those who could tell, "can't tell" in a tie."""
    counts = Counter(answers)
    lead = counts["unsupported"] - counts["supported"]
    return "unsupported" if lead > 0 else "supported" if lead < 0 else "can't tell"


def newest(version: str) -> tuple[int, str]:
    """Orders versions by their number."""
    return (int(version) if version.isdecimal() else -1, version)


def _version(
    domain: str,
    version: str,
    rows: Sequence[Judged],
    left: Sequence[Left],
    judged: tuple[int, int],
    how: How,
) -> Told:
    rate, drift, kept, problem = None, None, None, ""
    sides = Stratum(judged[0]), Stratum(judged[1])
    if not sum(judged):
        problem = "the judge read none of its answers, so there is no rate to correct"
    else:
        try:
            sides = strata(rows, left, judged)
        except UserError as error:
            problem = f"no rate: {error}"
        else:
            rate = corrected_rate(*sides, how.frozen, confidence=how.confidence)
            drift = drifted(how.frozen, *sides) if how.frozen else None
            kept = gated(*sides, how.budget, how.frozen, confidence=how.confidence) if how.budget < 1 else None
    reviewers = sorted({row.reviewer for row in rows})
    items = {row.item for row in rows}
    return Told(domain, version, *sides, rate, len(items), len(reviewers), _agreement(rows, reviewers), drift, kept, problem)


def _agreement(rows: Sequence[Judged], reviewers: Sequence[str]) -> Estimate | None:
    """None where fewer than two items have two answers."""
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        said[row.item][row.reviewer] = row.answer
    table = [[answers.get(reviewer) for reviewer in reviewers] for _, answers in sorted(said.items())]
    paired = sum(len(answers) > 1 for answers in said.values())
    return agreement(table) if paired > 1 else None


def _agreed(agreed: Estimate | None, items: int, reviewers: int) -> str:
    if agreed is None:
        return f"unknown: {reviewers} reviewers of {items} answers, and 2 answers must have 2 each"
    shown = f"alpha {agreed.value:.2f} [{agreed.low:.2f}, {agreed.high:.2f}]"
    return f"{shown}, {agreed.n} answers with two or more reviewers of {reviewers}"


def _drift(drift: Drift | None) -> str:
    if drift is None:
        return "not frozen for this domain: its drift is unknown, and no gate may trust it"
    rates = ", ".join(
        f"{name} {new.value:.1%} [{new.low:.1%}, {new.high:.1%}], frozen {old.value:.1%} [{old.low:.1%}, {old.high:.1%}]"
        for name, new, old in (("TPR", drift.tpr, drift.frozen_tpr), ("FPR", drift.fpr, drift.frozen_fpr))
    )
    return f"{drift.verdict}{' (gates that trust it stay shut)' if drift.closes else ''}: {rates}"


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": [estimate.low, estimate.high]}
