"""What the doctor's checks look at. flows/commands/facts.py gathers it, each fact when a check first asks for it.

None is "cannot be told": the source did not answer, or there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines.rollout.evidence import Count
from pipelines.spec import Spec


@dataclass(frozen=True)
class Probe:
    """What came of one text that the gateway was asked: which version answered, and what was given up for it."""

    version: str | None
    degraded: frozenset[str] = frozenset()
    problem: str = ""


@dataclass(frozen=True)
class Routes:
    """Alertmanager's configuration: who is told where, by (team, severity); `problem` is what amtool complained of."""

    told: Mapping[tuple[str, str], str]
    addresses: Sequence[str]
    problem: str = ""


@dataclass(frozen=True)
class Gateway:
    """A gateway that answers: what it says of itself, and since when it runs (seconds since the epoch, to the second)."""

    said: Mapping[str, Any]
    since: float

    def same(self, other: "Gateway") -> bool:
        """Is it that very process's, not one that was started in its place?"""
        return self.said["pid"] == other.said["pid"] and abs(self.since - other.since) <= ROUNDED


ROUNDED = 1.5
"""Seconds by which two looks at the same start may differ: the gateway rounds to one."""


class Facts(Protocol):
    """Times are in seconds since the epoch."""

    @property
    def spec(self) -> Spec: ...
    @property
    def now(self) -> float: ...
    @property
    def status(self) -> Mapping[str, Any] | None:
        """As `seqline status` has it, of the rollout database."""

    @property
    def gateway(self) -> Gateway | None: ...
    @property
    def metrics(self) -> Mapping[str, float] | None:
        """The gateway's metrics, each summed over its labels."""

    @property
    def probe(self) -> Probe | None: ...
    @property
    def scraped(self) -> bool | None:
        """Does Prometheus reach the gateway?"""

    @property
    def latency(self) -> Count | None:
        """Answers of the version in production that users met or that were mirrored, and the slow ones of them."""

    @property
    def actions(self) -> frozenset[str] | None:
        """All that was ever decided about the model: advance, promote, rollback, ..."""

    @property
    def lineage(self) -> Mapping[str, Any] | None:
        """Of the version in production, from the registry."""

    @property
    def stale(self) -> Sequence[str] | None:
        """Files of infra/ that are not what the specs say."""

    @property
    def rules(self) -> str | None:
        """What promtool says against the rules, "" for nothing."""

    @property
    def routes(self) -> Routes | None: ...
    @property
    def cores(self) -> int: ...
    @property
    def backup_at(self) -> float | None:
        """When the newest whole backup was made."""

    @property
    def recent(self) -> Mapping[str, Mapping[str, Count]] | None:
        """What users met in the last hour: version -> SLI -> answers, and bad ones."""

    @property
    def incident(self) -> float | None:
        """Since when there is one, as far as the rollout database knows; None where there is none."""

    @property
    def doubted(self) -> int | None:
        """Answers that were kept for people since the incident began, because something doubted them."""

    @property
    def postmortem_at(self) -> float | None:
        """When the newest postmortem of the model was opened."""

    @property
    def drained(self) -> Gateway | None:
        """The gateway that somebody asked to drain last."""

    @property
    def written_at(self) -> float:
        """When the spec's YAML last changed."""

    @property
    def damage(self) -> Sequence[str] | None:
        """What is broken of what seqline remembers: databases, versions' files."""
