"""Where the pairs come from. What is read here is personal: it goes into the quarantine and nowhere else.

Two functions for every kind of source: `fingerprint` says what would be read now, `ingest` reads it. A module a kind gives
the parts there are to read; a part that was read before is not read again; all parts together are sorted.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from pipelines import artifact, spec
from pipelines.artifact import Raw, digest
from pipelines.errors import UserError
from pipelines.sources import catalogs, debian, debian_translations, files, hub, labels, sql
from pipelines.sources.parts import CODE_VERSION, enough, expire, take
from pipelines.sources.rows import LONGEST, Reading
from pipelines.sources.sorting import merge

__all__ = ["LONGEST", "expire", "fingerprint", "ingest"]

NONE: Mapping[str, str] = {}


def fingerprint(data: spec.Data, base: Path, cache: Path, urls: Mapping[str, str] = NONE) -> str:
    """The digest of what `ingest` would read now: versions of every input, the sections and the version of this code.

    For `debian` the private apt index in `cache`/apt is refreshed first (at most every ten minutes), for `catalogs` wheels
    that are not there yet are fetched; a query without a cursor is read whole.

    Raises: as `ingest`.
    """
    return _key(data, _readings(data, base, cache, urls))


def ingest(data: spec.Data, base: Path, cache: Path, quarantine: Path, urls: Mapping[str, str] = NONE) -> Raw:
    """Read data.source and data.extra into `quarantine`/raw-KEY (mode 0700): pairs.parquet, rejects.jsonl, facts.json.

    Args:
        base: the folder of the spec; paths in it are relative to it.
        cache: in the quarantine too: what was read before, wheels, the private apt index.
        urls: {NAME: SQLAlchemy URL} for `url: env:NAME`, and {"MLFLOW": the registry's URI} for `labels`.

    Raises:
        UserError: naming file, row, field and the mend; or more bad rows than data.limits.bad_rows.
        GateClosed: most of people's corrections look like no honest ones (screening.py).
        Transient: an index, a hub, a database that does not answer. SeqlineError: too little disk space.
    """
    readings = _readings(data, base, cache, urls)
    key = _key(data, readings)[:16]
    quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder, pattern in ((quarantine, ".raw-*"), (cache / "parts", ".part-*"), (cache / "wheels", ".*")):
        _sweep(folder.glob(pattern))

    def write(folder: Path) -> None:
        taken = [(part.name, take(part, cache)) for reading in readings for part in reading.parts]
        others = [path / "rows.parquet" for _, path in taken]
        for reading in readings:
            if reading.corrections is not None:
                part = labels.screened(reading, others, quarantine)
                taken.append((part.name, take(part, cache)))
        facts = _facts(data, readings, taken)
        _join([path / "rejects.jsonl" for _, path in taken], folder / "rejects.jsonl")
        _judge(facts.pop("first"), facts, data.limits.bad_rows, folder, quarantine / f"rejects-{key}.jsonl")
        size = facts.pop("bytes")
        enough(quarantine, size, "data.source")
        merge([path for _, path in taken], size, folder / "pairs.parquet")
        (folder / "facts.json").write_text(json.dumps(facts, indent=1, sort_keys=True))

    return artifact.make(Raw, quarantine / f"raw-{key}", write, mode=0o700)


def _readings(data: spec.Data, base: Path, cache: Path, urls: Mapping[str, str]) -> list[Reading]:
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [_reading(source, base, cache, urls) for source in (data.source, *data.extra)]


def _reading(source: spec.Source, base: Path, cache: Path, urls: Mapping[str, str]) -> Reading:  # noqa: PLR0911 (a kind each)
    match source:
        case spec.FilesSource():
            return files.reading(source, base)
        case spec.HubSource():
            return hub.reading(source, base, cache)
        case spec.SqlSource():
            return sql.reading(source, base, cache, urls)
        case spec.DebianSource():
            return debian.reading(source, cache / "apt")
        case spec.DebianTranslationsSource():
            return debian_translations.reading(source, cache / f"apt-{source.language}")
        case spec.CatalogsSource():
            return catalogs.reading(source, cache / "wheels")
        case spec.LabelsSource():
            return labels.reading(source, urls)


def _key(data: spec.Data, readings: list[Reading]) -> str:
    inputs = [reading.inputs for reading in readings]
    return digest("raw", CODE_VERSION, inputs, data.source, data.extra, data.limits.bad_rows)


def _facts(data: spec.Data, readings: list[Reading], taken: list[tuple[str, Path]]) -> dict[str, Any]:
    """What the parts hold together. How the rows came in parts does not show in it."""
    facts: dict[str, Any] = {"rows": 0, "chars": 0, "bytes": 0, "first": ""}
    counters: dict[str, Counter[str]] = {"dropped": Counter(), "rejected": Counter(), "rows_by_input": Counter()}
    for name, path in taken:
        part = json.loads((path / "facts.json").read_text())
        for what in ("rows", "chars", "bytes"):
            facts[what] += part[what]
        facts["first"] = facts["first"] or part["first"]
        counters["rows_by_input"][name] += part["rows"]
        counters["dropped"].update(part["dropped"])
        counters["rejected"].update(part["rejected"])
    inputs = {name: version for reading in readings for name, version in reading.inputs.items()}
    return {**facts, **counters, "kind": data.source.kind, "inputs": inputs}


def _judge(first: str, facts: Mapping[str, Any], allowed: float, folder: Path, kept: Path) -> None:
    """Tell of bad rows. Raises UserError when there are too many (`kept` then names them), or no row is left."""
    bad = sum(facts["rejected"].values())
    rows = facts["rows"] + bad
    if bad > allowed * rows:
        shutil.copyfile(folder / "rejects.jsonl", kept)
        kept.chmod(0o600)
        more = f"and {bad - 1:,} more bad rows of {rows:,}" if bad > 1 else f"1 bad row of {rows:,}"
        raise UserError(f"{first}; {more}, data.limits.bad_rows allows {allowed:.2%}: all are named in {_shown(kept)}")
    if not facts["rows"]:
        raise UserError("data.source: no rows to learn from: every one was dropped " + json.dumps(facts["dropped"]))
    if bad:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(facts["rejected"].items()))
        line = f"data: {bad:,} of {rows:,} rows rejected ({reasons}): rejects.jsonl in the quarantine names them"
        Console(stderr=True, soft_wrap=True, highlight=False).print(line, markup=False)


def _shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _join(paths: Iterable[Path], out: Path) -> None:
    with out.open("wb") as to:
        for path in paths:
            with path.open("rb") as stream:
                shutil.copyfileobj(stream, to)


def _sweep(unfinished: Iterable[Path]) -> None:
    """Delete what a process that is gone left half-made."""
    for path in unfinished:
        pid = path.suffix.removeprefix(".")
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
