"""Pairs from a query: SQLite through SQLAlchemy; what is new is read, what was taken is kept."""

import json
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import sources
from pipelines.errors import UserError
from pipelines.spec import Data, SqlSource

QUERY = "SELECT id, question AS source, answer AS target FROM tickets"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    change(tmp_path, "CREATE TABLE tickets (id INTEGER, question TEXT, answer TEXT)", *(insert(n) for n in (1, 2, 3)))
    return tmp_path


def insert(number: int) -> str:
    return f"INSERT INTO tickets VALUES ({number}, 'why {number}: at 12:30?', 'because {number}')"


def change(base: Path, *statements: str) -> None:
    connection = sqlite3.connect(base / "shop.db")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def data(url: str = "sqlite:///shop.db", query: str = QUERY, **keys: str) -> Data:
    return Data(source=SqlSource(kind="sql", url=url, query=query, **keys))


def ingest(base: Path, wanted: Data) -> list[str]:
    raw = sources.ingest(wanted, base, base / "cache", base / "quarantine")
    return sorted(pq.read_table(raw.path / "pairs.parquet")["target"].to_pylist())


def parts(base: Path) -> list[int]:
    return sorted(json.loads(path.read_text())["rows"] for path in (base / "cache/parts").glob("part-*/facts.json"))


@pytest.mark.parametrize("cursor", [{}, {"cursor": "id"}])
def test_rows_and_their_fingerprint(base: Path, cursor: dict[str, str]) -> None:
    wanted = data(**cursor)
    assert ingest(base, wanted) == ["because 1", "because 2", "because 3"]
    first = sources.fingerprint(wanted, base, base / "cache")
    assert sources.fingerprint(wanted, base, base / "cache") == first
    assert sources.fingerprint(wanted, base, base / "another cache") == first
    change(base, insert(4))
    assert sources.fingerprint(wanted, base, base / "cache") != first
    assert ingest(base, wanted) == [f"because {n}" for n in (1, 2, 3, 4)]


def test_with_a_cursor_only_what_is_new_is_read(base: Path) -> None:
    wanted = data(cursor="id")
    ingest(base, wanted)
    change(base, insert(4), insert(5))
    ingest(base, wanted)
    assert parts(base) == [2, 3]
    whole = sources.ingest(wanted, base, base / "cache", base / "quarantine")
    anew = sources.ingest(wanted, base, base / "no cache", base / "elsewhere")
    assert whole.sha256 == anew.sha256, "how the rows came in parts must leave no trace"


@pytest.mark.parametrize("late", ["DELETE FROM tickets WHERE id = 2", insert(3)])
def test_a_row_deleted_or_late_below_the_cursor_is_noticed(base: Path, late: str) -> None:
    wanted = data(cursor="id")
    ingest(base, wanted)
    change(base, late, insert(4))
    expected = sorted(row[0] for row in sqlite3.connect(base / "shop.db").execute("SELECT answer FROM tickets"))
    assert ingest(base, wanted) == expected


def test_parts_that_expired_are_read_anew(base: Path) -> None:
    wanted = data(cursor="id")
    ingest(base, wanted)
    assert sources.expire(base / "cache", 0) == 1
    change(base, insert(4))
    assert len(ingest(base, wanted)) == 4


def test_the_url_from_the_environment(base: Path) -> None:
    wanted = data("env:SHOP")
    raw = sources.ingest(wanted, base, base / "cache", base / "quarantine", {"SHOP": f"sqlite:///{base}/shop.db"})
    assert pq.read_metadata(raw.path / "pairs.parquet").num_rows == 3
    with pytest.raises(UserError, match="set SEQLINE_SQL_SHOP"):
        sources.fingerprint(wanted, base, base / "cache")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (data("postgresql://ann:secret@db/shop"), "holds a password: write `env:NAME` and set SEQLINE_SQL_NAME"),
        (data("postgresql://db/shop?password=secret"), "holds a password"),
        (data("nonsense"), "not an SQLAlchemy URL"),
        (data("nosuch://db/shop"), "its driver is not installed"),
        (data("sqlite:///missing.db"), "no such file"),
        (data(query="SELECT * FROM orders"), "no such table: orders: mend the query"),
        (data(target="reply"), "no column `reply` (it gives: `id`, `source`, `target`): set data.source.target"),
        (data(cursor="at"), "no column `at`"),
        (data(query="SELECT NULL AS id, question AS source, answer AS target FROM tickets", cursor="id"), "is null in 3 rows"),
        (data(query="SELECT id, id AS source, answer AS target FROM tickets"), "row 1: field `source` must be text, not int"),
    ],
)
def test_what_is_wrong_in_one_line(base: Path, wanted: Data, message: str) -> None:
    with pytest.raises(UserError) as caught:
        ingest(base, wanted)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_no_rows(base: Path) -> None:
    change(base, "DELETE FROM tickets")
    for wanted in (data(), data(cursor="id")):
        with pytest.raises(UserError, match="no rows to learn from"):
            ingest(base, wanted)
