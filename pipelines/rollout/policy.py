"""What the spec asks of a rollout, and the state of one: frozen records that go to the database and back as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from pipelines import spec
from pipelines.rollout.budget import Budget
from pipelines.rollout.evidence import Count, Evidence, Sli
from pipelines.rollout.watch import Watch

DAY = 86_400.0
CERTAIN = ("availability", "latency", "pii", "policy")  # SLIs that budgets count; a judge's flags are opinions

LEAST_BURN = 0.98  # objective from which on a stage excludes a multiple of the budget


class Action(StrEnum):
    HOLD = "hold"
    ADVANCE = "advance"
    REARM = "rearm"
    ROLLBACK = "rollback"
    OPEN_GATE = "open_gate"
    PROMOTE = "promote"
    SET_BACK = "set_back"
    END_PROBATION = "end_probation"
    FINISH = "finish"


class Phase(StrEnum):
    FIRST = "first"
    SHADOW = "shadow"
    STAGE = "stage"
    APPROVAL = "approval"
    PROBATION = "probation"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


TERMINAL = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK})


@dataclass(frozen=True)
class Rule:
    """An SLI. `objective` is the share of good requests promised; None: compared with the champion only (judge's flags).

    A canary leaves the last stage only if it is bad less than `margin` more often than the champion; None: only if it excludes
    that stage's burn or, of an SLI without an objective, whatever it proves.
    """

    name: str
    objective: float | None
    margin: float | None = None

    @property
    def budget(self) -> float:
        """Bad rate that the promotion test starts from; flags have none, they are only compared."""
        if self.objective is None:
            raise ValueError(f"{self.name} has no budget")
        return 1 - self.objective


@dataclass(frozen=True)
class Policy:
    """What the spec asks for. `stages` are (weight in percent, burn to exclude); times in seconds.

    `mirrored`: the champion's requests go to the canary in the stages, too, not in shadow alone. `shadow_requests` = 0: no
    shadow. No stages: shadow alone. `suspicion` is the e-value against the canary from which it does not move on.
    `probation_seconds` = 0: no probation; else `holdback` percent of the users keep the former champion in it.
    """

    slis: tuple[Rule, ...]
    stages: tuple[tuple[float, float], ...]
    shadow_requests: int = 100
    alpha: float = 0.01
    confidence: float = 0.95
    person: bool = True
    window: float = 30 * DAY
    stage_requests: int = 50
    stage_seconds: float = 120.0
    gate_seconds: float = 7 * DAY
    ask_seconds: float = DAY
    mirrored: bool = False
    suspicion: float = 1.2
    probation_seconds: float = 0.0
    holdback: float = 1.0

    @classmethod
    def of(cls, slo: spec.Slo, rollout: spec.Rollout) -> "Policy":
        promised = {"availability": slo.availability, "latency": slo.latency, "pii": slo.pii, "policy": slo.policy}
        judge = (Rule("judge", None, slo.judge_margin), Rule("quality", None)) if slo.judged > 0 else ()
        return cls(
            (*(_promised(name, each.objective, slo.margin) for name, each in promised.items() if each), *judge),
            tuple((stage.weight, stage.burn) for stage in rollout.stages),
            shadow_requests=rollout.shadow_requests,
            alpha=rollout.alpha,
            confidence=rollout.confidence,
            person=rollout.approval == "person",
            window=slo.window_days * DAY,
            stage_requests=rollout.stage_requests,
            stage_seconds=rollout.stage_seconds,
            gate_seconds=rollout.approval_days * DAY,
            mirrored=rollout.mirrored,
            probation_seconds=rollout.probation.hours * 3_600,
            holdback=min(rollout.probation.holdback, 100 - rollout.stages[-1].weight),
        )

    @property
    def bar(self) -> float:
        """Natural log of the e-value from which the canary is rolled back."""
        return -math.log(self.alpha)

    def widened(self, margin: float, stage: int) -> float:
        """By how much more often than the champion the canary may be bad and still leave `stage`.

        `margin` at the last stage; before it as much wider as that stage's burn is.
        """
        return margin * self.stages[stage][1] / self.stages[-1][1]

    @property
    def stage_bar(self) -> float:
        """Natural log of the e-value that leaves a stage.

        It need not be shared out over the stages: a canary that burns what the last stage excludes must pass that stage, too,
        whatever came before, so that it is let in with a chance of at most 1 - confidence.
        """
        return -math.log(1 - self.confidence)

    @property
    def shadow_burn(self) -> float:
        """The burn that shadow excludes: the last stage's but one. What is seen there costs no user anything."""
        return self.stages[-2:][0][1] if self.stages else 2.0


@dataclass(frozen=True)
class Gate:
    """The gate before 100 %, bound to the evidence it was opened on."""

    opened_at: float
    expires_at: float
    digest: str
    markdown: str


@dataclass(frozen=True)
class State:
    """One rollout in flight. `before` holds each certain SLI's counts in the window before it, `counted_since` their start.

    `watched` are the certain SLIs of a probation, against what the champion did before.
    """

    phase: Phase
    since: float
    opened_at: float
    evidence: Evidence
    stage: int = 0
    gate: Gate | None = None
    before: Mapping[str, Count] = field(default_factory=dict)
    counted_since: float | None = None
    watched: Mapping[str, Watch] = field(default_factory=dict)


@dataclass(frozen=True)
class Approved:
    """A version of NAME-prod that the registry's rules accepted for the waiting candidate."""

    prod_version: str
    digest: str
    at: float
    user: str | None = None


@dataclass(frozen=True)
class Observed:
    """What a tick sees beside the events: the time, an approval if there is one, and whether all effects have been applied."""

    now: float
    approval: Approved | None = None
    drained: bool = True


@dataclass(frozen=True)
class Decision:
    action: Action
    reasons: tuple[str, ...]
    numbers: Mapping[str, float]


def _promised(name: str, objective: float, margin: float) -> Rule:
    """The rule of an SLI with a budget. Below LEAST_BURN a burn of 50 is more than all answers: there the margin counts."""
    return Rule(name, objective, margin if objective < LEAST_BURN else None)


def start(version: str, champion: str | None, now: float) -> State:
    """The state of a new rollout. Without a champion there is nothing to compare with, and nobody to fall back to."""
    found = Evidence(champion or "", version, {}, weights=((now, 0.0),))
    return State(Phase.SHADOW if champion else Phase.FIRST, now, now, found)


def prepared(state: State, policy: Policy) -> State:
    """`state` with a place for every SLI of the policy, and for no other."""
    slis = {rule.name: state.evidence.slis.get(rule.name, Sli()) for rule in policy.slis}
    watched = {name: watch for name, watch in state.watched.items() if name in slis}
    return replace(state, watched=watched, evidence=replace(state.evidence, slis=slis))


def budget(state: State, rule: Rule, policy: Policy, now: float) -> Budget:
    """The error budget of a certain SLI now: what was before the rollout, and what users have met in it."""
    if rule.objective is None:
        raise ValueError(f"{rule.name} has no budget")
    sli = state.evidence.slis[rule.name]
    seen = state.before.get(rule.name, Count()) + sli.champion + sli.canary
    began = state.opened_at if state.counted_since is None else state.counted_since
    return Budget(rule.objective, policy.window, now - began, seen)


def stage_name(state: State, policy: Policy) -> str:
    """Where a rollout is, for people."""
    if state.phase is Phase.STAGE:
        return f"{policy.stages[state.stage][0]:g} % (stage {state.stage + 1} of {len(policy.stages)})"
    if state.phase is Phase.APPROVAL and policy.stages:
        return f"{policy.stages[state.stage][0]:g} %, waiting for approval"
    if state.phase is Phase.PROBATION:
        end = datetime.fromtimestamp(state.since + policy.probation_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{100 - policy.holdback:g} %, on probation until {end}"
    return {
        Phase.SHADOW: "shadow (mirrored, no user sees it)",
        Phase.FIRST: "first version",
        Phase.APPROVAL: "waiting for approval",
    }.get(state.phase, state.phase.replace("_", " "))


def traffic(state: State, policy: Policy) -> tuple[float, bool]:
    """Return the canary's weight in percent and whether it is mirrored."""
    if state.phase in (Phase.STAGE, Phase.APPROVAL) and policy.stages:
        return policy.stages[state.stage][0], policy.mirrored
    if state.phase is Phase.PROBATION:
        return 100 - policy.holdback, False
    return 0.0, state.phase in (Phase.SHADOW, Phase.APPROVAL) and policy.shadow_requests > 0
