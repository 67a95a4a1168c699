"""A value is found whatever it is packed in and however it is written; what is not there is not."""

import base64
import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import SeqlineError
from pipelines.scrub.sweep import Matcher, sweep

VALUE = "Frédéric Bonnard"
PLAIN = f"... {VALUE} ...".encode()


def zstd(content: bytes) -> bytes:
    packed = io.BytesIO()
    with pa.CompressedOutputStream(pa.PythonFile(packed, "w"), "zstd") as stream:
        stream.write(content)
        stream.flush()
        stream.close()
    return bytes(pa.Codec("zstd").compress(content, asbytes=True)) if packed.closed else packed.getvalue()


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", content)
    return packed.getvalue()


def tarred(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("a")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def parquet(content: bytes) -> bytes:
    packed = io.BytesIO()
    pq.write_table(pa.table({"a": [[{"b": content}], [], None]}), packed, compression="zstd")
    return packed.getvalue()


def arrow(content: bytes) -> bytes:
    packed = io.BytesIO()
    table = pa.table({"a": pa.array([content]).dictionary_encode()})
    with pa.ipc.new_file(packed, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return packed.getvalue()


def sqlite(content: bytes) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute('create table "a ""b" (x blob)')
    connection.execute('insert into "a ""b" values (?)', (content,))
    connection.commit()
    return connection.serialize()


PACKERS: list[Callable[[bytes], bytes]] = [
    gzip.compress, zstd, bz2.compress, lzma.compress, zlib.compress, zipped, tarred, parquet, arrow, sqlite,
]  # fmt: skip


@pytest.mark.parametrize("outer", PACKERS)
@pytest.mark.parametrize("inner", [bytes, *PACKERS])
def test_packed_in_packed_without_a_suffix(
    tmp_path: Path, inner: Callable[[bytes], bytes], outer: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "d41d8cd98f00b204e9800998ecf8427e"
    path.write_bytes(outer(inner(PLAIN)))
    assert [found for found, _ in sweep([VALUE], [tmp_path])] == [path]
    assert sweep(["Nobody Else"], [path]) == []


@pytest.mark.parametrize(
    "written",
    [
        VALUE.encode(), VALUE.encode("utf-16-le"), VALUE.encode("utf-16"), VALUE.encode("latin-1"), json.dumps(VALUE).encode(),
        ascii(VALUE).encode(), urllib.parse.quote(VALUE).encode(), urllib.parse.quote_plus(VALUE).encode(),
        VALUE.replace("é", "e\N{COMBINING ACUTE ACCENT}").encode(),
        *(base64.b64encode(b"x" * shift + PLAIN) for shift in range(3)),
    ],
)  # fmt: skip
def test_written_otherwise(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "log").write_bytes(b"before " + written + b" after")
    assert len(sweep(["Somebody Else", VALUE], [tmp_path])) == 1


def test_all_is_counted_across_blocks_with_thousands_of_values(tmp_path: Path) -> None:
    values = [f"person number {n:05}" for n in range(3_000)]
    (tmp_path / "all").write_text("\n".join(values) * 20)  # 1.1 MB: more than a block
    (tmp_path / "innocent").write_text("person number 3000")
    assert sweep(values, [tmp_path]) == [(tmp_path / "all", 60_000)]


def test_numbers_in_columns_and_cells(tmp_path: Path) -> None:
    pq.write_table(pa.table({"card": [4111111111111111, None]}), tmp_path / "a")
    with sqlite3.connect(tmp_path / "b") as connection:
        connection.execute("create table t (card integer)")
        connection.execute("insert into t values (4111111111111111)")
    connection.close()
    assert len(sweep(["4111111111111111"], [tmp_path])) == 2


def test_a_long_cell_in_the_log_of_a_live_database(tmp_path: Path) -> None:
    """Not yet in the database itself, and cut in pieces by the pages."""
    path = tmp_path / "live.db"
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table t (x text)")
    value = "a person's name " * 40  # 640 characters: no page boundary is far
    connection.execute("insert into t values (?)", ("x" * 3_900 + value,))
    connection.commit()
    assert path in [found for found, _ in sweep([value], [tmp_path])]
    connection.execute("insert into t values ('still works')")
    connection.close()


@pytest.mark.parametrize("packer", PACKERS)
def test_what_is_cut_off_is_searched_as_far_as_it_goes(tmp_path: Path, packer: Callable[[bytes], bytes]) -> None:
    whole = packer(b"x" * 2_000)
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2] + PLAIN)
    assert len(sweep([VALUE], [tmp_path])) == 1


def test_what_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.write_text("x")
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        with pytest.raises(SeqlineError, match="loop"):
            sweep([VALUE], [tmp_path])


def test_nothing_to_look_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert sweep([], [tmp_path]) == []


@given(
    wanted=st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=5),
    blocks=st.lists(st.binary(max_size=6), max_size=6),
)
def test_a_matcher_counts_like_a_naive_search(wanted: list[bytes], blocks: list[bytes]) -> None:
    content = b"".join(blocks)
    matcher = Matcher(wanted)
    found = list(matcher.find(blocks))
    for number, each in enumerate(matcher.wanted):
        assert found.count(number) == sum(content.startswith(each, at) for at in range(len(content)))
