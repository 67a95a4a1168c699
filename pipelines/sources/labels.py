"""Answers that people corrected in MLflow: the best pairs there are, for they are of the model's own traffic."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from pipelines import artifact
from pipelines.artifact import Raw, digest
from pipelines.errors import UserError
from pipelines.sources.parts import take
from pipelines.sources.rows import Bad, Cells, Part, Reading, screen
from pipelines.spec import LabelsSource

CODE_VERSION = 1
FIELDS = ("source", "target")
Triples = list[tuple[str, str, str]]
"""(input, corrected answer, the model's own)."""


def reading(source: LabelsSource, urls: Mapping[str, str]) -> Reading:
    """One part: people make few of them, and may change one later.

    Raises:
        UserError: no registry named in `urls`. Transient: it does not answer.
    """
    from pipelines.registry.labels import labels

    found = sorted(labels(_registry(urls, "data.extra"), source.model))
    version = digest(found)
    name = f"labels:{source.model}"
    part = Part(key=digest("labels", name, version), name=name, read=partial(_read, found))
    return Reading({name: version}, [part])


def preferred(model: str, urls: Mapping[str, str]) -> Triples:
    """What people preferred to an answer of `model`, each once, in order. A correction that is the answer tells nothing.

    Raises:
        UserError: no registry named in `urls`. Transient: it does not answer.
    """
    from pipelines.registry.labels import corrections

    found = corrections(_registry(urls, "preferences"), model)
    told = {(each.source, each.expected, each.answer) for each in found if each.answer and each.expected.strip()}
    return sorted((source, accepted, rejected) for source, accepted, rejected in told if accepted.strip() != rejected.strip())


def ingest(triples: Triples, cache: Path, quarantine: Path) -> Raw:
    """Write `triples` into `quarantine`/raw-preferred-KEY (mode 0700) as pairs, so that they are scrubbed as pairs are.

    Makes pairs.parquet (for each triple a row (source, accepted), and one (source, rejected)), links.json ([ids of these two])
    and facts.json (triples, and those left out as no text that can be stored). `cache` is in the quarantine too.

    Raises:
        SeqlineError: too little disk space.
    """
    key = digest("preferred", CODE_VERSION, triples)[:16]

    def write(folder: Path) -> None:
        import pyarrow.parquet as pq

        sound = [each for each in triples if all(_sound(each[0], answer) for answer in each[1:])]
        rows = [(source, answer) for source, *answers in sound for answer in answers]
        part = Part(key=digest("preferred", key), name="preferences", read=partial(_read, rows))
        shutil.copyfile(take(part, cache) / "rows.parquet", folder / "pairs.parquet")
        ids = pq.read_table(folder / "pairs.parquet", columns=["id"])["id"].to_pylist()
        links = list(zip(ids[::2], ids[1::2], strict=True))
        (folder / "links.json").write_text(json.dumps(links), encoding="utf-8")
        facts = {"rows": len(triples), "rejected": len(triples) - len(sound)}
        (folder / "facts.json").write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")
        for path in folder.iterdir():
            path.chmod(0o600)

    quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
    return artifact.make(Raw, quarantine / f"raw-preferred-{key}", write, mode=0o700)


def _sound(source: str, answer: str) -> bool:
    return not isinstance(screen(Cells(0, (source, answer)), FIELDS), Bad)


def _registry(urls: Mapping[str, str], field: str) -> str:
    if "MLFLOW" not in urls:
        raise UserError(f"{field}: labels need a registry: set MLFLOW_TRACKING_URI")
    return urls["MLFLOW"]


def _read(found: list[tuple[str, str]], _dropped: Counter[str]) -> Iterator[Cells]:
    for number, pair in enumerate(found, 1):
        yield Cells(number, pair)
