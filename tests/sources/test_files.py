"""Pairs from files: what is read, and what each wrong row is told."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import sources
from pipelines.artifact import Raw, verify
from pipelines.errors import UserError
from pipelines.spec import Data, FilesSource, Limits

PAIRS = [("Alpha, one", "first"), ('Béta "two"', "second\nline"), ("NA", "null")]


def data(*paths: str, bad_rows: float = 0.0, **columns: str) -> Data:
    return Data(source=FilesSource(kind="files", paths=paths, **columns), limits=Limits(bad_rows=bad_rows))


def ingest(folder: Path, *paths: str, bad_rows: float = 0.0, **columns: str) -> Raw:
    return sources.ingest(data(*paths, bad_rows=bad_rows, **columns), folder, folder / "cache", folder / "quarantine")


def rows(raw: Raw) -> list[tuple[str, str]]:
    return [(row["source"], row["target"]) for row in pq.read_table(raw.path / "pairs.parquet").to_pylist()]


def read(folder: Path, *paths: str, **columns: str) -> list[tuple[str, str]]:
    return sorted(rows(ingest(folder, *paths, **columns)))


def rejects(raw: Raw) -> list[dict[str, object]]:
    return [json.loads(line) for line in (raw.path / "rejects.jsonl").read_text().splitlines()]


def refusal(folder: Path, path: str, bad_rows: float = 0.0, **columns: str) -> str:
    with pytest.raises(UserError) as caught:
        ingest(folder, path, bad_rows=bad_rows, **columns)
    left = [path.name for path in (folder / "quarantine").glob("*") if not path.name.startswith("rejects-")]
    assert not left, "nothing may be left half-made"
    assert "\n" not in str(caught.value)
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
    assert read(tmp_path, path.name) == sorted(PAIRS)


def test_raw_is_private_whole_and_the_same_twice(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl")
    write_csv(tmp_path / "b.csv")
    raw = ingest(tmp_path, "*.jsonl", "b.csv")
    assert raw == ingest(tmp_path, "*.jsonl", "b.csv")
    assert verify(raw.path) == raw.sha256
    assert raw.path.stat().st_mode & 0o777 == 0o700
    facts = json.loads((raw.path / "facts.json").read_text())
    assert (facts["rows"], facts["kind"], sorted(facts["inputs"])) == (6, "files", ["a.jsonl", "b.csv"])
    again = sources.ingest(data("*.jsonl", "b.csv"), tmp_path, tmp_path / "no cache", tmp_path / "elsewhere")
    assert again.sha256 == raw.sha256, "the same input must give the same bytes"


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl")
    write_csv(tmp_path / "b.csv")
    first = ingest(tmp_path, "*.*")
    kept = {path: path.stat().st_ctime_ns for path in (tmp_path / "cache/parts").glob("*/rows.parquet")}
    assert len(kept) == 2
    assert all(path.stat().st_mode & 0o77 == 0 for path in [*kept, *(path.parent for path in kept)])
    write_parquet(tmp_path / "b.csv")
    (tmp_path / "b.csv").rename(tmp_path / "b.parquet")
    second = ingest(tmp_path, "*.*")
    assert second.path != first.path
    assert {path: path.stat().st_ctime_ns for path in kept} == kept
    assert len(list((tmp_path / "cache/parts").glob("part-*"))) == 3
    assert sources.expire(tmp_path / "cache", 0) == 3
    assert ingest(tmp_path, "*.*") == second


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    lines = [json.dumps({"source": f"text {number % 3_000} ä", "target": f"{number}"}) for number in range(12_000)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "b1.jsonl").write_text("\n".join(reversed(lines[:5_000])))
    (tmp_path / "b2.jsonl").write_text("\n".join(reversed(lines[5_000:])))
    one, two = ingest(tmp_path, "a.jsonl"), ingest(tmp_path, "b2.jsonl", "b1.jsonl")
    assert (one.path / "pairs.parquet").read_bytes() == (two.path / "pairs.parquet").read_bytes()
    content = pq.ParquetFile(one.path / "pairs.parquet")
    assert [content.metadata.row_group(group).num_rows for group in range(content.num_row_groups)] == [5_000, 5_000, 2_000]
    found = [(row["id"], row["source"], row["target"]) for row in content.read().to_pylist()]
    assert found == sorted(found)


def test_extra_sources_are_read_too(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl")
    (tmp_path / "more.csv").write_text("q,a\nwhy,because\n")
    extra = (FilesSource(kind="files", paths=("more.csv",), source="q", target="a"),)
    both = Data(source=data("a.jsonl").source, extra=extra)
    raw = sources.ingest(both, tmp_path, tmp_path / "cache", tmp_path / "quarantine")
    assert sorted(rows(raw)) == sorted([*PAIRS, ("why", "because")])
    assert sources.fingerprint(both, tmp_path, tmp_path) != sources.fingerprint(data("a.jsonl"), tmp_path, tmp_path)


def test_fingerprint_follows_bytes_and_columns(tmp_path: Path) -> None:
    def fingerprint(**columns: str) -> str:
        return sources.fingerprint(data("a.jsonl", **columns), tmp_path, tmp_path)

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


def test_a_file_without_a_header_shows_none_of_its_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Nina Example,nina@example.org\nx,y\n")
    message = refusal(tmp_path, "a.csv")
    assert "there are: 2 that are no plain name" in message
    assert "nina" not in message.lower()


def test_invalid_utf8_in_row_7(tmp_path: Path) -> None:
    quoted = [b'"two\nlines %d",b' % number for number in range(1, 9)]
    quoted[6] = b"caf\xe9,b"
    (tmp_path / "pairs.csv").write_bytes(b"source,target\n" + b"\n".join(quoted))
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
    assert sorted(rows(ingest(tmp_path, "p.parquet", bad_rows=0.5))) == [("a", "x"), ("c", "z")]


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


def test_broken_quoting_stops_whatever_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("source,target\n" + "a,b\n" * 99 + '"a"x,b\n')
    assert "row 100 (header not counted): not valid CSV" in refusal(tmp_path, "a.csv", bad_rows=0.9)


def test_null_and_number_in_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"source": ["a", None], "target": ["x", "y"]}), tmp_path / "n.parquet")
    assert "n.parquet: row 2: field `source` must be text, not null" in refusal(tmp_path, "n.parquet")
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    assert refusal(tmp_path, "t.parquet").startswith("t.parquet: not a Parquet file")


@pytest.mark.parametrize(
    ("poison", "field", "reason"),
    [
        ('{"source": 7, "target": "b"}', "source", "must be text, not int"),
        ('{"source": "a", "target": null}', "target", "must be text, not null"),
        ('{"source": "lone \\ud800", "target": "b"}', "source", "half a surrogate pair"),
        ('{"source": "a", "target": "nul \\u0000"}', "target", "NUL"),
        (json.dumps({"source": "x" * 1_000_000, "target": "b"}), "source", "longer than 100000 characters"),
        ('{"source": "a"', "", "not valid JSON"),
    ],
)
def test_one_poisoned_record_in_ten_thousand(
    tmp_path: Path, poison: str, field: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.dumps({"source": f"text {number}", "target": "t"}) for number in range(9_999)]
    lines.insert(4_321, poison)
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    raw = ingest(tmp_path, "a.jsonl", bad_rows=0.001)
    assert len(rows(raw)) == 9_999
    [reject] = rejects(raw)
    assert (reject["file"], reject["row"], reject["field"]) == ("a.jsonl", 4_322, field)
    assert reason in str(reject["reason"])
    assert json.loads((raw.path / "facts.json").read_text())["rejected"] == {reject["reason"]: 1}
    assert "1 of 10,000 rows rejected" in capsys.readouterr().err


def test_more_bad_rows_than_allowed(tmp_path: Path) -> None:
    lines = ['{"source": "a", "target": "b"}'] * 96 + ['{"source": "secret", "target": null}'] * 4
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    message = refusal(tmp_path, "a.jsonl", bad_rows=0.03)
    assert message.startswith("a.jsonl: line 97: field `target` must be text, not null: mend the row or remove it; and 3 more")
    [kept] = (tmp_path / "quarantine").glob("rejects-*.jsonl")
    assert message.endswith(str(kept))
    assert len(kept.read_text().splitlines()) == 4
    assert "secret" not in kept.read_text()
    assert kept.stat().st_mode & 0o77 == 0
    assert len(rows(ingest(tmp_path, "a.jsonl", bad_rows=0.04))) == 96


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_line_without_end_costs_no_memory(tmp_path: Path, suffix: str) -> None:
    import tracemalloc

    good = {"jsonl": '{"source": "a", "target": "b"}\n', "csv": "source,target\n"}[suffix]
    with (tmp_path / f"a.{suffix}").open("w") as stream:
        stream.write(good)
        for _ in range(64):
            stream.write("x" * (1 << 20))
        stream.write("\n" + good)
    tracemalloc.start()
    message = refusal(tmp_path, f"a.{suffix}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "longer than 16 Mi" in message
    assert peak < 64 << 20
    if suffix == "jsonl":
        raw = ingest(tmp_path, "a.jsonl", bad_rows=0.5)
        assert [(reject["row"], reject["reason"]) for reject in rejects(raw)] == [(2, "longer than 16 MiB")]
        assert len(rows(raw)) == 2


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl")
    dead = tmp_path / "cache/parts/.part-0000.99999999"
    dead.mkdir(parents=True)
    (dead / "rows.parquet").write_text("half")
    ingest(tmp_path, "a.jsonl")
    assert not dead.exists()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)] * 2), min_size=1, max_size=5
    )
)
def test_jsonl_round_trip(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("round")
    (folder / "a.jsonl").write_text("\n".join(json.dumps({"source": s, "target": t}) for s, t in pairs))
    assert read(folder, "a.jsonl") == sorted(pairs)
