"""Parts into one table, sorted: the order of the input, and how it came in parts, leave no trace.

An external bucket sort: ids are hashes, so that ranges of them hold about the same share of the text. (DuckDB's external sort
was tried: it runs out of memory on long texts, 30,000 of 10,000 characters in 96 MB, for its payload is pinned by rows.)
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.sources.parts import schema

GROUP = 5_000  # rows in a row group: what the next step holds in memory
GROUP_BYTES = 48 << 20  # of text, if that comes first
BUCKET = 24 << 20  # bytes of text that are sorted in memory at once
BUCKETS = 512  # files open at once
SLICE = 250  # rows


def merge(parts: list[Path], size: int, out: Path) -> None:
    """Write the rows of all `parts`, about `size` bytes of text, to `out`, sorted by (id, source, target), by code point.

    Memory does not grow with `size`, unless most rows are equal. What it spills lies beside `out`, and is gone at the end.
    """
    import pyarrow.parquet as pq

    count = min(BUCKETS, 1 + size // BUCKET)
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=".sorting-") as scratch,
        pq.ParquetWriter(out, schema(), compression="zstd") as writer,
    ):
        buckets = [Path(scratch) / str(number) for number in range(count)]
        _scatter(parts, buckets)
        for table in _groups(buckets):
            writer.write_table(table, row_group_size=GROUP)


def _scatter(parts: list[Path], buckets: list[Path]) -> None:
    """Append each row to the file of the range that its id falls into."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    options = pa.ipc.IpcWriteOptions(compression="lz4")
    writers = [pa.ipc.new_stream(path, schema(), options=options) for path in buckets]
    try:
        for part in parts:
            with pq.ParquetFile(part / "rows.parquet") as content:
                for group in range(content.num_row_groups):
                    table = content.read_row_group(group)
                    ranges = [int(each[:8], 16) * len(buckets) >> 32 for each in table["id"].to_pylist()]
                    order = np.argsort(ranges, kind="stable")
                    edges = np.searchsorted(np.array(ranges)[order], range(len(buckets) + 1))
                    rows = table.take(order)
                    for writer, start, end in zip(writers, edges[:-1], edges[1:], strict=True):
                        if end > start:
                            writer.write_table(rows.slice(start, end - start))
    finally:
        for writer in writers:
            writer.close()


def _groups(buckets: list[Path]) -> Iterator[Any]:
    """The rows in order, in tables of GROUP rows, or of GROUP_BYTES if that comes first."""
    import pyarrow as pa

    waiting: list[Any] = []
    rows = held = 0
    for bucket in buckets:
        with pa.ipc.open_stream(bucket) as stream:
            table = stream.read_all()
        bucket.unlink()
        table = table.sort_by([("id", "ascending"), ("source", "ascending"), ("target", "ascending")])
        start = 0
        while start < table.num_rows:
            piece = table.slice(start, min(SLICE, GROUP - rows))
            start, rows, held = start + piece.num_rows, rows + piece.num_rows, held + piece.nbytes
            waiting.append(piece)
            if rows == GROUP or held > GROUP_BYTES:
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, rows, held = [], 0, 0
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()
