"""Tables of texts in three formats: read a chunk at a time, written whole."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipelines.errors import UserError

CHUNK = 1_000
FORMATS = {".parquet": "parquet", ".jsonl": "json", ".csv": "csv"}
ANSWERS = pa.schema(
    [
        ("answer", pa.string()),
        ("answer_version", pa.string()),
        ("answer_logprob", pa.float64()),
        ("answer_flags", pa.list_(pa.string())),
        ("answer_truncated", pa.bool_()),
        ("answer_parts", pa.int32()),
        ("answer_source_tokens", pa.int32()),
        ("answer_target_tokens", pa.int32()),
        ("answer_seed", pa.int64()),
    ]
)


def format_of(path: Path) -> str:
    try:
        return FORMATS[path.suffix]
    except KeyError:
        raise UserError(f"{path.name}: must end in {', '.join(FORMATS)}") from None


def open_table(source: Path, column: str) -> Any:
    kind: Any = format_of(source)
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    try:
        if kind == "csv":  # a column's type must not hang on what its first rows look like
            with source.open(encoding="utf-8") as stream:
                names = ds.dataset(source, format="csv").schema.names if stream.readline() else []
            from pyarrow import csv

            kind = ds.CsvFileFormat(convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())))
        table = ds.dataset(source, format=kind)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(f"{source.name}: cannot be read: {str(error).splitlines()[0][:80]}") from None
    if column not in table.schema.names:
        raise UserError(f"{source.name}: no column {column}: give --column, one of {', '.join(table.schema.names[:20])}")
    if not pa.types.is_string(table.schema.field(column).type) and not pa.types.is_large_string(
        table.schema.field(column).type
    ):
        raise UserError(f"{source.name}: column {column} holds no texts")
    if taken := sorted(set(ANSWERS.names) & set(table.schema.names)):
        raise UserError(f"{source.name}: a column is called {taken[0]}, as one of the answers': rename it")
    return table


def chunks(table: Any) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in table.to_batches(batch_size=CHUNK):
        held.append(batch)
        count += batch.num_rows
        while count >= CHUNK:
            whole = pa.Table.from_batches(held)
            yield whole.slice(0, CHUNK)
            held, count = whole.slice(CHUNK).to_batches(), count - CHUNK
    if count:
        yield pa.Table.from_batches(held)


def join(parts: Sequence[Path], schema: Any, out: Path) -> None:
    """The parts as one file; it has its name only when it is whole."""
    whole = pa.schema([*schema, *ANSWERS])
    building = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        _WRITERS[format_of(out)]((pq.read_table(part).replace_schema_metadata().cast(whole) for part in parts), whole, building)
        building.replace(out)
    finally:
        building.unlink(missing_ok=True)


def _write_parquet(tables: Iterator[pa.Table], schema: pa.Schema, path: Path) -> None:
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)


def _write_jsonl(tables: Iterator[pa.Table], _schema: pa.Schema, path: Path) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for table in tables:
            for row in table.to_pylist():
                stream.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _write_csv(tables: Iterator[pa.Table], schema: pa.Schema, path: Path) -> None:
    """Flags are joined by spaces: CSV has no lists."""
    from pyarrow import csv

    at = schema.get_field_index("answer_flags")
    flat = schema.set(at, pa.field("answer_flags", pa.string()))
    with csv.CSVWriter(path, flat) as writer:
        for table in tables:
            joined = pa.array([" ".join(flags or []) for flags in table.column(at).to_pylist()], pa.string())
            writer.write_table(table.set_column(at, flat.field(at), joined))


_WRITERS: Mapping[str, Callable[[Iterator[pa.Table], pa.Schema, Path], None]] = {
    "parquet": _write_parquet,
    "json": _write_jsonl,
    "csv": _write_csv,
}
