"""What a file holds, and what is packed in it: told by its first bytes and not by its name (a DVC cache has no suffixes)."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import sqlite3
import tarfile
import tempfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

BLOCK = 2**20  # bytes read at a time
DEPTH = 5  # packed in packed in ...: a gzip file in a zip in a tar
# what readers raise at a content that is not what its first bytes said
UNREADABLE = (
    EOFError, OSError, RuntimeError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
    sqlite3.DatabaseError,
)  # fmt: skip

T = TypeVar("T")
Open = Callable[[], Any]  # a binary stream, read from the start


def contents(path: Path) -> Iterator[Iterable[bytes]]:
    """The blocks of a file, then of each thing packed in it (gzip, zstandard, bzip2, xz, zlib, zip, tar, the columns of Parquet
    and Arrow files, the cells of SQLite with its write-ahead log), each to be read before the next is asked for.

    What cannot be unpacked after all is given as it is only.

    Raises:
        OSError: the file cannot be read.
    """
    yield from _contents(partial(path.open, "rb"), path)


def _contents(opened: Open, path: Path | None, depth: int = 0) -> Iterator[Iterable[bytes]]:
    """The blocks of a content, then of each that is packed in it. `path` is given if it is a file as it lies on the disk."""
    with opened() as stream:
        head = stream.read(512)
        yield _sound(_blocks(stream, head))
    unpack = _packed(head) if depth < DEPTH else None
    if unpack:
        yield from map(_sound, _sound(unpack(opened, path, depth)))


def _sound(parts: Iterable[T]) -> Iterator[T]:
    """`parts` up to where the content turns out not to be what its first bytes said."""
    try:
        yield from parts
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's fault, not the content's


def _blocks(stream: BinaryIO, head: bytes = b"") -> Iterator[bytes]:
    yield head
    while block := stream.read(BLOCK):
        yield block


Unpack = Callable[[Open, Path | None, int], Iterator[Iterable[bytes]]]


def _packed(head: bytes) -> Unpack | None:
    """How to unpack what begins with these bytes."""
    for magic, unpack in PACKED:
        if head.startswith(magic):
            return unpack
    return _tar if head[257:262] == b"ustar" else None


def _stream(open_packed: Callable[[BinaryIO], Any]) -> Unpack:
    """For what holds one stream of bytes."""

    def unpack(opened: Open, _path: Path | None, depth: int) -> Iterator[Iterable[bytes]]:
        with opened() as packed:

            def again() -> BinaryIO:
                packed.seek(0)
                stream: BinaryIO = open_packed(packed)
                return stream

            yield from _contents(again, None, depth + 1)

    return unpack


def _spooled(unpacked: Callable[[BinaryIO], Iterator[bytes]]) -> Unpack:
    """For what can be unpacked only once, from the start to the end."""

    def unpack(opened: Open, _path: Path | None, depth: int) -> Iterator[Iterable[bytes]]:
        with tempfile.TemporaryFile() as plain:
            with opened() as packed:
                plain.writelines(_sound(unpacked(packed)))

            def again() -> BinaryIO:
                plain.seek(0)
                return os.fdopen(os.dup(plain.fileno()), "rb")

            yield from _contents(again, None, depth + 1)

    return unpack


def _zstd(packed: BinaryIO) -> Iterator[bytes]:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd") as stream:
        yield from _blocks(stream)


def _zlib(packed: BinaryIO) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    while not inflate.eof and (rest := inflate.unconsumed_tail or packed.read(BLOCK)):
        yield inflate.decompress(rest, BLOCK)


def _zip(opened: Open, _path: Path | None, depth: int) -> Iterator[Iterable[bytes]]:
    with opened() as packed, zipfile.ZipFile(packed) as archive:
        for name in archive.namelist():
            yield from _contents(partial(archive.open, name), None, depth + 1)


def _tar(opened: Open, _path: Path | None, depth: int) -> Iterator[Iterable[bytes]]:
    with opened() as packed, tarfile.open(fileobj=packed) as archive:
        for member in archive:
            if member.isfile():
                yield from _contents(partial(archive.extractfile, member), None, depth + 1)


def _parquet(opened: Open, _path: Path | None, depth: int) -> Iterator[Iterable[bytes]]:
    import pyarrow.parquet as pq

    with opened() as packed:
        for batch in pq.ParquetFile(packed).iter_batches(4_096):
            for column in batch.columns:
                yield from _cells(_values(column), depth)


def _arrow(opened: Open, _path: Path | None, depth: int) -> Iterator[Iterable[bytes]]:
    import pyarrow as pa

    with opened() as packed, pa.ipc.open_file(packed) as table:
        for number in range(table.num_record_batches):
            for column in table.get_batch(number).columns:
                yield from _cells(_values(column), depth)


def _values(column: Any) -> Iterator[bytes | str | int]:
    """What a column holds, nested values as well; numbers too: a card's may be one."""
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from _values(column.storage)
    elif pa.types.is_dictionary(kind):
        yield from _values(column.dictionary_decode())
    elif pa.types.is_struct(kind):
        yield from (value for index in range(kind.num_fields) for value in _values(column.field(index)))
    elif pa.types.is_map(kind):
        yield from _values(column.keys)
        yield from _values(column.items)
    elif pa.types.is_nested(kind):
        yield from _values(column.flatten())
    elif pa.types.is_integer(kind) or not pa.types.is_primitive(kind):
        yield from column.drop_null().to_pylist()


def _sqlite(opened: Open, path: Path | None, depth: int) -> Iterator[Iterable[bytes]]:
    """The cells: a long value stands in pieces on the pages of the file, and new rows in its write-ahead log."""
    with tempfile.TemporaryFile() as spooled:
        if path is None:
            with opened() as packed:
                shutil.copyfileobj(packed, spooled, BLOCK)
            spooled.flush()
        # `immutable` writes nothing beside the file, but reads no log
        log = path is not None and path.with_name(path.name + "-wal").is_file()
        place = path or f"/proc/self/fd/{spooled.fileno()}"
        url = f"file:{urllib.parse.quote(os.fspath(place))}?mode=ro" + ("" if log else "&immutable=1")
        with closing(sqlite3.connect(url, uri=True)) as connection:
            connection.text_factory = bytes
            tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
            for (name,) in tables:
                quoted = name.decode().replace('"', '""')
                with suppress(sqlite3.OperationalError):  # a virtual table of an extension; its content is a table of its own
                    rows = connection.execute(f'select * from "{quoted}"')  # noqa: S608  (the file's own name, quoted)
                    while some := rows.fetchmany(1_000):
                        yield from _cells((value for row in some for value in row), depth)


def _cells(values: Iterable[object], depth: int) -> Iterator[Iterable[bytes]]:
    """Cells, parted by a zero byte; and what is packed in one."""
    packed: list[bytes] = []

    def joined() -> Iterator[bytes]:
        for value in values:
            if isinstance(value, str | int) and not isinstance(value, bool):
                yield f"{value}\0".encode("utf-8", "surrogatepass")
            elif isinstance(value, bytes):
                yield value + b"\0"
                if _packed(value[:512]):
                    packed.append(value)

    yield gathered(joined())
    for cell in packed:
        yield from _contents(partial(io.BytesIO, cell), None, depth + 1)


def gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Small pieces as blocks: a scan costs more than its bytes."""
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= BLOCK:
            yield bytes(block)
            block.clear()
    yield bytes(block)


PACKED: tuple[tuple[bytes, Unpack], ...] = (
    (b"PAR1", _parquet),
    (b"ARROW1", _arrow),
    (b"SQLite format 3\0", _sqlite),
    (b"PK\x03\x04", _zip),
    (b"\x1f\x8b", _stream(lambda packed: gzip.GzipFile(mode="rb", fileobj=packed))),
    (b"\x28\xb5\x2f\xfd", _spooled(_zstd)),
    (b"BZh", _stream(bz2.BZ2File)),
    (b"\xfd7zXZ\0", _stream(lzma.LZMAFile)),
    *((b"\x78" + level, _spooled(_zlib)) for level in (b"\x01", b"\x5e", b"\x9c", b"\xda")),
)
