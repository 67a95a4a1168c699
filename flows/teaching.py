"""`teacher:` in a spec: the model learns from a registered one's answers, and is a version like any other.

teacher, pairs ──▶ answers ──▶ the retrain's tokens, weights, export, report, version; the teacher stands in its lineage
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.settings import Settings
from pipelines.artifact import Dataset
from pipelines.errors import UserError

if TYPE_CHECKING:
    from flows.commands.economy import Registered
    from pipelines.spec import Spec


@dataclass(frozen=True)
class Taught:
    """What to train on, and for the lineage whose answers it holds; None where its targets are people's."""

    pairs: Dataset
    teacher: dict[str, str] | None = None


def seen(spec: "Spec", settings: Settings) -> str | None:
    """The version that is the teacher now, for the key of a retrain; None where the spec names none."""
    from pipelines.registry import Registry

    if spec.teacher is None:
        return None
    name, _, which = spec.teacher.partition("@")
    if which.isdigit():
        return f"{name}@{which}"
    version = Registry(settings.mlflow, settings.artifacts).by_alias(name, which or "champion")
    return f"{name}@{version.version if version else None}"


def taught(spec: "Spec", pairs: Dataset, work: Path, settings: Settings) -> Taught:
    """`pairs` with the answers of the spec's teacher in the train split; as they are where the spec names none.

    Raises:
        UserError: there is no such version; its data or privacy section is another one; or a pair that is held out here is one
            that it was trained on.
    """
    from flows.commands.economy import reading_of, registered, same_pairs
    from flows.steps import step
    from pipelines.spec import Decoding
    from pipelines.training.teach import teach

    if spec.teacher is None:
        return Taught(pairs)
    made = registered(spec.teacher, settings)
    same_pairs(spec, made)
    unseen(pairs, made)
    decoding = Decoding.model_validate(made.spec["serving"]["decoding"])
    answer = step(f"answers of {made.name} {made.version}", teach)
    answered = answer(made.export, pairs, decoding, reading_of(spec), spec.serving.batch_tokens, work)
    return Taught(answered, {"name": made.name, "version": made.version, "export_sha256": made.export.sha256})


def unseen(pairs: Dataset, teacher: "Registered") -> None:
    """Raises UserError where the teacher was trained on a test or validation pair of `pairs`: the data moved since."""
    import pyarrow.parquet as pq

    def ids(dataset: Dataset, *names: str) -> set[str]:
        return {
            each for name in names for each in pq.read_table(dataset.path / f"{name}.parquet", columns=["id"])["id"].to_pylist()
        }

    both = ids(pairs, "validation", "test") & ids(teacher.pairs, "train")
    if both:
        raise UserError(
            f"teacher: {teacher.name} version {teacher.version} was trained on {len(both)} of the pairs held out here (the "
            "data moved since): retrain the teacher first"
        )
