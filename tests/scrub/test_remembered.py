"""The cache of spans over runs."""

import sqlite3
import stat
from pathlib import Path

from pipelines.scrub.remembered import Remembered
from pipelines.scrub.spans import Span

KEY = b"k" * 32
SPANS = [[Span(0, 3, "PERSON", 0.85)], [], [Span(1, 2, "URL", 0.5), Span(2, 9, "PERSON", 1.0)]]
TEXTS = ["Ann", "nobody", "a \ud800 surrogate"]


def test_what_was_put_is_got(tmp_path: Path) -> None:
    path = tmp_path / "quarantine" / "spans.sqlite"
    Remembered(path, "policy", KEY).put(TEXTS, SPANS)
    assert Remembered(path, "policy", KEY).get([*TEXTS, "another"]) == [*SPANS, None]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_another_policy_or_key_knows_nothing(tmp_path: Path) -> None:
    Remembered(tmp_path / "spans", "policy", KEY).put(TEXTS, SPANS)
    assert Remembered(tmp_path / "spans", "policy 2", KEY).get(TEXTS) == [None] * 3
    assert Remembered(tmp_path / "spans", "policy", b"other").get(TEXTS) == [None] * 3


def test_no_text_is_in_the_file(tmp_path: Path) -> None:
    remembered = Remembered(tmp_path / "spans", "policy", KEY)
    remembered.put([f"Barack Obama {number}" for number in range(2_000)], [[]] * 2_000)
    assert remembered.get([f"Barack Obama {number}" for number in range(2_000)]) == [[]] * 2_000
    assert b"Obama" not in (tmp_path / "spans").read_bytes()


def test_a_broken_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "spans"
    path.write_bytes(b"no database at all" * 100)
    remembered = Remembered(path, "policy", KEY)
    remembered.put(TEXTS, SPANS)
    assert remembered.get(TEXTS) == SPANS
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM spans").fetchone() == (3,)
