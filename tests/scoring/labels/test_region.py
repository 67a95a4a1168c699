"""The region is a fair game's, and its projections are its true extremes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import comb, xlog1py, xlogy

from pipelines.scoring.labels.corrected import ANY_JUDGE
from pipelines.scoring.labels.region import Bets, Strata, bets_on, judge_bounds, rate_bounds, share_bounds

ANY = bets_on(*ANY_JUDGE)
SHARP = bets_on([0.9, 0.95], [0.01])
ALPHA = 0.05
few = st.integers(0, 12)
shares = st.floats(0.02, 0.98)
prior = st.sampled_from([ANY, SHARP])


@st.composite
def labelled(draw: st.DrawFn, most: int = 40) -> Strata:
    n1, n0 = draw(st.integers(0, most)), draw(st.integers(0, most))
    return Strata.of(draw(shares), n1, draw(st.integers(0, n1)), n0, draw(st.integers(0, n0)))


@given(few, few, prior)
@settings(max_examples=50, deadline=None)
def test_the_bets_are_a_probability_so_that_no_game_is_won_on_average(n1: int, n0: int, bets: Bets) -> None:
    """Over all outcomes of n labels the marginal sums to 1: over the true likelihood it has mean 1, and Ville bounds it."""
    bad, missed = (each.ravel() for each in np.meshgrid(np.arange(n1 + 1), np.arange(n0 + 1)))
    orders = comb(n1, bad) * comb(n0, missed)
    assert np.sum(orders * np.exp(bets.log_marginal(Strata.of(0.5, n1, bad, n0, missed)))) == pytest.approx(1.0)


@given(labelled(), prior, st.booleans())
@settings(max_examples=50, deadline=None)
def test_the_next_label_is_fair_whichever_stratum_is_asked(s: Strata, bets: Bets, ask_flagged: bool) -> None:
    """A martingale: the chances that the bets give to both answers add up to what they gave to the labels before."""
    after = [
        Strata.of(s.share, s.flagged + 1, s.flagged_bad + bad, s.passed, s.passed_bad)
        if ask_flagged
        else Strata.of(s.share, s.flagged, s.flagged_bad, s.passed + 1, s.passed_bad + bad)
        for bad in (0, 1)
    ]
    assert np.logaddexp(*(bets.log_marginal(each) for each in after)) == pytest.approx(bets.log_marginal(s))


def brute(s: Strata, bets: Bets) -> tuple[np.ndarray, np.ndarray]:
    """Points (p1, p0) of a grid that lie in the region."""
    near = np.geomspace(1e-4, 0.05, 80)
    side = np.concatenate([near, np.linspace(0, 1, 201), 1 - near])
    p1, p0 = np.meshgrid(side, side)
    with np.errstate(divide="ignore"):
        flagged = xlogy(s.flagged_bad, p1) + xlog1py(s.flagged - s.flagged_bad, -p1)
        passed = xlogy(s.passed_bad, p0) + xlog1py(s.passed - s.passed_bad, -p0)
    inside = flagged + passed >= bets.log_marginal(s) + np.log(ALPHA)
    return p1[inside], p0[inside]


@given(labelled(), prior)
@settings(max_examples=20, deadline=None)
def test_the_bounds_of_the_rate_are_the_regions_extremes(s: Strata, bets: Bets) -> None:
    p1, p0 = brute(s, bets)
    rates = s.share * p1 + (1 - s.share) * p0
    low, high = rate_bounds(s, bets.log_marginal(s), ALPHA)
    assert low - 1e-6 <= rates.min() <= low + 0.03
    assert high - 0.03 <= rates.max() <= high + 1e-6
    assert low <= s.rate() <= high


@given(labelled(), prior)
@settings(max_examples=20, deadline=None)
def test_the_bounds_of_the_judges_rates_are_the_regions_extremes(s: Strata, bets: Bets) -> None:
    p1, p0 = brute(s, bets)
    bounds = judge_bounds(s, bets.log_marginal(s), ALPHA)
    for (low, high), (one, zero) in zip(bounds, ((p1, p0), (1 - p1, 1 - p0)), strict=True):
        there = s.share * one + (1 - s.share) * zero > 0
        shares_ = (s.share * one / np.where(there, s.share * one + (1 - s.share) * zero, 1.0))[there]
        assert low - 1e-6 <= shares_.min()
        assert shares_.max() <= high + 1e-6
        if 0 < s.flagged_bad < s.flagged and 0 < s.passed_bad < s.passed:
            assert shares_.min() <= low + 0.05
            assert shares_.max() >= high - 0.05


@given(labelled(), prior)
@settings(max_examples=20, deadline=None)
def test_turning_the_answers_turns_the_bounds(s: Strata, bets: Bets) -> None:
    low, high = rate_bounds(s, bets.log_marginal(s), ALPHA)
    other_low, other_high = rate_bounds(s.turned(), bets.log_marginal(s), ALPHA)
    assert (1 - other_high, 1 - other_low) == pytest.approx((low, high), abs=1e-6)


@given(st.integers(1, 5_000), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_a_share_lies_within_its_bounds_and_less_alpha_is_wider(n: int, part: float) -> None:
    hits = round(part * n)
    low, high = share_bounds(n, hits, 0.05)
    wide_low, wide_high = share_bounds(n, hits, 0.005)
    assert 0 <= wide_low <= low <= hits / n <= high <= wide_high <= 1


def test_arrays_give_what_one_by_one_gives() -> None:
    rng = np.random.default_rng(1)
    n1, n0 = rng.integers(0, 50, 20), rng.integers(0, 50, 20)
    share, bad, missed = rng.random(20), rng.binomial(n1, 0.6), rng.binomial(n0, 0.1)
    together = Strata.of(share, n1, bad, n0, missed)
    low, high = rate_bounds(together, ANY.log_marginal(together), ALPHA)
    for i in range(20):
        one = Strata.of(share[i], n1[i], bad[i], n0[i], missed[i])
        assert rate_bounds(one, ANY.log_marginal(one), ALPHA) == pytest.approx((low[i], high[i]), abs=1e-9)
