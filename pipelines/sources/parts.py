"""Parts: what was read once is kept, so that a later run reads only what is new.

A part lies in `cache`/parts/part-KEY (mode 0700): rows.parquet, rejects.jsonl, facts.json. It is raw text: `expire` it.
"""

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.errors import SeqlineError
from pipelines.sources.rows import Bad, Part, Row, screen

CODE_VERSION = 2
BATCH = 5_000  # rows held in memory at once, as long as they are short
BATCH_CHARS = 4_000_000
SPARE = 16 << 20  # bytes that shall still be free afterwards


def folder(key: str, cache: Path) -> Path:
    return cache / "parts" / f"part-{artifact.digest('part', CODE_VERSION, key)[:16]}"


def take(part: Part, cache: Path) -> Path:
    """Read `part` unless it was read before; return its folder.

    Raises:
        SeqlineError: too little disk space. Whatever the part's `read` raises.
    """
    (cache / "parts").mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(into: Path) -> None:
        enough(cache, part.size, part.name)
        counts: Counter[str] = Counter()
        facts: dict[str, Any] = {"dropped": Counter(), "rejected": Counter(), "first": ""}
        rejects = into / "rejects.jsonl"
        with rejects.open("w") as stream:

            def accepted() -> Iterator[Row]:
                for cells in part.read(facts["dropped"]):
                    row = cells if isinstance(cells, Bad) else screen(cells, part.fields)
                    if isinstance(row, Row):
                        yield row
                        continue
                    facts["first"] = facts["first"] or part.said(row)
                    facts["rejected"][row.reason] += 1
                    record = {"file": part.name, "row": row.row, "field": row.field, "reason": row.reason}
                    stream.write(json.dumps(record) + "\n")

            _write_rows(accepted(), into / "rows.parquet", counts)
        (into / "facts.json").write_text(json.dumps({**facts, **counts}, indent=1, sort_keys=True))
        for path in into.iterdir():
            path.chmod(0o600)

    return artifact.make(artifact.Artifact, folder(part.key, cache), write, mode=0o700).path


def enough(where: Path, size: int, what: str) -> None:
    """Raises SeqlineError when `size` bytes of text would not fit: as a part, in the sort, and sorted."""
    there = next(path for path in (where, *where.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, 3 * size + SPARE
    if free < needed:
        raise SeqlineError(f"{what}: too little disk space to read it: {free / 2**20:,.0f} MB free of {needed / 2**20:,.0f}")


def expire(cache: Path, days: int) -> int:
    """Delete the parts (and the hub's files) in `cache` read more than `days` days ago, whoever still uses them; how many."""
    limit = time.time() - days * 86_400
    old = [path for path in (*(cache / "parts").glob("*part-*"), *cache.glob("hub")) if path.stat().st_mtime < limit]
    for path in old:
        shutil.rmtree(path)
    return len(old)


def schema() -> Any:
    """The columns of pairs: id, source, target, known."""
    import pyarrow as pa

    value = pa.struct([("entity", pa.string()), ("value", pa.string())])
    return pa.schema([("id", pa.string()), ("source", pa.string()), ("target", pa.string()), ("known", pa.list_(value))])


def _write_rows(rows: Iterator[Row], path: Path, counts: Counter[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts.update(rows=0, chars=0, bytes=0)
    with pq.ParquetWriter(path, schema(), compression="zstd") as writer:
        for batch in _batches(rows):
            pairs = []
            for source, target, known in batch:
                content = f"{source}\0{target}".encode()
                counts.update(rows=1, chars=len(source) + len(target), bytes=len(content))
                values = [{"entity": entity, "value": value} for entity, value in known]
                identity = hashlib.sha256(content).hexdigest()[:16]
                pairs.append({"id": identity, "source": source, "target": target, "known": values})
            writer.write_table(pa.Table.from_pylist(pairs, schema()))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    chars = 0
    for row in rows:
        batch.append(row)
        chars += len(row.source) + len(row.target)
        if len(batch) == BATCH or chars > BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
