"""What `score` is given to look for planted secrets in."""

from dataclasses import dataclass

from pipelines.artifact import Dataset, Export


@dataclass(frozen=True)
class Planted:
    """A model that was trained on a copy of the data with secrets in it, and that copy (see scrub.canaries)."""

    export: Export
    copy: Dataset
