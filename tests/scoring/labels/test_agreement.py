"""Agreement as Krippendorff computed it, and what has no answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.scoring.labels.agreement import agreement

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": examples A (binary) and C (nominal, answers missing)
BINARY = ("0100000010", "1110010000")
NOMINAL = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
answers = st.lists(
    st.lists(st.sampled_from(["supported", "unsupported", None]), min_size=3, max_size=3), min_size=2, max_size=20
)


def rows(*reviewers: str) -> list[list[str | None]]:
    return [[None if word == "." else word for word in item] for item in zip(*reviewers, strict=True)]


@pytest.mark.parametrize(("reviewers", "alpha"), [(BINARY, 0.095), (NOMINAL, 0.743)])
def test_published_values(reviewers: tuple[str, ...], alpha: float) -> None:
    found = agreement(rows(*reviewers))
    assert found.value == pytest.approx(alpha, abs=0.0005)
    assert found.low <= found.value <= found.high


def test_all_agree_and_all_contradict() -> None:
    assert agreement(rows("0110", "0110")).value == 1.0
    assert agreement(rows("0101", "1010")).value < 0
    assert agreement(rows("00", "00")).value == 1.0


@given(answers, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_reviewers_does_not_matter(given_: list[list[str | None]], draw: object) -> None:
    if sum(len([each for each in row if each]) > 1 for row in given_) < 2:
        with pytest.raises(UserError, match="let a second reviewer answer"):
            agreement(given_, resamples=10)
        return
    found = agreement(given_, resamples=50)
    assert found.low <= found.value <= found.high <= 1.0
    mixed = [draw.sample(row, len(row)) for row in given_]  # type: ignore[attr-defined]
    assert agreement(mixed, resamples=50) == found


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(UserError, match="one column a reviewer"):
        agreement([["a", "b"], ["a"]])
