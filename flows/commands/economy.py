"""What `sweep`, `distil` and a spec's `teacher` share: a registered version with its pairs, and scoring as the judge."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.settings import Settings
from pipelines import artifact
from pipelines.artifact import Dataset, Export
from pipelines.decode import Reading
from pipelines.economy.judging import Measured
from pipelines.errors import UserError
from pipelines.spec import Data, Privacy, Scoring, Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.scoring.compare import Estimate


@dataclass(frozen=True)
class Registered:
    """A version: its verified Export, the spec that made it (as the registry has it), and the pairs it was made from."""

    name: str
    version: str
    export: Export
    spec: dict[str, Any]
    pairs: Dataset


def registered(asked: str, settings: Settings) -> Registered:
    """The version that `asked` names: NAME (its champion), NAME@ALIAS or NAME@VERSION.

    Raises:
        UserError: there is no such version, or its pairs are not here.
    """
    from pipelines.registry import Registry

    name, _, which = asked.partition("@")
    registry = Registry(settings.mlflow, settings.artifacts)
    lineage = registry.lineage(name, which or "champion")
    version = lineage["version"]
    folder = registry.fetch(name, version, settings.folder("live", name), settings.signer)
    export = Export(folder, artifact.file_sha256(folder / artifact.MANIFEST))
    return Registered(name, version, export, lineage["spec"], _pairs(name, lineage["dataset_sha256"], settings))


def _pairs(name: str, sha256: str, settings: Settings) -> Dataset:
    """The dataset with this digest; where it is gone the published one, said in a line: later splits may be larger.

    Raises:
        UserError: neither is here.
    """
    from rich.console import Console

    published = settings.project / "data" / name
    made = sorted((settings.workspace / "work" / name).glob("dataset-*"))
    found = [each for each in (artifact.existing(Dataset, folder) for folder in (*made, published)) if each]
    for each in found:
        if each.sha256 == sha256:
            return each
    if (published / "test.parquet").is_file():
        Console(stderr=True, soft_wrap=True).print(
            f"{name}: the pairs that this version was made from are gone: data/{name} as it is now stands in; where its "
            "splits grew since, the version has learned from some of what is held out now",
            markup=False,
        )
        return next((each for each in found if each.path == published), Dataset(published, _digest(published)))
    raise UserError(f"{name}: the pairs it was scored on are not here: `dvc pull` brings data/{name}")


def _digest(folder: Path) -> str:
    return artifact.digest([(path.name, artifact.file_sha256(path)) for path in sorted(folder.glob("*.parquet"))])


def same_pairs(student: Spec, teacher: Registered) -> None:
    """Raises UserError where the two read or scrub other data: the student would be tested on what its teacher learned from."""
    same = {
        "data": Data.model_validate(teacher.spec["data"]) == student.data,
        "privacy": Privacy.model_validate(teacher.spec["privacy"]) == student.privacy,
    }
    for key in (key for key, holds in same.items() if not holds):
        which = f"{teacher.name} version {teacher.version}"
        raise UserError(f"{key}: must be as in {which}, whose pairs the student learns from: copy it from its YAML")


def in_production(name: str, settings: Settings) -> Path | None:
    """The folder of the champion of `name`, None while there is none."""
    from pipelines.registry import Registry

    registry = Registry(settings.mlflow, settings.artifacts)
    champion = registry.champion(name)
    return registry.fetch(name, champion.version, settings.folder("live", name), settings.signer) if champion else None


def reading_of(spec: Spec) -> Reading:
    """How long inputs are read, as in scoring: those that serving refuses are cut."""
    reading = Reading(spec.task, spec.privacy.language, spec.serving.long_inputs)
    return replace(reading, long_inputs="cut") if reading.long_inputs == "refuse" else reading


class Overlap:
    """Answers judged by the spec's metric against references, those of the first `most` pairs of a split (economy.Judge).

    Raises:
        UserError: there are too few to say anything of their mean.
    """

    def __init__(self, pairs: Dataset, scoring: Scoring, floor: float, split: str = "test", most: int | None = None) -> None:
        import pyarrow.parquet as pq

        table = pq.read_table(pairs.path / f"{split}.parquet", columns=["target"]).slice(0, most)
        self._references: list[str] = table["target"].to_pylist()
        if len(self._references) < 2:
            few = f"{len(self._references)} {split} pairs are too few to score"
            raise UserError(f"data.splits.{split}: {few}: raise it, or give more data")
        self._scoring, self._floor = scoring, floor

    def score(self, answers: Sequence[str]) -> "NDArray[Any]":
        from pipelines.scoring.metrics.sentences import sentences

        metric = self._scoring.metric
        return sentences([metric], answers, self._references)[metric]

    def mean(self, scores: Any) -> Measured:
        from pipelines.scoring import compare

        return _measured(compare.mean(scores, confidence=self._scoring.confidence, resamples=self._scoring.resamples))

    def difference(self, ours: Any, theirs: Any) -> Measured:
        from pipelines.scoring import compare

        found = compare.difference(ours, theirs, confidence=self._scoring.confidence, resamples=self._scoring.resamples)
        return _measured(found, compare.verdict(found, self._floor))


def _measured(found: "Estimate", verdict: str = "") -> Measured:
    return Measured(found.value, found.low, found.high, verdict)
