"""Metrics of the task itself, by cases whose worth is plain."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import spec
from pipelines.errors import UserError
from pipelines.scoring.metrics.tasks import conformity, exact, fields, of_pairs, steps, valid

leaves = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5))
content = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
objects = st.dictionaries(st.text(min_size=1, max_size=3), content, min_size=1, max_size=4)


def test_exact_forgives_blanks_and_nothing_else() -> None:
    assert exact(["a  b\n", "A b", ""], ["a b", "a b", ""]).tolist() == [1, 0, 1]


@given(objects)
def test_every_object_is_itself_however_it_is_written(value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2, sort_keys=True)
    assert fields([text], [json.dumps(value)], "json").tolist() == [1]
    assert fields(["not json"], [text], "json").tolist() == [0]


@pytest.mark.parametrize(
    ("output", "share"),
    [
        ('{"a": 1, "b": {"c": "x"}}', 1),
        ('{"a": 2, "b": {"c": "x"}}', 1 / 2),
        ('{"a": 1}', 1 / 2),
        ('{"a": 1, "b": {"c": "x"}, "d": 0}', 2 / 3),
        ('[{"a": 1}]', 0),
        ("{" * 100_000, 0),
        ("", 0),
    ],
)
def test_fields_missing_wrong_and_too_many_all_cost(output: str, share: float) -> None:
    assert fields([output], ['{"a": 1, "b": {"c": "x"}}'], "json")[0] == pytest.approx(share)


def test_fields_of_lines() -> None:
    reference = "Name: Ada\nCity : Paris"
    assert fields(["city: Paris\nname:  Ada", "Name: Ada", "Ada"], [reference] * 3, "lines").tolist() == [1, 0.5, 0]


@pytest.mark.parametrize("form", ["json", "lines"])
def test_a_reference_without_fields_is_named(form: Any) -> None:
    with pytest.raises(UserError, match=r"scoring\.tasks\.fields: the reference of test pair 2 is not"):
        fields(["", ""], ['{"a": 1}' if form == "json" else "a: 1", "free text"], form)


def test_a_schema_accepts_or_not() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    outputs = ['{"a": 1}', '{"a": "1"}', "{}", "{", "[" * 100_000, ""]
    assert valid(outputs, schema).tolist() == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("output", "share"),
    [
        ("1. open\n2. turn\n3. close", 1),
        ("1) Open. 2) Turn. 3) Close.", 1),
        ("- open\n- turn\n- close", 1),
        ("open\nclose\nturn", 2 / 3),
        ("open\nturn", 2 / 3),
        ("open\nturn\nclose\nwait", 3 / 4),
        ("nothing of it", 0),
        ("", 0),
    ],
)
def test_steps_count_in_their_order(output: str, share: float) -> None:
    assert steps([output], ["open\nturn\nclose"])[0] == pytest.approx(share)


def test_a_blank_reference_has_no_steps() -> None:
    with pytest.raises(UserError, match=r"scoring\.tasks\.steps: the reference of test pair 1 has no step"):
        steps(["a"], [" \n"])


@pytest.mark.parametrize(
    ("style", "right", "wrong"),
    [
        ({"min_words": 2}, "a b", "a"),
        ({"max_words": 2}, "a b", "a b c"),
        ({"max_chars": 3}, "abc", "abcd"),
        ({"one_line": True}, "a b", "a\nb"),
        ({"starts": "upper"}, "1. Ab", "ab"),
        ({"starts": "lower"}, "ab", "Ab"),
        ({"ends": "stop"}, "so.", "so"),
        ({"ends": "no_stop"}, "so", "so."),
        ({"forbidden": ("as an AI",)}, "aided as an Aiding", "I, as an ai, ..."),
    ],
)
def test_a_style_is_kept_or_not(style: dict[str, Any], right: str, wrong: str) -> None:
    assert conformity([right, wrong], spec.Style.model_validate(style)).tolist() == [1, 0]


def test_only_what_is_asked_for_is_measured() -> None:
    assert of_pairs(["a"], ["free text"], spec.Tasks()) == {}
    asked = spec.Tasks(exact=True, fields="lines", json_schema={"type": "string"}, steps=True, style=spec.Style())
    assert set(of_pairs(["a: 1"], ["a: 1"], asked)) == {"exact_match", "fields", "json_schema", "steps", "style"}


def test_a_wrong_schema_and_a_gate_on_what_is_not_measured_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no JSON Schema \(2020-12\): type: 'objekt' is not valid"):
        spec.Tasks(json_schema={"type": "objekt"})
    with pytest.raises(ValueError, match=r"gate\.tasks\.exact_match: is not measured: ask for it by scoring\.tasks\.exact"):
        spec.Scoring(gate=spec.Gate(tasks={"exact_match": 0.5}))
