"""Intervals that cover, verdicts that follow from them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipelines.scoring.compare import FEWEST, Estimate, difference, gap, holm, mean, randomization, share, verdict

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


def test_randomization_is_exact_for_few_and_seeded_for_many() -> None:
    assert randomization([2.0, 2.0, 2.0], [1.0, 1.0, 1.0]) == pytest.approx(2 / 8)  # all plus or all minus, of 2 ** 3
    rng = np.random.default_rng(3)
    ours = rng.normal(0.3, 1, 60)
    p = randomization(ours, np.zeros(60), resamples=4_000)
    assert p == randomization(ours, np.zeros(60), resamples=4_000)
    assert p == pytest.approx(stats.ttest_1samp(ours, 0).pvalue, abs=0.02)
    assert randomization(ours + 9, np.zeros(60), resamples=200) == pytest.approx(2 / 200)  # never 0
    assert randomization(ours, ours) == 1.0


def test_randomization_of_equal_systems_is_uniform() -> None:
    rng = np.random.default_rng(4)
    found = [randomization(rng.gamma(0.5, 10, 30), rng.gamma(0.5, 10, 30), resamples=199) for _ in range(200)]
    assert stats.kstest(found, "uniform").pvalue > 0.001


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_only_raises_and_rejects_as_the_paper_does(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= sure <= 1 for p, sure in zip(ps, adjusted, strict=True))
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(order))
    rejected = []
    for place, index in enumerate(order):  # step down, as the paper words it
        if ps[index] > 0.05 / (len(ps) - place):
            break
        rejected.append(index)
    close = any(abs(sure - 0.05) < 1e-9 for sure in adjusted)
    assert close or sorted(rejected) == [index for index, sure in enumerate(adjusted) if sure <= 0.05]


def test_the_gap_of_two_samples_is_welchs() -> None:
    rng = np.random.default_rng(5)
    seen, held_out = rng.normal(60, 20, 200), rng.normal(50, 20, 400)
    found = gap(seen, held_out, resamples=4_000)
    welch = stats.ttest_ind(seen, held_out, equal_var=False).confidence_interval()
    assert found.value == pytest.approx(seen.mean() - held_out.mean())
    assert (found.low, found.high) == pytest.approx((welch.low, welch.high), abs=0.3)
    assert gap([1.0, 1.0], [0.0, 0.0]) == Estimate(1.0, 1.0, 1.0, 2)
    with pytest.raises(ValueError, match="at least two finite values on both sides, not 1 and 2"):
        gap([1.0], [1.0, 2.0])


def test_shares_are_exact_and_refuse_nonsense() -> None:
    assert share(0, 300).high == pytest.approx(1 - 0.025 ** (1 / 300))  # "rule of three", exactly
    assert (share(300, 300).value, share(300, 300).high) == (1.0, 1.0)
    with pytest.raises(ValueError, match="at least two finite values"):
        mean([1.0])
    with pytest.raises(ValueError, match="at least two finite values"):
        mean([1.0, float("nan")])
    with pytest.raises(ValueError, match="as many values on both sides"):
        difference([1.0, 2.0], [1.0])
