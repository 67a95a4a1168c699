"""`slo` and `rollout`: what the gateway promises, and how a version takes over."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.spec.section import Percent, Section, Share
from pipelines.spec.serving import Filters


class Objective(Section):
    objective: float = Field(gt=0, lt=1)
    """Share of good requests promised."""

    @field_validator("objective", mode="before")
    @classmethod
    def leaves_a_budget(cls, given: object) -> object:
        if isinstance(given, int | float) and given >= 1:
            raise ValueError(f"must be a share below 1, such as 0.99, not {given:g}: with 1 there is no error budget to spend")
        return given


class Latency(Objective):
    target_ms: int = Field(ge=1)
    """A slower answer is a bad one."""


class Slo(Section):
    window_days: int = Field(30, ge=1)
    """Window of the error budget."""
    availability: Objective = Objective(objective=0.99)
    """Requests answered without an error."""
    latency: Latency = Latency(objective=0.99, target_ms=1_000)
    """Requests answered within the target."""
    pii: Objective | None = None
    """Requests whose answers, as the model gave them, brought up no personal data that was not sent, redacted or not; not
    promised by default. Needs `serving.filters.leak`."""
    policy: Objective | None = None
    """Requests whose answers, as the model gave them, matched none of `serving.filters.patterns`; not promised by default."""
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Where less than 98 % is promised, a multiple of the budget means little: there the canary may be bad more often than the
    champion by less than this share, at the last stage (before: as much wider as the stage's burn is)."""
    judged: Share = 0.25
    """Share of requests whose answers the judge reads, alike in both arms. Its flags, and its
    score of each answer (quality), only compare canary and champion."""
    judge_margin: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The canary may be flagged more often than the champion by less than this share, at the last stage (before: as much wider
    as the stage's burn is)."""

    def check(self, filters: Filters) -> None:
        """Raises:
        ValueError: an SLI is promised that no filter looks for.
        """
        if self.pii and filters.leak == "off":
            raise ValueError("slo.pii needs serving.filters.leak, which is off: set it to flag, redact or refuse")
        if self.policy and not filters.patterns:
            raise ValueError("slo.policy needs serving.filters.patterns, and there are none: name some, or leave it out")
        if self.policy and filters.pattern == "off":
            raise ValueError("slo.policy needs serving.filters.pattern, which is off: set it to flag or refuse")


class Stage(Section):
    weight: Percent
    """Share of the users, in percent."""
    burn: float = Field(gt=1)
    """The stage is left when a burn of this many times max(budget, the champion's own bad rate) is excluded."""


class Replay(Section):
    rate: float = Field(40, gt=0)
    """Requests a second."""
    users: int = Field(5_000, ge=1)
    """Distinct senders (X-User)."""


class Probation(Section):
    hours: float = Field(24, ge=0)
    """For how long a promoted version is watched, with the former champion kept warm to go back to. 0: not at all."""
    holdback: Annotated[float, Field(gt=0, lt=100)] = 1
    """Share of the users who keep the former champion meanwhile, in percent; never more than the last stage leaves them."""


class Rollout(Section):
    stages: tuple[Stage, ...] = (
        Stage(weight=1, burn=50),
        Stage(weight=5, burn=10),
        Stage(weight=25, burn=4),
        Stage(weight=50, burn=2),
    )
    """Shadow comes before these, approval and 100 % after."""
    shadow_requests: int = Field(100, ge=1)
    """Mirrored answers needed to leave shadow."""
    stage_requests: int = Field(50, ge=1)
    """Canary answers needed to leave a stage, whatever they prove."""
    stage_seconds: float = Field(120, ge=0)
    """Shortest time in a stage."""
    mirrored: bool = False
    """The champion's requests go to the canary in the stages, too, where there is room: the proof comes sooner and costs users
    nothing, but the canary answers all that the champion does."""
    probation: Probation = Probation()
    """After the approval. Only a running controller (the scheduled `rollout` flow) keeps and ends it."""
    approval_days: float = Field(7, gt=0)
    """Days after which an unanswered gate is opened anew, on the evidence of that day."""
    alpha: float = Field(0.01, gt=0, lt=0.5)
    """Chance that a canary no worse than the champion is ever rolled back, all tests together."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence with which a stage's burn must be excluded."""
    approval: Literal["person", "gates"] = "person"
    """Who opens the last gate: a person in the MLflow UI, or the gates alone."""
    approvers: int = Field(1, ge=1, le=2)
    """Distinct people who must press Promote model. Two need MLflow's authentication (infra/auth.ini): else nobody is named."""
    traffic: Literal["live", "replay"] = "live"
    """`replay` sends held-out requests through the gateway while a rollout is open."""
    replay: Replay = Replay()
    """The replayed traffic."""

    @model_validator(mode="after")
    def stages_rise(self) -> "Rollout":
        weights = [stage.weight for stage in self.stages]
        if not weights or weights != sorted(set(weights)) or weights[-1] >= 100:
            told = ", ".join(f"{weight:g}" for weight in weights) or "none"
            raise ValueError(f"stages must rise in weight and stay below 100 (the last step is the approval): they are {told}")
        return self

    @model_validator(mode="after")
    def people_are_asked(self) -> "Rollout":
        if self.approvers > 1 and self.approval != "person":
            raise ValueError("approvers: 2 asks for people: set `approval: person`, or leave it out")
        return self
