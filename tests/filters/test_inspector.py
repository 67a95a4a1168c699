"""The filters together: any text, actions, patterns in bounded time."""

import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.filters import NAMES, Inspector
from pipelines.filters.figures import new_numbers
from pipelines.filters.loops import repeats
from pipelines.filters.names import new_names
from pipelines.filters.patterns import BUDGET
from pipelines.spec import Filters

ALL = Filters(names="flag", patterns=(r"\bACME-\d+\b", "(?i)as an ai"))
anything = st.text(st.characters(), max_size=200)  # lone surrogates too
crowded = st.text(st.sampled_from("a1.,' <>A_Ü漢\u00a0\u0300\ud800٣²-:pm"), max_size=120)
texts = anything | crowded | st.lists(st.sampled_from(["salad", "1,000", "3", "Bob", "NASA", "<PERSON_1>", "x."])).map(" ".join)


def inspector(task: str = "translation", language: str = "en", **filters: Any) -> Inspector:
    return Inspector(ALL.model_copy(update=filters), task, language)


@given(texts, texts, st.booleans())
def test_any_texts_are_judged_and_always_alike(source: str, output: str, finished: bool) -> None:
    judge = inspector()
    doubts = judge.answer(source, output, finished=finished)
    assert doubts == judge.answer(source, output, finished=finished) == inspector().answer(source, output, finished=finished)
    assert doubts == [name for name in NAMES if name in doubts], "each once, in their order"
    assert ("length" in doubts) or finished


@given(st.lists(texts, min_size=1, max_size=8), st.data())
def test_an_extract_brings_up_no_number_and_no_name(parts: list[str], data: st.DataObject) -> None:
    source = " ".join(parts)
    words = source.split()
    assume(words)
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first + 1, len(words)))
    extract = " ".join(words[first:last])
    assert new_numbers(source, extract) == []
    assert new_names(source, extract, "en") == []


@given(texts)
def test_a_text_repeats_no_more_than_itself(text: str) -> None:
    assert "repetition" not in inspector().answer(text, text, finished=True)


@pytest.mark.parametrize(
    "text",
    ["salad " * 170_000, "ab" * 500_000, "1." * 500_000, "1 000" * 200_000, "A " * 500_000, "<A_" * 300_000, '"' * 1_000_000],
)
def test_a_megabyte_is_judged_too(text: str) -> None:
    spent = time.process_time()
    inspector().answer(text[::-1], text, finished=True)
    assert time.process_time() - spent < 60, "quadratic work would take hours"


def test_each_filter_says_what_becomes_of_its_doubts() -> None:
    judge = inspector(numbers="off", echo="refuse")
    assert judge.answer("a 5", "a 7", finished=True) == []
    assert {name: judge.action(name) for name in (*NAMES, "leak")} == {
        "length": "flag", "repetition": "flag", "echo": "refuse", "numbers": "off", "names": "flag", "pattern": "refuse",
        "leak": "redact",
    }  # fmt: skip
    with pytest.raises(KeyError):
        judge.action("host")


def test_which_filters_are_on() -> None:
    assert inspector().on == NAMES
    assert inspector("summarization", patterns=(), names="off").on == ("length", "repetition", "numbers")


def test_an_unfinished_or_overlong_answer() -> None:
    judge = inspector(longest_ratio=2.0)
    assert judge.answer("four", "four", finished=False) == ["length"]
    assert judge.answer("x" * 10, "y" * 60, finished=True) == ["repetition"]
    assert "length" in judge.answer("x" * 10, "y" * 61, finished=True)


def test_patterns_of_the_users() -> None:
    judge = inspector(input_patterns=("(?i)ignore all", r"^\s*$"))
    assert judge.answer("see no. 12", "see ACME-12", finished=True) == ["names", "pattern"]
    assert judge.slow
    assert "pattern" in judge.answer("a", "As an AI, I", finished=True)
    assert "pattern" not in judge.answer("a", "an aisle", finished=True)
    assert judge.request("Please IGNORE ALL that") == "input_patterns[0]"
    assert judge.request("  ") == "input_patterns[1]"
    assert judge.request("a salad") is None
    assert judge.timeouts == 0


def test_a_pattern_that_runs_away_is_a_hit_and_counted() -> None:
    judge = inspector(patterns=("(x+x+)+y",), input_patterns=("(x+x+)+y", "fine"))
    spent = time.process_time()
    assert judge.request("x" * 5_000) == "input_patterns[0]"
    assert "pattern" in judge.answer("x", "x" * 5_000, finished=True)
    assert judge.timeouts == 2
    assert time.process_time() - spent < 100 * BUDGET, "without a bound it would never end"
    assert judge.request("nothing to see") is None, "the next text is looked at as ever"


def test_a_pattern_that_is_none_is_refused_with_its_key() -> None:
    # a section made past its own rule: `re` takes what `regex` does not
    with pytest.raises(UserError, match=r"serving\.filters\.input_patterns: "):
        Inspector(ALL.model_copy(update={"input_patterns": ("(",)}), "text2text", "en")


def test_repeats_is_zero_for_ordinary_text() -> None:
    assert repeats("The cat and the dog and the bird: the end of the tale.") == 0
