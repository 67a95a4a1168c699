"""Spans: where an output is unsupported; and how its sentences' doubts add up."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.scoring.judge import sentence_bounds
from pipelines.scoring.judge.reading import Source
from pipelines.scoring.judge.spans import unsupported, whole

SOURCE = Source(
    "The harbour of Rostock was closed on Monday. Twelve ships waited outside, said Anna Krause of the port authority. "
    "A storm had broken one of the cranes, which nobody repaired for 3 weeks. Fishermen in Warnemuende lost <MONEY_1> a day."
)
text = st.text(st.characters(codec="utf-8"), max_size=120)
probabilities = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), max_size=12)


@pytest.mark.parametrize(
    ("output", "spans"),
    [
        ("The harbour was closed on Monday.", []),
        ("The harbour of Hamburg was closed.", [("Hamburg", "name")]),
        ("The harbour was closed by Jan van Dyck.", [("Jan", "name"), ("Dyck", "name"), ("van", "word")]),
        ("Eleven ships waited.", [("Eleven", "number")]),
        ("They lost <MONEY_2> a day.", [("<MONEY_2>", "placeholder")]),
        ("Ships never waited outside.", [("never", "negation")]),
        ("The fishermen met Anna Krause.", [("met", "word"), ("Anna Krause", "misplaced")]),
        ("", []),
    ],
)
def test_spans(output: str, spans: list[tuple[str, str]]) -> None:
    found = unsupported(SOURCE, output)
    assert sorted((span.text, span.kind) for span in found) == sorted(spans)


@given(text, text)
@settings(max_examples=100, deadline=None)
def test_spans_lie_in_the_output_in_order(source: str, output: str) -> None:
    found = unsupported(Source(source), output)
    assert all(output[span.start : span.end] == span.text != "" for span in found)
    assert all(one.end <= other.start for one, other in pairwise(found))


@given(text)
@settings(max_examples=100, deadline=None)
def test_sentences_cover_all_but_blanks(output: str) -> None:
    bounds = sentence_bounds(output)
    assert all(start < end for start, end in bounds)
    assert all(one[1] <= other[0] for one, other in pairwise(bounds))
    left = "".join(output[a:b] for a, b in zip([0, *(end for _, end in bounds)], [*(s for s, _ in bounds), None], strict=True))
    assert not left.strip()


@given(probabilities)
@settings(max_examples=100, deadline=None)
def test_an_output_is_never_less_doubtful_than_its_worst_sentence(said: list[tuple[float, int]]) -> None:
    each = np.array([p for p, _ in said], dtype=np.float64)
    pair = np.array([index for _, index in said], dtype=np.int64)
    found = whole(each, pair, 4)
    for index in range(4):
        own = each[pair == index]
        if not len(own):
            assert found[index] == 1
            continue
        assert own.max() <= found[index] <= 1
        assert found[index] <= own.sum() + 1e-9
        assert whole(own, np.zeros(len(own), dtype=np.int64), 1)[0] == found[index]  # in any batch


def test_sentences_add_up_as_independent_ones_do() -> None:
    assert whole(np.array([0.5, 0.5, 0.2]), np.array([0, 0, 1]), 2) == pytest.approx([0.75, 0.2])
