"""Is there a reason to train again? Pure: what was observed, the spec's bars and what came of earlier retrains decide.

A model that is fine is left alone, and one that a retrain does not mend is not trained over and over: after each retrain in a
row that did not help the wait doubles. Verdicts of the judge that no label corrected are no reason for anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

from scipy.special import betainc, betaln

from pipelines.spec import Watch
from pipelines.spec.watch import Kind

HOUR, DAY = 3_600.0, 86_400.0  # seconds
ALPHA = 0.001  # chance that a share at its bar is ever said to be above it, however often it is looked at
LEAST = 0.02  # share of doubted answers below which nobody asks for a retrain
WHY_CHARS = 400


@dataclass(frozen=True)
class Share:
    """`hits` of `n` answers; `bar` is the share that is still right."""

    hits: int
    n: int
    bar: float


@dataclass(frozen=True)
class Rate:
    """A rate that people's labels corrected, with its interval, and the bar that it should keep."""

    value: float
    low: float
    high: float
    bar: float


@dataclass(frozen=True)
class Observed:
    """What is known at `now` (all times in seconds since the epoch); None: it could not be told, and `untold` may say why.

    `busy` says what is at work already, empty where nothing is. `trained_at` is when the newest version was made or a retrain
    last tried. `drifted` is the drift look's verdict and `moved` its headline. `doubted` and `disliked` count answers of the
    version in production. `changed` names the inputs whose checksum is not that of the data last trained on.
    """

    now: float
    version: str | None = None
    busy: str = ""
    trained_at: float | None = None
    drifted: bool | None = None
    moved: str = ""
    doubted: Share | None = None
    disliked: Share | None = None
    unsupported: Rate | None = None
    labels: int | None = None
    changed: tuple[str, ...] | None = None
    untold: tuple[tuple[Kind, str], ...] = ()


@dataclass(frozen=True)
class Attempt:
    """A retrain that a watch started: the `version` it made, if any, and whether it `helped` (None: not decided yet)."""

    at: float
    why: str
    version: str | None = None
    helped: bool | None = None


@dataclass(frozen=True)
class Trigger:
    """Whether one reason holds, and what was seen, in a line."""

    kind: Kind
    fired: bool
    said: str


@dataclass(frozen=True)
class Decision:
    """Whether to retrain, why (or why not), on what, and until when a back-off holds (None: there is none)."""

    retrain: bool
    why: str
    triggers: tuple[Trigger, ...]
    backoff_until: float | None


def decide(observed: Observed, policy: Watch, history: Sequence[Attempt]) -> Decision:
    """Whether to start a retrain now. `history` holds earlier attempts, the oldest first."""
    triggers = tuple(Trigger(kind, *look(observed, policy)) for kind, look in LOOKS.items())
    until = backoff_until(history, policy)
    waiting = until is not None and observed.now < until
    if observed.trained_at is None:
        return Decision(False, "never trained: `seqline retrain` makes the first version", triggers, None)
    reasons = [each for each in triggers if each.fired and each.kind in policy.triggers]
    if not reasons:
        return Decision(False, "nothing calls for a retrain", triggers, until if waiting else None)
    why = "; ".join(f"{each.kind}: {each.said}" for each in reasons)[:WHY_CHARS]
    if observed.busy:
        return Decision(False, f"not now: {observed.busy} ({why})", triggers, until if waiting else None)
    if until is not None and waiting:
        hours = (until - observed.now) / HOUR
        return Decision(
            False, f"not now: the last retrain did not help, {hours:.1f} h of back-off left ({why})", triggers, until
        )
    return Decision(True, why, triggers, None)


def backoff_until(history: Sequence[Attempt], policy: Watch) -> float | None:
    """Until when no further retrain is started: `wait_hours` after the last that did not help, doubled for each before it in a
    row. None after one that helped, or that is not decided yet."""
    failed = 0
    for each in reversed(history):
        if each.helped is not False:
            break
        failed += 1
    if not failed:
        return None
    doubled = 2.0 ** min(failed - 1, 60)
    return history[-1].at + min(policy.wait_hours * doubled, policy.longest_wait_hours) * HOUR


def _cron(observed: Observed, policy: Watch) -> tuple[bool, str]:
    if observed.trained_at is None:
        return False, "never trained"
    days = (observed.now - observed.trained_at) / DAY
    return days >= policy.every_days, f"last trained {days:.1f} days ago (every {policy.every_days:g})"


def _drift(observed: Observed, _policy: Watch) -> tuple[bool, str]:
    if observed.drifted is None:
        return False, _untold("drift", observed, "unknown")
    return observed.drifted, (f"drifted: {observed.moved}" if observed.drifted else "not drifted")


def _quality(observed: Observed, _policy: Watch) -> tuple[bool, str]:
    looked = (("filters doubt", observed.doubted), ("senders dislike", observed.disliked))
    known = [(what, each) for what, each in looked if each is not None and each.n]
    if not known:
        return False, _untold("quality", observed, "nothing was doubted or rated yet")
    burning = [(what, each) for what, each in known if above(each)]
    return bool(burning), ", ".join(f"{what} {each.hits} of {each.n:,} (bar {each.bar:.1%})" for what, each in burning or known)


def _hallucination(observed: Observed, _policy: Watch) -> tuple[bool, str]:
    rate = observed.unsupported
    if rate is None:
        return False, _untold("hallucination", observed, "no labels: the judge's flags alone start nothing")
    said = f"unsupported {rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] by labels (bar {rate.bar:.1%})"
    return rate.low > rate.bar, said


def _labels(observed: Observed, policy: Watch) -> tuple[bool, str]:
    if observed.labels is None:
        return False, _untold("labels", observed, "unknown")
    return observed.labels >= policy.labels, f"{observed.labels} new labels (of {policy.labels})"


def _source(observed: Observed, _policy: Watch) -> tuple[bool, str]:
    if observed.changed is None:
        return False, _untold("source", observed, "unknown")
    if not observed.changed:
        return False, _untold("source", observed, "unchanged")
    named = ", ".join(observed.changed[:3]) + (f" and {len(observed.changed) - 3} more" if len(observed.changed) > 3 else "")
    return True, f"changed: {named}"


LOOKS: dict[Kind, Callable[[Observed, Watch], tuple[bool, str]]] = {
    "cron": _cron,
    "drift": _drift,
    "quality": _quality,
    "hallucination": _hallucination,
    "labels": _labels,
    "source": _source,
}


def _untold(kind: Kind, observed: Observed, otherwise: str) -> str:
    return next((said for about, said in observed.untold if about == kind), otherwise)


def above(share: Share) -> bool:
    """Whether it is shown that more than `bar` of all such answers are hits.

    Looked at ever so often while answers come, this is said of a share at or below its bar with probability ALPHA at most: the
    likelihood of the shares above the bar, all as probable, over that of the bar is a test martingale (Robbins 1970).
    """
    return evidence(share) >= -log(ALPHA)


def evidence(share: Share) -> float:
    """Natural log of the e-value against "at most `bar`". -inf where nothing speaks for more."""
    k, rest, bar = share.hits, share.n - share.hits, share.bar
    if bar >= 1:
        return float("-inf")
    if bar <= 0:
        return float("inf") if k else 0.0
    beyond = float(betainc(rest + 1, k + 1, 1 - bar))  # = 1 - betainc(k + 1, rest + 1, bar), exact where that is nearly 1
    if beyond <= 0:
        return float("-inf")
    mixed = log(beyond) + float(betaln(k + 1, rest + 1)) - log(1 - bar)
    return mixed - k * log(bar) - rest * log(1 - bar)
