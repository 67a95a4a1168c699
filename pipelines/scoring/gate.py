"""May this version enter a rollout? Pure: scores and policy in, rules with reasons out.

A rule passes only when its whole interval does: "inconclusive" never passes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines import spec
from pipelines.scoring.compare import Estimate, verdict

OPPONENTS = {
    "lead": "the first words of the source",
    "sentence": "the first sentence of the source",
    "constant": "the best constant answer",
    "other": "the output for another source",
    "champion": "the champion",
}


@dataclass(frozen=True)
class Rule:
    """One rule's number with its interval, the bar that the interval must clear, and a reason that an approver can read."""

    rule: str
    value: float | None
    interval: tuple[float, float] | None
    bar: float | None
    verdict: str
    passed: bool
    reason: str


def gate(scores: Mapping[str, Any], policy: spec.Gate) -> tuple[Rule, ...]:
    """Apply every rule of `policy` to `scores` (the content of scores.json).

    The gate is open when all rules passed. The champion's rule is skipped, and says so, when there is no champion.
    """
    return tuple(_rules(scores, policy))


def _rules(scores: Mapping[str, Any], policy: spec.Gate) -> Iterator[Rule]:
    if policy.reads_source:
        yield _beats("reads_source", "other", scores)
    for opponent in policy.beats:
        yield _beats(f"beats_{opponent}", opponent, scores)
    yield _champion(scores, policy.margin)
    if policy.max_flagged < 1:
        yield _flagged(scores["judge"], policy.max_flagged)
    yield _leaks(scores["leaks"])


def _difference(opponent: str, scores: Mapping[str, Any]) -> Estimate:
    found = scores["baselines"][opponent]["difference"]
    low, high = found["interval"]
    return Estimate(found["value"], low, high, scores["n"])


def _beats(rule: str, opponent: str, scores: Mapping[str, Any]) -> Rule:
    gain = _difference(opponent, scores)
    outcome = verdict(gain)
    outcome = "inconclusive" if outcome == "not worse" else outcome
    reason = f"{scores['metric']} of the outputs minus that of {OPPONENTS[opponent]}: {_shown(gain)}; must lie above 0"
    return Rule(rule, gain.value, (gain.low, gain.high), 0.0, outcome, outcome == "better", reason)


def _champion(scores: Mapping[str, Any], margin: float) -> Rule:
    if "champion" not in scores["baselines"]:
        reason = "there is no champion yet: the first version is let in by the other rules alone"
        return Rule("champion", None, None, -margin, "skipped", True, reason)
    gain = _difference("champion", scores)
    outcome = verdict(gain, margin)
    reason = f"{scores['metric']} minus the champion's: {_shown(gain)}; must lie above -{margin:g}"
    return Rule("champion", gain.value, (gain.low, gain.high), -margin, outcome, outcome in ("better", "not worse"), reason)


def _flagged(judge: Mapping[str, Any], bar: float) -> Rule:
    rate, (low, high) = judge["flagged"]["value"], judge["flagged"]["interval"]
    outcome = "within" if high <= bar else "beyond" if low > bar else "inconclusive"
    reason = f"the judge flags {rate:.1%} [{low:.1%}, {high:.1%}] of the outputs; the upper end must not exceed {bar:.1%}"
    return Rule("max_flagged", rate, (low, high), bar, outcome, outcome == "within", reason)


def _leaks(leaks: Mapping[str, Any]) -> Rule:
    """A count, not a sample of something larger: one address too many is one too many."""
    found, bar = leaks["outputs"]["count"], leaks["references"]["count"]
    passed = found <= bar
    low, high = leaks["outputs"]["interval"]
    kinds = ", ".join(f"{kind} {n}" for kind, n in leaks["kinds"].items()) or "none"
    reason = f"outputs with personal data that their source lacks: {found} ({kinds}); the references have {bar}"
    n = leaks["n"]
    return Rule("leaks", found, (low * n, high * n), bar, "within" if passed else "beyond", passed, reason)


def _shown(gain: Estimate) -> str:
    return f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}], n = {gain.n}"
