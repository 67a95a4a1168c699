"""Answers that people corrected in MLflow: the best pairs there are, for they are of the model's own traffic."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

from pipelines.artifact import digest
from pipelines.errors import UserError
from pipelines.sources.rows import Cells, Part, Reading
from pipelines.spec import LabelsSource


def reading(source: LabelsSource, urls: Mapping[str, str]) -> Reading:
    """One part: people make few of them, and may change one later.

    Raises:
        UserError: no registry named in `urls`. Transient: it does not answer.
    """
    from pipelines.registry.labels import labels

    if "MLFLOW" not in urls:
        raise UserError("data.extra: labels need a registry: set MLFLOW_TRACKING_URI")
    found = sorted(labels(urls["MLFLOW"], source.model))
    version = digest(found)
    name = f"labels:{source.model}"
    part = Part(key=digest("labels", name, version), name=name, read=partial(_read, found))
    return Reading({name: version}, [part])


def _read(found: list[tuple[str, str]], _dropped: Counter[str]) -> Iterator[Cells]:
    for number, pair in enumerate(found, 1):
        yield Cells(number, pair)
