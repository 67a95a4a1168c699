"""Where the pairs come from. What is read here is personal: it goes into the quarantine and nowhere else.

Two functions for every kind of source: `fingerprint` says what would be read now, `ingest` reads it.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines import artifact, spec
from pipelines.artifact import Raw, digest
from pipelines.errors import UserError
from pipelines.sources import debian, files

CODE_VERSION = 1
LONGEST = 100_000  # characters; a longer text would stall the tagger, and no model here reads it
SURROGATE = re.compile("[\ud800-\udfff]")  # a JSON escape can make one; UTF-8 cannot hold it

Row = tuple[str, str, tuple[tuple[str, str], ...]]
"""(source, target, known): `known` are values in the source that are personal for certain, as (entity, value)."""


def fingerprint(source: spec.Source, base: Path, cache: Path) -> str:
    """The digest of what `ingest` would read now: the files' sha256, the section and the version of this code.

    For `debian` the private apt index in `cache`/apt is refreshed first (at most every ten minutes).

    Raises:
        UserError: no such file, or no apt here. Transient: no index yet and no network.
    """
    return digest("raw", CODE_VERSION, _inputs(source, base, cache), source)


def ingest(source: spec.Source, base: Path, cache: Path, quarantine: Path) -> Raw:
    """Read the source into `quarantine`/raw-KEY (mode 0700): pairs.parquet and facts.json.

    Args:
        base: the folder of the spec; the globs of a `files` source are relative to it.
        cache: where the private apt index is kept between runs.

    Raises:
        UserError: naming file, row, field and the mend. Transient: no index yet and no network.
    """
    inputs = _inputs(source, base, cache)
    key = digest("raw", CODE_VERSION, inputs, source)

    def write(folder: Path) -> None:
        dropped: Counter[str] = Counter()
        if isinstance(source, spec.DebianSource):
            rows: Iterable[Row] = debian.read(source, cache / "apt", dropped)
        else:
            rows = files.read(source, base)
        facts = _write_pairs(rows, dropped, folder / "pairs.parquet")
        facts |= {"kind": source.kind, "dropped": dict(sorted(dropped.items())), "inputs": inputs}
        (folder / "facts.json").write_text(json.dumps(facts, indent=1, sort_keys=True))

    quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
    return artifact.make(Raw, quarantine / f"raw-{key[:16]}", write, mode=0o700)


def _inputs(source: spec.Source, base: Path, cache: Path) -> Mapping[str, str]:
    return debian.refresh(cache / "apt") if isinstance(source, spec.DebianSource) else files.inputs(source, base)


def _write_pairs(rows: Iterable[Row], dropped: Counter[str], path: Path) -> dict[str, object]:
    """Write the rows as Parquet, dropping what cannot be scrubbed; `dropped` counts it. Returns rows and chars."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pairs = []
    for source, target, known in rows:
        if max(len(source), len(target)) > LONGEST:
            dropped[f"longer than {LONGEST} characters"] += 1
            continue
        texts = [SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text) for text in (source, target)]
        identity = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
        values = [{"entity": entity, "value": value} for entity, value in known]
        pairs.append({"id": identity, "source": texts[0], "target": texts[1], "known": values})
    if not pairs:
        raise UserError("data.source: no rows to learn from: every one was dropped " + json.dumps(dropped))
    value = pa.struct([("entity", pa.string()), ("value", pa.string())])
    schema = pa.schema([("id", pa.string()), ("source", pa.string()), ("target", pa.string()), ("known", pa.list_(value))])
    pq.write_table(pa.Table.from_pylist(pairs, schema), path, compression="zstd")
    return {"rows": len(pairs), "chars": sum(len(pair["source"]) + len(pair["target"]) for pair in pairs)}
