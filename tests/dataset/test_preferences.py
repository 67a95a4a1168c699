"""Corrections become preferences: linked again after scrubbing, apart from all that is tested on, held out for good."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import artifact
from pipelines.artifact import Clean, Dataset, Preferences, Raw, existing
from pipelines.dataset.deletion import _holds
from pipelines.dataset.preferences import beside, gather
from pipelines.sources.labels import Triples, ingest

WORDS = ("amber", "birch", "cedar", "daisy", "elder", "fern", "grass", "hazel", "iris", "juniper")


def source(number: int) -> str:
    return " ".join(f"{WORDS[digit]}{place}" for place, digit in enumerate(map(int, f"{number:06d}")))


def triples(count: int) -> Triples:
    return [(source(number), f"right answer {source(number + 500_000)}", f"wrong {number}") for number in range(count)]


def scrubbed(raw: Raw, out: Path, change: dict[str, str] | None = None) -> Clean:
    """As the scrub leaves it, where it found nothing; `change`: {a target: what became of its source, "" for quarantined}."""

    def write(folder: Path) -> None:
        rows = pq.read_table(raw.path / "pairs.parquet", columns=["id", "source", "target"]).to_pylist()
        for row in rows:
            row["source"] = (change or {}).get(row["target"], row["source"])
        pq.write_table(pa.Table.from_pylist([row for row in rows if row["source"]]), folder / "pairs.parquet")

    return artifact.make(Clean, out / "clean", write)


def dataset(out: Path, test: list[tuple[str, str]]) -> Dataset:
    def write(folder: Path) -> None:
        for name, pairs in (("train", [("a", "b")]), ("validation", [("some other thing", "c d e")]), ("test", test)):
            ids = [hashlib.sha256(repr(pair).encode()).hexdigest()[:16] for pair in pairs]
            columns = {"id": ids, "source": [pair[0] for pair in pairs], "target": [pair[1] for pair in pairs]}
            pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        (folder / "dataset.json").write_text("{}")

    return artifact.make(Dataset, out / "dataset", write)


def gathered(out: Path, found: Triples, test: list[tuple[str, str]], change: dict[str, str] | None = None) -> Preferences:
    raw = ingest(found, out / "quarantine" / "cache", out / "quarantine")
    return gather(raw, scrubbed(raw, out, change), dataset(out, test), 0.25, 0.8, out)


def rows_of(preferences: Preferences) -> list[dict[str, object]]:
    return list(pq.read_table(preferences.path / "preferences.parquet").to_pylist())


def told(preferences: Preferences) -> dict[str, object]:
    return dict(json.loads((preferences.path / "preferences.json").read_text()))


def test_triples_come_back_as_they_were_and_a_quarter_is_held_out(tmp_path: Path) -> None:
    found = gathered(tmp_path, triples(80), [(source(999_999), "zzz zzz zzz")])
    rows = rows_of(found)
    assert {(row["source"], row["accepted"], row["rejected"]) for row in rows} == set(triples(80))
    held = sum(bool(row["held_out"]) for row in rows)
    assert 8 <= held <= 32
    counts = told(found)
    assert (counts["corrections"], counts["learnt_from"], counts["held_out"]) == (80, 80 - held, held)
    assert not any(dict(counts["left_out"]).values())  # type: ignore[call-overload]


def test_what_is_held_out_stays_held_out_as_corrections_come(tmp_path: Path) -> None:
    few, many = (
        {row["id"]: row["held_out"] for row in rows_of(gathered(tmp_path / str(count), triples(count), [("x", "y")]))}
        for count in (40, 80)
    )
    assert {identity: many[identity] for identity in few} == few


def test_near_duplicates_fall_on_one_side(tmp_path: Path) -> None:
    twice = [*triples(40), *((source, f"another answer altogether {n}", "wrong") for n, (source, *_) in enumerate(triples(40)))]
    sides: dict[object, set[object]] = {}
    for row in rows_of(gathered(tmp_path, sorted(twice), [("x", "y")])):
        sides.setdefault(row["source"], set()).add(row["held_out"])
    assert all(len(held) == 1 for held in sides.values())


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_resembles_a_test_pair_is_left_out(tmp_path: Path, side: str) -> None:
    first = triples(1)[0]
    tested = (first[0], "another answer here") if side == "source" else ("another source here", first[1])
    found = gathered(tmp_path, triples(30), [tested])
    assert first[0] not in {row["source"] for row in rows_of(found)}
    assert dict(told(found)["left_out"])["near_held_out"] == 1  # type: ignore[call-overload]


def test_what_scrubbing_pulled_apart_is_left_out_and_counted(tmp_path: Path) -> None:
    found = triples(30)
    change = {found[0][1]: "<PERSON_1> instead", found[1][2]: "", found[2][1]: ""}
    counts = told(gathered(tmp_path, found, [("x", "y")], change))
    assert counts["left_out"] == {"disagreed": 1, "near_held_out": 0, "rejected": 0, "unscrubbed": 2}
    assert (counts["corrections"], int(str(counts["learnt_from"])) + int(str(counts["held_out"]))) == (30, 27)


def test_a_text_that_cannot_be_stored_is_left_out(tmp_path: Path) -> None:
    found = [*triples(5), ("\0", "nul", "byte")]
    counts = told(gathered(tmp_path, found, [("x", "y")]))
    assert dict(counts["left_out"])["rejected"] == 1  # type: ignore[call-overload]


def test_what_is_published_holds_both_and_a_deletion_finds_the_ids(tmp_path: Path) -> None:
    preferences = gathered(tmp_path, triples(30), [("x", "y")])
    pairs = existing(Dataset, tmp_path / "dataset")
    assert pairs is not None
    assert beside(pairs, None, tmp_path) is pairs
    both = beside(pairs, preferences, tmp_path)
    artifact.verify(both.path, both.sha256)
    names = {path.name for path in both.path.iterdir()}
    assert names == {*(path.name for path in pairs.path.iterdir()), "preferences.parquet", "preferences.json"}
    identity = str(rows_of(preferences)[0]["id"])
    assert _holds(both.path / "preferences.parquet", [identity])
    raw = next((tmp_path / "quarantine").glob("raw-preferred-*"))
    assert _holds(raw / "pairs.parquet", [identity])
    assert (raw.stat().st_mode & 0o777, (raw / "pairs.parquet").stat().st_mode & 0o777) == (0o700, 0o600)
