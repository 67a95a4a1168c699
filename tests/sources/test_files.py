"""Pairs from files: what is read, and what each wrong row is told."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import sources
from pipelines.artifact import verify
from pipelines.errors import UserError
from pipelines.spec import FilesSource

PAIRS = [("Alpha, one", "first"), ('Béta "two"', "second\nline"), ("NA", "null")]


def read(folder: Path, *paths: str, **columns: str) -> list[tuple[str, str]]:
    source = FilesSource(kind="files", paths=paths, **columns)
    raw = sources.ingest(source, folder, folder / "cache", folder / "quarantine")
    return [(row["source"], row["target"]) for row in pq.read_table(raw.path / "pairs.parquet").to_pylist()]


def refusal(folder: Path, path: str, **columns: str) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, path, **columns)
    assert not list((folder / "quarantine").glob("*")), "nothing may be left half-made"
    return str(caught.value)


def write_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps({"source": s, "target": t, "n": 1}) + "\n\n" for s, t in PAIRS))


def write_csv(path: Path, separator: str = ",") -> None:
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in ("x", t, s)) for s, t in PAIRS]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([separator.join(("n", "target", "source")), *quoted]).encode())


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table({"source": [s for s, _ in PAIRS], "target": [t for _, t in PAIRS]}), path)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_pairs(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pairs.{suffix}"
    if suffix == "tsv":
        write_csv(path, "\t")
    else:
        {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}[suffix](path)
    assert read(tmp_path, path.name) == PAIRS


def test_raw_is_private_whole_and_the_same_twice(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl")
    write_csv(tmp_path / "b.csv")
    source = FilesSource(kind="files", paths=("*.jsonl", "b.csv"))
    raw = sources.ingest(source, tmp_path, tmp_path, tmp_path / "q")
    assert raw == sources.ingest(source, tmp_path, tmp_path, tmp_path / "q")
    assert verify(raw.path) == raw.sha256
    assert raw.path.stat().st_mode & 0o777 == 0o700
    facts = json.loads((raw.path / "facts.json").read_text())
    assert (facts["rows"], facts["kind"], sorted(facts["inputs"])) == (6, "files", ["a.jsonl", "b.csv"])
    again = sources.ingest(source, tmp_path, tmp_path, tmp_path / "elsewhere")
    assert again.sha256 == raw.sha256, "the same input must give the same bytes"


def test_fingerprint_follows_bytes_and_columns(tmp_path: Path) -> None:
    def fingerprint(**columns: str) -> str:
        return sources.fingerprint(FilesSource(kind="files", paths=("a.jsonl",), **columns), tmp_path, tmp_path)

    write_jsonl(tmp_path / "a.jsonl")
    first = fingerprint()
    assert fingerprint() == first
    assert fingerprint(target="n") != first
    (tmp_path / "a.jsonl").write_text('{"source": "a", "target": "b"}')
    assert fingerprint() != first


def test_no_file_matches(tmp_path: Path) -> None:
    assert "no file matches `*.csv`" in refusal(tmp_path, "*.csv")


@pytest.mark.parametrize("content", [b"", b"source,target\n"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty.csv").write_bytes(content)
    assert refusal(tmp_path, "empty.csv").startswith("empty.csv: no rows")


def test_unknown_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"x")
    assert refusal(tmp_path, "a.xlsx") == "a.xlsx: the suffix must be .jsonl, .csv, .tsv or .parquet"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_missing_column_lists_those_there_are(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pairs.{suffix}"
    {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}[suffix](path)
    message = refusal(tmp_path, path.name, target="summary")
    assert "no column `summary`" in message
    assert "`source`" in message
    assert "data.source.target" in message


def test_invalid_utf8_in_row_7(tmp_path: Path) -> None:
    rows = [b'"two\nlines %d",b' % number for number in range(1, 9)]
    rows[6] = b"caf\xe9,b"
    (tmp_path / "pairs.csv").write_bytes(b"source,target\n" + b"\n".join(rows))
    message = refusal(tmp_path, "pairs.csv")
    assert message.startswith("pairs.csv: row 7 (header not counted): not valid UTF-8")
    assert "iconv" in message
    assert "caf" not in message
    (tmp_path / "pairs.jsonl").write_bytes(b'{"source": "a", "target": "b"}\n' * 6 + b'{"source": "caf\xe9", "target": "b"}\n')
    assert refusal(tmp_path, "pairs.jsonl").startswith("pairs.jsonl: line 7: not valid UTF-8")


def test_invalid_utf8_in_parquet(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xe9c")]
    )
    pq.write_table(pa.table({"source": bad, "target": ["x", "y", "z"]}), tmp_path / "p.parquet", use_dictionary=False)
    assert refusal(tmp_path, "p.parquet").startswith("p.parquet: row 2: not valid UTF-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"source": "a", "target": "b"}\n{"source": ', "line 2: not valid JSON"),
        ('{"source": "a", "target": "b"}\n["a"]', "line 2: must be an object"),
        ('{"source": "a", "target": null}', "line 1: field `target` must be text, not null"),
        ('{"source": 7, "target": "b"}', "line 1: field `source` must be text, not int"),
        ("[" * 100_000, "line 1: not valid JSON"),
    ],
)
def test_wrong_json_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    assert f"a.jsonl: {message}" in refusal(tmp_path, "a.jsonl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("source,target\na,b\nc\n", "row 2 (header not counted): 1 fields, the header has 2"),
        ("source,target\na,b,c\n", "row 1 (header not counted): 3 fields, the header has 2"),
        ('source,target\n"a"x,b\n', "row 1 (header not counted): not valid CSV"),
    ],
)
def test_wrong_csv_row(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    assert f"a.csv: {message}" in refusal(tmp_path, "a.csv")


def test_null_and_number_in_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"source": ["a", None], "target": ["x", "y"]}), tmp_path / "n.parquet")
    assert "n.parquet: row 2: field `source` must be text, not null" in refusal(tmp_path, "n.parquet")
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    assert refusal(tmp_path, "t.parquet").startswith("t.parquet: not a Parquet file")


def test_what_cannot_be_stored_or_scrubbed_is_marked_or_counted(tmp_path: Path) -> None:
    rows = ['{"source": "lone \\ud800", "target": "b"}', json.dumps({"source": "x" * 200_000, "target": "b"})]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    assert read(tmp_path, "a.jsonl") == [("lone \N{REPLACEMENT CHARACTER}", "b")]
    facts = json.loads(next(tmp_path.glob("quarantine/raw-*/facts.json")).read_text())
    assert facts["dropped"] == {"longer than 100000 characters": 1}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1, max_size=5))
def test_jsonl_round_trip(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("round")
    (folder / "a.jsonl").write_text("\n".join(json.dumps({"source": s, "target": t}) for s, t in pairs))
    assert read(folder, "a.jsonl") == pairs
