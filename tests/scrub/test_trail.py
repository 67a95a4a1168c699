"""The log answers whether a given value was in the data to who has the key, and tells nobody else anything."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.errors import SeqlineError
from pipelines.scrub import trail
from pipelines.scrub.spans import Replaced
from pipelines.scrub.sweep import sweep

KEY, OTHER = b"k" * 32, b"o" * 32


def entry(number: int, value: str, entity: str = "PERSON", side: str = "source") -> trail.Entry:
    return trail.Entry(f"{number:016x}", side, Replaced(3, 3 + len(value), entity, 0.85, f"<{entity}_1>"), value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail.parquet"


def test_who_was_in_the_data(path: Path) -> None:
    entries = [entry(1, "Maria Keller"), entry(2, "Jan Novák", side="target"), entry(2, "+49 30 123456", "PHONE_NUMBER")]
    trail.write(path, KEY, entries)
    (found,) = trail.look_up(path, KEY, "Jan Novák")
    assert found[:7] == (f"{2:016x}", "target", 3, 12, "PERSON", 0.85, "<PERSON_1>")
    assert trail.look_up(path, KEY, "Jan Nováková") == []
    assert trail.look_up(path, OTHER, "Jan Novák") == []


@pytest.mark.parametrize(
    ("entity", "value", "asked"),
    [
        ("PERSON", "MARIA  Keller", "maria keller"),
        ("PERSON", "Jan Nova\u0301k", "Jan Novák"),
        ("PHONE_NUMBER", "+49 30-123.456", "+4930123456"),
        ("CREDIT_CARD", "4111111111111111", "4111 1111 1111 1111"),
    ],
)
def test_however_it_is_written(path: Path, entity: str, value: str, asked: str) -> None:
    trail.write(path, KEY, [entry(1, value, entity)])
    assert len(trail.look_up(path, KEY, asked)) == 1


def test_the_same_value_as_another_type_has_another_pseudonym() -> None:
    assert trail.pseudonym(KEY, "PERSON", "Paris") != trail.pseudonym(KEY, "LOCATION", "Paris")


def test_no_value_stands_in_it_and_the_same_entries_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    values = [f"Somebody Number{n}" for n in range(500)]
    for name in ("trail.parquet", "again.parquet"):
        trail.write(tmp_path / name, KEY, [entry(n, value) for n, value in enumerate(values)])
    assert sweep(values, [tmp_path]) == []
    assert path.read_bytes() == (tmp_path / "again.parquet").read_bytes()


def test_entries_are_written_as_they_come(path: Path) -> None:
    def many() -> Iterator[trail.Entry]:
        for number in range(3 * trail.ROWS + 1):
            yield entry(number, f"Person {number % 7}")

    trail.write(path, KEY, many())
    with pq.ParquetFile(path) as file:
        assert (file.metadata.num_rows, file.num_row_groups) == (3 * trail.ROWS + 1, 4)
    assert len(trail.look_up(path, KEY, "Person 6")) == (3 * trail.ROWS + 1) // 7


def test_an_empty_log_and_no_log(path: Path) -> None:
    trail.write(path, KEY, [])
    assert trail.look_up(path, KEY, "Anybody") == []
    path.write_text("something else")
    with pytest.raises(SeqlineError, match=r"trail\.parquet: is no audit log"):
        trail.look_up(path, KEY, "Anybody")
