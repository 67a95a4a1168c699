"""What is broken, from outside, and which alerts must come of it: each in a region of its own, so that none hides another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.infra.watching import Due
from tests.serving.judge import Judge
from tests.serving.site import Site

LEAK = "forbidden: ask Harry Potterfield <harry.potterfield@example.net>"
LOOP = "and again and again and again and again and again and again and again and again"
OFTEN = 0.5  # of the canary's answers: twenty bad ones in a row blow the gateway's fuse, and it is asked no more
OPS_PAGE, OPS_TICKET, ML_PAGE, ML_TICKET = "/ops/page", "/ops/ticket", "/ml/page", "/ml/ticket"
Break = Callable[[Site, Judge], None]


@dataclass(frozen=True)
class Scene:
    """A fault, what comes of it while it lasts, what it silences, and what comes once it is over.

    `spec` are sections of the gateway's spec; `canary` is a version that half of the senders meet; where `rated`, they say what
    they think of its answers. `ends` says whether what came is waited for to be resolved.
    """

    region: str
    fault: str
    due: tuple[Due, ...]
    strike: Break
    canary: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    silenced: tuple[Due, ...] = ()
    after: tuple[Due, ...] = ()
    rated: bool = False
    ends: bool = True


def _fail(site: Site, _: Judge) -> None:
    site.faults["1"].fail = 1.0


def _slow(site: Site, _: Judge) -> None:
    site.faults["1"].delay, site.faults["1"].delay_seconds = 1.0, 4.0


def _leak(site: Site, _: Judge) -> None:
    site.faults["2"].replace, site.faults["2"].text = OFTEN, LEAK


def _failing_canary(site: Site, _: Judge) -> None:
    site.faults["2"].fail = OFTEN


def _looping_canary(site: Site, _: Judge) -> None:
    site.faults["2"].replace, site.faults["2"].text = OFTEN, LOOP


def _nothing(site: Site, _: Judge) -> None:
    site.route(champion=None)  # type: ignore[arg-type]  # as before the first version was let in


def _deaf(_: Site, judge: Judge) -> None:
    judge.close()


def _none(_site: Site, _judge: Judge) -> None:
    """The fault stands in the spec: an engine's hour that costs a fortune."""


def _of(sli: str, path: str) -> tuple[Due, ...]:
    named = {"sli": sli}
    return Due(f"{sli.title()}BelowObjective", path, named), Due("BurnOver4x", path, named)


def _slowly(sli: str, path: str) -> Due:
    return Due("BudgetBurnsSlowly", path, {"sli": sli})


SECOND = {"version": "2"}
ALL = (
    Scene(
        "engine", "the engine answers 500, behind a proxy", _of("availability", OPS_PAGE), _fail,
        silenced=(_slowly("availability", OPS_TICKET),), after=(_slowly("availability", OPS_TICKET),),
    ),
    Scene(
        "network", "4 s more between gateway and engine", (*_of("latency", OPS_PAGE), Due("LatencyP99Breach", OPS_PAGE)),
        _slow, silenced=(_slowly("latency", OPS_TICKET),), after=(_slowly("latency", OPS_TICKET),),
    ),
    Scene(
        "words", "half of a canary's answers hold a forbidden word and a stranger's address",
        (*_of("pii", ML_PAGE), *_of("policy", ML_PAGE)), _leak, canary="2",
        silenced=(Due("QualityDip", ML_TICKET, SECOND), _slowly("pii", ML_TICKET), _slowly("policy", ML_TICKET)),
        after=(_slowly("pii", ML_TICKET), _slowly("policy", ML_TICKET)),
    ),
    Scene(
        "canary", "half of the canary's answers are 500", (Due("VersionErrorRegression", ML_PAGE, SECOND),),
        _failing_canary, canary="2",
    ),
    Scene(
        "quality", "half of a canary's answers repeat themselves, and senders dislike them",
        (Due("QualityDip", ML_TICKET, SECOND), Due("FeedbackDip", ML_TICKET, SECOND)), _looping_canary, canary="2",
        rated=True, ends=False,
    ),
    Scene("empty", "no version is in production", (Due("ServerErrors", OPS_PAGE),), _nothing),
    Scene(
        "judge", "the judge's process is gone", (Due("GatewayLoses", OPS_TICKET, {"what": "pairs"}),), _deaf,
        spec={"slo": {"judged": 1.0}}, ends=False,
    ),
    Scene(
        "money", "an engine's hour costs 3.6 billion", (Due("CostNearCap", OPS_TICKET),), _none,
        spec={"serving": {"cost": {"per_engine_hour": 3.6e9, "cap_per_hour": 1e6, "budget_per_month": 5_000.0}}}, ends=False,
    ),
)  # fmt: skip
DOWN = Due("GatewayDown", OPS_PAGE)
KNOWN = (
    Due("TrafficDrifted", ML_TICKET), Due("LabelBacklog", ML_TICKET),
    Due("MonthOverBudget", OPS_TICKET), Due("StaleIndex", OPS_TICKET),
)  # fmt: skip
