"""Answers that people corrected in MLflow: the best pairs there are, for they are of the model's own traffic."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pipelines import artifact
from pipelines.artifact import Raw, digest
from pipelines.errors import GateClosed, UserError
from pipelines.sources import screening
from pipelines.sources.parts import take
from pipelines.sources.rows import Bad, Cells, Part, Reading, screen
from pipelines.sources.screening import Pair
from pipelines.spec import LabelsSource

if TYPE_CHECKING:
    from pipelines.registry.labels import Correction

CODE_VERSION = 1
FIELDS = ("source", "target")
MOST = 0.5  # of the corrections may be set aside; with more, somebody has to look
Triples = list[tuple[str, str, str]]
"""(input, corrected answer, the model's own)."""


def reading(source: LabelsSource, urls: Mapping[str, str]) -> Reading:
    """One part, once it is screened: people make few of them, and may change one later.

    Raises:
        UserError: no registry named in `urls`. Transient: it does not answer.
    """
    found = _corrections(source.model, urls, "data.extra")
    inputs = {f"labels:{source.model}": digest([each[:-1] for each in found])}
    if source.screened:
        return Reading(inputs, [], found)
    return Reading(inputs, [_part(inputs, found, {})])


def screened(reading: Reading, others: Sequence[Path], quarantine: Path) -> Part:
    """The corrections of `reading` that look honest beside the pairs in the tables `others`.

    Raises: as `_honest`.
    """
    (name,) = reading.inputs
    found = reading.corrections or ()
    kept, dropped = _honest(name, found, _pairs(others), quarantine, "data.extra")
    return _part(reading.inputs, kept, dropped)


def preferred(model: str, urls: Mapping[str, str], beside: Raw | None = None) -> Triples:
    """What people preferred to an answer of `model`, each once, in order. A correction that is the answer tells nothing.

    Only what looks honest beside the pairs of `beside`, if that is given.

    Raises:
        UserError: no registry named in `urls`. Transient: it does not answer. As `_honest`.
    """
    found = _corrections(model, urls, "preferences")
    if beside is not None:
        found = honest(f"preferences of {model}", found, beside, "preferences")
    told = {(each.source, each.expected, each.answer) for each in found if each.answer and each.expected.strip()}
    return sorted((source, accepted, rejected) for source, accepted, rejected in told if accepted.strip() != rejected.strip())


def honest(name: str, found: "Sequence[Correction]", beside: Raw, field: str) -> "list[Correction]":
    """Those of `found` that look honest beside the pairs of `beside`; `name` and `field` are for messages.

    Raises: as `_honest`.
    """
    if not found:
        return []
    said = {(each.source, each.expected) for each in found}
    pairs = (pair for pair in _pairs([beside.path / "pairs.parquet"]) if pair not in said)
    kept, _ = _honest(name, found, pairs, beside.path.parent, field)
    return kept


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
        part = Part(key=digest("preferred", key), name="preferences", read=partial(_read, rows, {}))
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


def _corrections(model: str, urls: Mapping[str, str], field: str) -> "list[Correction]":
    if "MLFLOW" not in urls:
        raise UserError(f"{field}: labels need a registry: set MLFLOW_TRACKING_URI")
    from pipelines.registry.labels import corrections

    return sorted(corrections(urls["MLFLOW"], model), key=lambda each: (each.source, each.expected, each.trace))


def _honest(
    name: str, found: "Sequence[Correction]", pairs: Iterable[Pair], quarantine: Path, field: str
) -> "tuple[list[Correction], Mapping[str, int]]":
    """Those of `found` that look honest beside `pairs` (screening.py), and how many of the others for which reason.

    aside-KEY.jsonl in the quarantine names the traces of the others, without a text, and a line tells of them.

    Raises:
        GateClosed: more than half of them look dishonest.
    """
    seen = screening.screen(found, pairs)
    told = Console(stderr=True, soft_wrap=True, highlight=False)
    if seen.blind and found:
        told.print(f"{name}: the corrections are not all screened: {seen.blind}", markup=False)
    counts = Counter(reason for reason in seen.reasons if reason)
    if counts:
        bad = [{"trace": each.trace, "reason": why} for each, why in zip(found, seen.reasons, strict=True) if why]
        aside = quarantine / f"aside-{digest(found)[:16]}.jsonl"
        aside.write_text("".join(json.dumps(each) + "\n" for each in bad), encoding="utf-8")
        aside.chmod(0o600)
        line = f"{name}: {counts.total():,} of {len(found):,} corrections set aside"
        reasons = [f"{count:,} {reason}" for reason, count in sorted(counts.items())]
        if counts.total() > MOST * len(found):
            mend = f"{aside} names their traces: delete in MLflow what is wrong, or say `screened: false` in {field}"
            raise GateClosed(f"{line}: nothing is learnt from such a batch", [*reasons, mend])
        told.print(f"{line} ({', '.join(reasons)}): {aside.name} in the quarantine names their traces", markup=False)
    return [each for each, why in zip(found, seen.reasons, strict=True) if not why], counts


def _pairs(tables: Iterable[Path]) -> Iterator[Pair]:
    import pyarrow.parquet as pq

    for path in tables:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(columns=["source", "target"]):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _part(inputs: Mapping[str, str], found: "Sequence[Correction]", dropped: Mapping[str, int]) -> Part:
    (name,) = inputs
    rows = [(each.source, each.expected) for each in found]
    return Part(key=digest("labels", name, rows, dropped), name=name, read=partial(_read, rows, dropped))


def _read(found: Sequence[Pair], aside: Mapping[str, int], dropped: Counter[str]) -> Iterator[Cells]:
    dropped.update(aside)
    for number, pair in enumerate(found, 1):
        yield Cells(number, pair)
