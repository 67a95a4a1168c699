"""Pairs from files of one's own: JSONL, CSV, TSV, Parquet, by suffix. Strict: a row that is wrong is named, not guessed at."""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.artifact import file_sha256
from pipelines.errors import UserError
from pipelines.spec import FilesSource

LINE = 16 << 20  # bytes in a line of JSON or a field of CSV; without a cap one line can take all memory
Row = tuple[str, str, tuple[tuple[str, str], ...]]
Cells = tuple[int, tuple[object, object]]
"""(row number from 1, header not counted, (source, target) as read)."""


def inputs(source: FilesSource, base: Path) -> Mapping[str, str]:
    """{file name, relative to the spec where it can be: sha256} of every file that `source` names. Raises UserError."""
    return {_shown(path, base): file_sha256(path) for path in _find(source, base)}


def read(source: FilesSource, base: Path) -> Iterator[Row]:
    """Every row of every file, in the order of the names. Raises UserError naming file, row, field and the mend."""
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
    for path in _find(source, base):
        shown = _shown(path, base)
        reader = readers.get(path.suffix.lower())
        if reader is None:
            raise UserError(f"{shown}: the suffix must be .jsonl, .csv, .tsv or .parquet")
        row = 0
        unit = "line" if reader is _jsonl else "row"
        for row, values in reader(path, shown, (source.source, source.target)):
            texts = [
                _text(value, f"{shown}: {unit} {row}: field `{name}`")
                for name, value in zip((source.source, source.target), values, strict=True)
            ]
            yield texts[0], texts[1], ()
        if not row:
            raise UserError(f"{shown}: no rows: give it data, or take it out of data.source.paths")


def _find(source: FilesSource, base: Path) -> list[Path]:
    found: list[Path] = []
    for pattern in source.paths:
        absolute = Path(pattern)
        root, rest = (
            (Path(absolute.anchor), str(absolute.relative_to(absolute.anchor))) if absolute.is_absolute() else (base, pattern)
        )
        matches = sorted(path for path in root.glob(rest) if path.is_file())
        if not matches:
            raise UserError(f"data.source.paths: no file matches `{pattern}` (looked from the spec's folder)")
        found += [path for path in matches if path not in found]
    return found


def _shown(path: Path, base: Path) -> str:
    """The name by which messages and facts call a file: relative to the spec, never a machine's path."""
    relative = os.path.relpath(path, base)
    return path.name if relative.startswith("..") else relative


def _text(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    kind = "null" if value is None else type(value).__name__
    raise UserError(f"{where} must be text, not {kind}: mend the row or remove it")


def _check_columns(columns: list[str], wanted: tuple[str, str], where: str) -> None:
    for name in wanted:
        if name not in columns:
            there = ", ".join(f"`{column}`" for column in columns) or "none"
            raise UserError(f"{where}: no column `{name}` (there are: {there}): set data.source.source and data.source.target")


def _utf8(where: str, error: UnicodeError) -> UserError:
    byte = f"byte {error.start + 1} of it" if isinstance(error, UnicodeDecodeError) else "a byte of it"
    return UserError(f"{where}: not valid UTF-8 ({byte}): save the file as UTF-8 (iconv -f LATIN1 -t UTF-8, say)")


def _jsonl(path: Path, shown: str, wanted: tuple[str, str]) -> Iterator[Cells]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(LINE + 1):
            number += 1
            where = f"{shown}: line {number}"
            if len(line) > LINE:
                raise UserError(f"{where}: longer than {LINE >> 20} MiB: split it, or remove it")
            if not line.strip():
                continue
            try:
                content = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise _utf8(where, error) from None
            except ValueError as error:
                # the decoder's own message holds no text of the line, only what it missed and where
                reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "number too long"
                raise UserError(f"{where}: not valid JSON: {reason}") from None
            except RecursionError:
                raise UserError(f"{where}: not valid JSON: nested too deep") from None
            if not isinstance(content, dict):
                raise UserError(f'{where}: must be an object such as {{"{wanted[0]}": ..., "{wanted[1]}": ...}}')
            _check_columns(list(content), wanted, where)
            yield number, (content[wanted[0]], content[wanted[1]])


def _csv(path: Path, shown: str, wanted: tuple[str, str]) -> Iterator[Cells]:
    csv.field_size_limit(LINE)
    # surrogateescape carries a bad byte through the parser, so that the row (which may span lines) is known when it is refused
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        rows = csv.reader(stream, "excel-tab" if path.suffix.lower() == ".tsv" else "excel", strict=True)
        number = -1
        while True:
            where = f"{shown}: " + ("header" if number < 0 else f"row {number + 1} (header not counted)")
            try:
                cells = next(rows)
                "".join(cells).encode()
            except StopIteration:
                return
            except UnicodeEncodeError as error:
                raise _utf8(where, error) from None
            except csv.Error as error:
                raise UserError(f"{where}: not valid CSV: {error}") from None
            if not cells:
                continue
            number += 1
            if number == 0:
                header = cells
                _check_columns(header, wanted, shown)
            elif len(cells) != len(header):
                raise UserError(
                    f"{where}: {len(cells)} fields, the header has {len(header)}: quote fields that hold the separator"
                )
            else:
                yield number, (cells[header.index(wanted[0])], cells[header.index(wanted[1])])


def _parquet(path: Path, shown: str, wanted: tuple[str, str]) -> Iterator[Cells]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{shown}: not a Parquet file: {str(error).splitlines()[0]}") from None
    _check_columns(content.schema_arrow.names, wanted, shown)
    number = 0
    for batch in content.iter_batches(columns=list(dict.fromkeys(wanted))):
        for index in range(batch.num_rows):
            number += 1
            try:
                yield number, (batch[wanted[0]][index].as_py(), batch[wanted[1]][index].as_py())
            except UnicodeDecodeError as error:
                raise _utf8(f"{shown}: row {number}", error) from None
