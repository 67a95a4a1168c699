"""Pairs from files of one's own: JSONL, CSV, TSV, Parquet, by suffix. Strict: a row that is wrong is named, not guessed at."""

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipelines.artifact import digest, file_sha256
from pipelines.errors import UserError
from pipelines.sources.rows import Bad, Cells, Part, Reading, missing_column, not_utf8
from pipelines.spec import FilesSource

LINE = 16 << 20  # bytes in a line of JSON or a field of CSV; without a cap one line can take all memory
BATCH = 1_000  # rows of Parquet held at once
Reader = Callable[[Path, str, tuple[str, str]], Iterator[Cells | Bad]]


def reading(source: FilesSource, base: Path) -> Reading:
    """A part a file. Raises UserError: a pattern without a file, a suffix that is not known."""
    wanted = (source.source, source.target)
    parts, inputs = [], {}
    for path in _find(source, base):
        shown = _shown(path, base)
        reader = READERS.get(path.suffix.lower())
        if reader is None:
            raise UserError(f"{shown}: the suffix must be .jsonl, .csv, .tsv or .parquet")
        sha256 = inputs[shown] = file_sha256(path)
        parts.append(
            Part(
                key=digest("files", path.suffix.lower(), shown, sha256, wanted),
                name=shown,
                read=partial(_whole, reader, path, shown, wanted),
                fields=wanted,
                unit="line" if reader is _jsonl else "row",
                note=" (header not counted)" if reader is _csv else "",
                size=path.stat().st_size,
            )
        )
    return Reading(inputs, parts)


def _whole(reader: Reader, path: Path, shown: str, wanted: tuple[str, str], _dropped: Counter[str]) -> Iterator[Cells | Bad]:
    row: Cells | Bad | None = None
    for row in reader(path, shown, wanted):
        yield row
    if row is None:
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


def _lines(path: Path) -> Iterator[bytes | None]:
    """The lines of `path`; None for one longer than LINE, which is read past in pieces."""
    with path.open("rb") as stream:
        while line := stream.readline(LINE + 1):
            if len(line) <= LINE:
                yield line
                continue
            while line and not line.endswith(b"\n"):
                line = stream.readline(LINE)
            yield None


def _jsonl(path: Path, _shown: str, wanted: tuple[str, str]) -> Iterator[Cells | Bad]:
    for number, line in enumerate(_lines(path), 1):
        if line is None:
            yield Bad(number, "", f"longer than {LINE >> 20} MiB", ": split it, or remove it")
        elif line.strip():
            yield _object(line, number, wanted)


def _object(line: bytes, number: int, wanted: tuple[str, str]) -> Cells | Bad:
    try:
        content = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return not_utf8(number, error)
    except ValueError as error:
        # the decoder's own message holds no text of the line, only what it missed and where
        reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "number too long"
        return Bad(number, "", "not valid JSON", f": {reason}")
    except RecursionError:
        return Bad(number, "", "not valid JSON", ": nested too deep")
    if not isinstance(content, dict):
        return Bad(number, "", "must be an object", f' such as {{"{wanted[0]}": ..., "{wanted[1]}": ...}}')
    missing = missing_column(content, wanted)
    return Bad(number, "", *missing) if missing else Cells(number, (content[wanted[0]], content[wanted[1]]))


def _csv_rows(path: Path, shown: str) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of each row, the header as number 0. Raises UserError when the file's structure is broken."""
    csv.field_size_limit(LINE)
    number = 0

    def where() -> str:
        return f"{shown}: " + (f"row {number} (header not counted)" if number else "header")

    # surrogateescape carries a bad byte through the parser, so that the row (which may span lines) is known when it is refused
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:

        def lines() -> Iterator[str]:
            while line := stream.readline(LINE + 1):
                if len(line) > LINE:
                    raise UserError(f"{where()}: a line longer than {LINE >> 20} Mi characters: split it, or remove it")
                yield line

        rows = csv.reader(lines(), "excel-tab" if path.suffix.lower() == ".tsv" else "excel", strict=True)
        while True:
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(f"{where()}: not valid CSV: {error}") from None
            if cells:
                yield number, cells
                number += 1


def _csv(path: Path, shown: str, wanted: tuple[str, str]) -> Iterator[Cells | Bad]:
    header: list[str] = []
    for number, cells in _csv_rows(path, shown):
        try:
            "".join(cells).encode()
        except UnicodeEncodeError as error:
            bad = not_utf8(number, error)
            if not number:
                raise UserError(f"{shown}: header: {bad.reason}{bad.mend}") from None
            yield bad
            continue
        if not number:
            header = cells
            if missing := missing_column(header, wanted):
                raise UserError(f"{shown}: {''.join(missing)}")
        elif len(cells) != len(header):
            reason = f"{len(cells)} fields, the header has {len(header)}"
            yield Bad(number, "", reason, ": quote fields that hold the separator")
        else:
            yield Cells(number, (cells[header.index(wanted[0])], cells[header.index(wanted[1])]))


def _parquet(path: Path, shown: str, wanted: tuple[str, str]) -> Iterator[Cells | Bad]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # buffered: else each column of a row group is read whole
        with pq.ParquetFile(path, buffer_size=1 << 20) as content:
            if missing := missing_column(content.schema_arrow.names, wanted):
                raise UserError(f"{shown}: {''.join(missing)}")
            for batch in content.iter_batches(BATCH, columns=list(dict.fromkeys(wanted))):
                for index in range(batch.num_rows):
                    number += 1
                    try:
                        yield Cells(number, (batch[wanted[0]][index].as_py(), batch[wanted[1]][index].as_py()))
                    except UnicodeDecodeError as error:
                        yield not_utf8(number, error)
    except (pa.ArrowException, OSError) as error:
        after = f" (broken after row {number})" if number else ""
        raise UserError(f"{shown}: not a Parquet file{after}: {str(error).splitlines()[0]}") from None


READERS: dict[str, Reader] = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
