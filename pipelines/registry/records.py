"""What the registry takes and gives back: plain frozen records, light to import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.artifact import Artifact, Clean, Dataset, Export, Report, Weights

PRODUCTION = "-prod"


@dataclass(frozen=True)
class Version:
    """A registered version; `manifest` is the sha256 of its sealed Export's manifest.json ("" for a version not made by us)."""

    name: str
    version: str
    run_id: str
    manifest: str

    @property
    def source(self) -> str:
        """What a copy of this version into `NAME-prod` names as its source."""
        return f"models:/{self.name}/{self.version}"

    @property
    def production(self) -> str:
        return self.name + PRODUCTION


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from. `data_dvc` is the text of data.dvc; the sha256s are hex; `dirty` = uncommitted changes.

    `teacher` is the version whose answers it learned from (name, version, export_sha256), if any; `why` is the reason of the
    watch that started the retrain, empty where a person or the schedule did.
    """

    spec: Mapping[str, Any]
    spec_sha256: str
    data_md5: str
    data_dvc: str
    commit: str
    dirty: bool
    constraints_sha256: str
    teacher: Mapping[str, str] | None = None
    why: str = ""


@dataclass(frozen=True)
class Made:
    """A version as it was registered, `at` in seconds since the epoch; `why` as in Lineage."""

    version: str
    run_id: str
    at: float
    why: str


@dataclass(frozen=True)
class Candidate:
    """All that becomes one version. `key` is the content key that a later run asks `find` for."""

    key: str
    task: str
    export: Export
    report: Report
    dataset: Dataset
    clean: Clean
    page: Artifact
    """data.html: what the data is, for a person to look at."""
    weights: Weights
    privacy: Mapping[str, Any]
    decoding: Mapping[str, Any]
    lineage: Lineage
    kind: Literal["seq2seq", "judge"] = "seq2seq"


@dataclass(frozen=True)
class Approval:
    """A version of `NAME-prod` as judged by the gate's rules; `at` is the server's creation time (seconds since the epoch)."""

    prod_version: str
    accepted: bool
    reason: str
    user: str | None
    at: float


@dataclass(frozen=True)
class Entry:
    """One line of a model's history; `at` in seconds since the epoch, `id` the same however often it was recorded."""

    at: float
    version: str
    event: str
    id: str
    detail: Mapping[str, Any] = field(default_factory=dict)
