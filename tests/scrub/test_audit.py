"""The measures say what was missed, in which language; and never that something was scrubbed that nobody measured."""

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import SeqlineError
from pipelines.scrub import audit
from pipelines.scrub.audit import Placed
from pipelines.scrub.spans import Span
from pipelines.spec import Privacy

POLICY = Privacy(entities=("PERSON", "EMAIL_ADDRESS"))
TRANSLATION = Privacy(entities=("PERSON",), target_language="de")


def write(path: Path, rows: list[tuple[str, str, list[tuple[str, str]]]]) -> Path:
    known = pa.list_(pa.struct([("entity", pa.string()), ("value", pa.string())]))
    schema = pa.schema([("source", pa.string()), ("target", pa.string()), ("known", known)])
    content = [
        {"source": source, "target": target, "known": [{"entity": entity, "value": value} for entity, value in its]}
        for source, target, its in rows
    ]
    pq.write_table(pa.Table.from_pylist(content, schema), path)
    return path


def test_gold_values_missed_and_removed(tmp_path: Path) -> None:
    rows = [
        (
            "by Ann Lee <ann@example.org>",
            "x",
            [("PERSON", "Ann Lee"), ("EMAIL_ADDRESS", "ann@example.org"), ("URL", "http://a")],
        ),
        ("by Bob Ray", "Bob Ray's", [("PERSON", "Bob Ray"), ("PERSON", "Not There")]),
        ("by Ann Lee", "", [("PERSON", "Ann Lee")]),
    ]
    clean = write(tmp_path / "clean", [("by <PERSON_1> <<EMAIL_ADDRESS_1>>", "x", []), ("by <PERSON_1>", "Bob Ray's", [])])
    found = audit.missed_values(write(tmp_path / "raw", rows), clean, POLICY)
    assert found.counts == {"en": {"PERSON": 2, "EMAIL_ADDRESS": 1}}
    assert found.missed == {"en": {"PERSON": ["Bob Ray"], "EMAIL_ADDRESS": []}}
    assert found.removed == {"en": {"PERSON": ["Ann Lee"], "EMAIL_ADDRESS": ["ann@example.org"]}}
    measured = audit.recall(found.counts, found.missed)["en"]["PERSON"]
    assert measured == {"values": 2, "missed": 1, "recall": 0.5, "interval": [0.0126, 0.9874]}


def test_gold_values_by_the_language_they_stand_in(tmp_path: Path) -> None:
    rows = [("by Ann Lee", "von Ann Lee", [("PERSON", "Ann Lee")]), ("a tool", "von Bob Ray", [("PERSON", "Bob Ray")])]
    clean = write(tmp_path / "clean", [("by <PERSON_1>", "von Ann Lee", []), ("a tool", "von <PERSON_1>", [])])
    found = audit.missed_values(write(tmp_path / "raw", rows), clean, TRANSLATION)
    assert found.counts == {"en": {"PERSON": 1}, "de": {"PERSON": 2}}
    assert found.missed == {"en": {"PERSON": []}, "de": {"PERSON": ["Ann Lee"]}}
    assert found.removed == {"en": {"PERSON": []}, "de": {"PERSON": ["Bob Ray"]}}, "removed is what stands nowhere at all"


@given(
    values=st.sets(st.text(st.sampled_from("abé \n"), min_size=1, max_size=4), min_size=1, max_size=6),
    texts=st.lists(st.text(st.sampled_from("abé \n"), max_size=8), max_size=5),
)
def test_standing_is_what_a_naive_search_says(
    tmp_path_factory: pytest.TempPathFactory, values: set[str], texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("audit")
    raw = write(folder / "raw", [(value, "", [("PERSON", value)]) for value in sorted(values)])
    clean = write(folder / "clean", [(text, "", []) for text in texts])
    found = audit.missed_values(raw, clean, POLICY)
    assert found.missed["en"]["PERSON"] == sorted(value for value in values if any(value in text for text in texts))


def test_the_sample_does_not_depend_on_the_rows_order(tmp_path: Path) -> None:
    rows: list[tuple[str, str, list[tuple[str, str]]]] = [(f"source {n} of tools", f"Ziel {n}", []) for n in range(3_000)]
    first = audit.samples(write(tmp_path / "a", rows), TRANSLATION)
    random.Random(1).shuffle(rows)
    assert audit.samples(write(tmp_path / "b", rows), TRANSLATION) == first
    assert {each.language for each in first} == {"en", "de"}
    assert len(first) == 2 * audit.MOST
    assert all(("source" if each.language == "en" else "Ziel") in each.text for each in first)


def test_a_small_slice_is_measured_on_fewer(tmp_path: Path) -> None:
    assert len(audit.samples(write(tmp_path / "a", [("a tool", "tool", [])]), POLICY)) == 2 * audit.FEWEST
    assert audit.samples(write(tmp_path / "b", []), POLICY) == []


def placed(text: str, value: str, entity: str = "PERSON") -> Placed:
    start = text.index(value)
    return Placed(text, start, start + len(value), entity, "en")


@pytest.mark.parametrize(
    ("span", "missed"),
    [
        (Span(3, 10, "PERSON", 0.9), False),
        (Span(0, 14, "LOCATION", 0.9), False),  # hidden, if by another name
        (Span(3, 6, "PERSON", 0.9), True),  # a part of a name still names
        (None, True),
    ],
)
def test_a_planted_value_is_found_only_whole(span: Span | None, missed: bool) -> None:
    counts, lost = audit.missed_placed([placed("by Ann Lee now", "Ann Lee")], [[span] if span else []], POLICY)
    assert (counts, lost) == ({"en": {"PERSON": 1}}, {"en": {"PERSON": ["Ann Lee"]}} if missed else {})


def test_what_the_policy_allows_hides_nothing() -> None:
    policy = Privacy(entities=("PERSON",), allow=("Ann Lee",))
    assert audit.missed_placed([placed("by Ann Lee", "Ann Lee")], [[Span(3, 10, "PERSON", 0.9)]], policy)[1]


def test_a_text_that_no_recognizer_survived_counts_as_neither() -> None:
    assert audit.missed_placed([placed("by Ann Lee", "Ann Lee")], [SeqlineError("regex timed out")], POLICY) == ({}, {})


def test_verdicts_name_what_was_not_measured() -> None:
    policy = Privacy(entities=("PERSON", "NRP"), target_language="de")
    planted = audit.recall({"en": {"PERSON": 10}}, {})
    found: dict[str, Any] = audit.verdicts(policy, {}, planted)
    assert json.loads(json.dumps(found)) == found
    assert {language: {entity: each["verdict"] for entity, each in its.items()} for language, its in found.items()} == {
        "en": {"PERSON": "measured", "NRP": "not measured"},
        "de": {"PERSON": "not measured", "NRP": "not measured"},
    }
    assert found["en"]["PERSON"]["planted"]["interval"] == [0.6915, 1.0]
    assert found["en"]["PERSON"]["known"] is None


def test_expire_deletes_what_is_old_but_no_vault(tmp_path: Path) -> None:
    for name, days in (("raw-old", 9), ("scrub-old", 8), ("scrub-kept", 8), ("raw-new", 6), ("other", 99)):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "file").write_text("x")
        if name == "scrub-kept":
            (tmp_path / name / "vault.parquet").write_text("x")
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    assert audit.expire(tmp_path, 7) == 3
    os.utime(tmp_path / "scrub-kept", (time.time() - 8 * 86_400,) * 2)
    assert audit.expire(tmp_path, 7) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "raw-new", "scrub-kept"]
    assert [path.name for path in (tmp_path / "scrub-kept").iterdir()] == ["vault.parquet"]
    assert audit.expire(tmp_path / "absent", 7) == 0
