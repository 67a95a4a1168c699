"""What the status page knows of a model, each fact with the time it was seen. Times are seconds since the epoch."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Known(Generic[T]):
    """A fact as it was seen last: `value` at the time `at`, both None before the first time.

    `problem` says why the latest look found nothing; the value is then the one before. `stale_after` seconds is how old the
    fact may be before it says nothing of now.
    """

    value: T | None = None
    at: float | None = None
    problem: str = ""
    stale_after: float = 60.0

    def fresh(self, now: float) -> bool:
        """Whether it may be taken for how things are now."""
        return self.value is not None and self.at is not None and abs(now - self.at) <= self.stale_after  # clocks are set back


@dataclass(frozen=True)
class Sli:
    """An error budget: share `left` (below 0: overspent), spent `burn` times as fast as it may be; `bad` of `requests`."""

    name: str
    objective: float
    left: float
    burn: float
    requests: int
    bad: int


@dataclass(frozen=True)
class Arms:
    """Bad answers of an SLI in a rollout, (bad, all) an arm, and its e-value as told to people."""

    sli: str
    canary: tuple[int, int]
    champion: tuple[int, int]
    mirrored: tuple[int, int]
    e: str


@dataclass(frozen=True)
class Rollout:
    """A rollout in flight, at the step `at` of `steps` (shadow, the stages, who lets it in, all).

    `e` is the evidence against it, `bar` where it is rolled back; `reasons` say how it stands and what would end it.
    """

    version: str
    champion: str | None
    phase: str
    where: str
    steps: tuple[str, ...]
    at: int
    opened_at: float
    e: str
    bar: str
    arms: tuple[Arms, ...]
    reasons: tuple[str, ...]
    ticked_at: float | None
    watched: bool
    approval: str | None


@dataclass(frozen=True)
class Decision:
    at: float
    version: str
    action: str
    reason: str


@dataclass(frozen=True)
class Standing:
    """How a model stands by the rollout database: `safe` and `verdict` are those of `seqline status`.

    `since` and `approver` are of the version in `production`; `weight` is the canary's share of the users in percent.
    """

    safe: bool
    verdict: str
    production: str | None
    since: float | None
    approver: str | None
    weight: float
    held: str | None
    paged: tuple[str, ...]
    rollout: Rollout | None
    budgets: tuple[Sli, ...]
    answered_at: float | None
    untold: int
    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class Gateway:
    """What a gateway says of itself. `p95` in seconds over the last `window` seconds, None where nobody was answered then.

    `model` is whose gateway it is ("" of one that does not say); `follows`: it serves by the newest route that it has read.
    """

    ok: bool
    p95: float | None
    window: float
    answers: int
    in_flight: int
    overloaded: bool
    model: str = ""
    follows: bool = True


@dataclass(frozen=True)
class Day:
    """`bad` of `n` answers on the day that began at `at` (UTC)."""

    at: float
    bad: int
    n: int


@dataclass(frozen=True)
class Alert:
    """An alert that fires: a page wakes a person, a ticket waits. `runbook` is the name of a page of infra/runbooks/."""

    name: str
    severity: str
    said: str
    since: float | None
    runbook: str


@dataclass(frozen=True)
class Doubts:
    """Share of answers that filters doubt, by time: from Prometheus."""

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Memory:
    """What MLflow knows: the newest version, and how many answers wait for a person's label (None: there is no queue)."""

    newest: str | None
    made_at: float | None
    state: str
    why: str
    waiting: int | None
    experiment: str | None


@dataclass(frozen=True)
class Run:
    """A run of a deployment; `took` in seconds. `outcome` is Prefect's word for its state."""

    id: str
    name: str
    outcome: str
    started: float | None
    took: float


@dataclass(frozen=True)
class Scheduled:
    """A deployment `KIND/model`: when it is due next, and how it went last (newest first)."""

    kind: str
    model: str
    next_at: float | None
    paused: bool
    last: tuple[Run, ...]


@dataclass(frozen=True)
class Drift:
    verdict: str
    version: str
    sides: tuple[tuple[str, str, str], ...]
    """(side, verdict, why)"""


@dataclass(frozen=True)
class Watch:
    """What the watch decided: `fired` are (kind, what was seen) of the reasons that hold; `last` tells of the last retrain."""

    retrain: bool
    why: str
    fired: tuple[tuple[str, str], ...]
    backoff_until: float | None
    last: str


@dataclass(frozen=True)
class Cost:
    """What 1,000 requests and the last retrain cost, and the month: spent, forecast, budget. None where nobody told a price."""

    currency: str
    versions: tuple[tuple[str, str, float | None], ...]
    """(version, decoding, price of 1,000 requests), the most asked first."""
    retrain: float | None
    spent: float | None
    forecast: float | None
    budget: float | None


@dataclass(frozen=True)
class Doctor:
    """The gaps that `seqline doctor` found in a phase: (check, what is wrong, how to mend it)."""

    phase: str
    checks: int
    gaps: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Labels:
    """What people's labels say of the newest version: rates judged and corrected, how many labels that rests on."""

    version: str
    judged: float | None
    corrected: tuple[float, float, float] | None
    labels: int


@dataclass(frozen=True)
class Kept:
    """Samples after the last sweep: how many are kept and were deleted; `days` is how long they may be kept."""

    kept: int
    deleted: int
    days: float


@dataclass(frozen=True)
class Model:
    name: str
    task: str
    target: float
    """Seconds: what `slo.latency` promises."""
    gateway_url: str
    standing: Known[Standing] = Known()
    gateway: Known[Gateway] = Known()
    judged: Known[tuple[Day, ...]] = Known()
    doubts: Known[Doubts] = Known()
    alerts: Known[tuple[Alert, ...]] = Known()
    memory: Known[Memory] = Known()
    scheduled: Known[tuple[Scheduled, ...]] = Known()
    drift: Known[Drift] = Known()
    watch: Known[Watch] = Known()
    cost: Known[Cost] = Known()
    doctor: Known[Doctor] = Known()
    labels: Known[Labels] = Known()
    kept: Known[Kept] = Known()


@dataclass(frozen=True)
class Place:
    """A link; `answers` is None where nobody asked yet."""

    what: str
    url: str
    shows: str
    answers: bool | None = None
    problem: str = ""


@dataclass(frozen=True)
class Overview:
    """All that the page says, gathered at `at`. `others` are schedules of what is no served model (judges)."""

    at: float
    models: tuple[Model, ...]
    places: tuple[Place, ...]
    others: tuple[Scheduled, ...] = ()
    runbooks: tuple[str, ...] = ()
    problem: str = ""
