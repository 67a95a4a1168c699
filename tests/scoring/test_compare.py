"""Intervals that cover, verdicts that follow from them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipelines.scoring.compare import FEWEST, Estimate, difference, mean, share, verdict

scores = st.lists(st.floats(0, 100, width=32), min_size=FEWEST, max_size=30)
finite = st.floats(-100, 100)


def estimate(value: float, low: float, high: float, n: int = 100) -> Estimate:
    return Estimate(value, low, high, n)


@pytest.mark.parametrize(("n", "shape"), [(40, 1.0), (150, 0.5)])
def test_the_interval_covers_the_true_mean_of_skewed_scores(n: int, shape: float) -> None:
    rng = np.random.default_rng(1)
    trials = 400
    covered = 0
    for trial in range(trials):
        found = mean(rng.gamma(shape, 10.0, n), resamples=400, seed=trial)
        covered += found.low <= shape * 10.0 <= found.high
    # 95 % promised; the bootstrap may fall a little short on skewed samples, never under 90 %, and must not be vacuous
    assert stats.binomtest(covered, trials, 0.90, alternative="less").pvalue > 0.001
    assert covered < trials


@given(scores)
@settings(max_examples=40, deadline=None)
def test_swapping_the_sides_turns_the_interval_round(ours: list[float]) -> None:
    theirs = ours[::-1]
    forth, back = difference(ours, theirs, resamples=200), difference(theirs, ours, resamples=200)
    assert forth.value == pytest.approx(-back.value, abs=1e-9)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), abs=1e-6)
    opposite = {"better": "worse", "worse": "better", "inconclusive": "inconclusive", "not worse": "not worse"}
    if abs(forth.low) > 1e-6 and abs(forth.high) > 1e-6:
        assert verdict(back) == opposite[verdict(forth)]


@given(scores)
@settings(max_examples=40, deadline=None)
def test_the_interval_holds_the_value_and_repeats(values: list[float]) -> None:
    found = mean(values, resamples=200)
    assert min(values) - 1e-6 <= found.low <= found.high <= max(values) + 1e-6
    assert found == mean(values, resamples=200)


def test_more_confidence_is_wider_and_pairing_is_narrower() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(50, 20, 200)
    ours, theirs = hard + rng.normal(1, 1, 200), hard + rng.normal(0, 1, 200)
    paired, alone = difference(ours, theirs), mean(ours)
    assert paired.high - paired.low < (alone.high - alone.low) / 5
    wide, narrow = difference(ours, theirs, confidence=0.99), difference(ours, theirs, confidence=0.8)
    assert wide.low < paired.low < narrow.low < narrow.high < paired.high < wide.high
    assert verdict(paired) == "better"


def test_verdicts() -> None:
    assert verdict(estimate(2, 1, 3), 2) == "better"
    assert verdict(estimate(-1, -1.5, -0.5), 2) == "not worse"
    assert verdict(estimate(0, -2.5, 2.5), 2) == "inconclusive"
    assert verdict(estimate(-4, -5, -3), 2) == "worse"
    assert verdict(estimate(5, 4, 6, FEWEST - 1), 2) == "inconclusive"
    assert verdict(difference([1.0] * FEWEST, [1.0] * FEWEST)) == "not worse"


@given(finite, st.floats(0, 50), st.floats(0, 50), st.floats(0, 20), st.floats(0, 20))
def test_a_wider_margin_or_a_higher_interval_never_makes_it_worse(
    value: float, below: float, above: float, margin: float, more: float
) -> None:
    rank = {"worse": 0, "inconclusive": 1, "not worse": 2, "better": 3}
    here = estimate(value, value - below, value + above)
    up = estimate(value + more, value - below + more, value + above + more)
    assert rank[verdict(up, margin)] >= rank[verdict(here, margin)]
    if verdict(here, margin) != "worse":
        assert rank[verdict(here, margin + more)] >= rank[verdict(here, margin)]


def test_shares_are_exact_and_refuse_nonsense() -> None:
    assert share(0, 300).high == pytest.approx(1 - 0.025 ** (1 / 300))  # "rule of three", exactly
    assert (share(300, 300).value, share(300, 300).high) == (1.0, 1.0)
    with pytest.raises(ValueError, match="at least two finite values"):
        mean([1.0])
    with pytest.raises(ValueError, match="at least two finite values"):
        mean([1.0, float("nan")])
    with pytest.raises(ValueError, match="as many values on both sides"):
        difference([1.0, 2.0], [1.0])
