"""The bets are fair: on unchanged traffic each pays 1 on average, by the law itself; on changed traffic they win."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from pipelines.monitoring.wagers import BLOCK, THETAS, TILTS, Wealth, paid, paid_whole


@settings(max_examples=40, deadline=None)
@given(n=st.integers(BLOCK, 20_000), share=st.floats(0, 1))
def test_a_bet_pays_one_on_average_whatever_the_bag_holds(n: int, share: float) -> None:
    k = round(share * n)
    x = np.arange(max(0, BLOCK - (n - k)), min(k, BLOCK) + 1)
    won = np.exp(paid(n, np.full(len(x), k), x))
    mean = hypergeom(n, k, BLOCK).pmf(x) @ won
    assert mean == pytest.approx(np.ones(len(THETAS)), rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), rest=st.integers(2, 30))
def test_the_bets_on_wholes_pay_one_on_average_over_which_block_is_the_new_one(seed: int, rest: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = rng.normal(size=(rest + 1, BLOCK, 4)).astype(np.float32) + rng.normal(size=(rest + 1, 1, 4)).astype(np.float32)

    class InOrder:
        """The others as they lie: every order of them has the same blocks."""

        def permutation(self, n: int) -> np.ndarray:
            return np.arange(n)

    won = []
    for new in range(rest + 1):
        others = np.delete(blocks, new, axis=0).reshape(-1, 4)
        won.append(np.exp(paid_whole(np.vstack([others, blocks[new]]), InOrder())))  # type: ignore[arg-type]
    assert np.mean(won, axis=0) == pytest.approx(np.ones(len(TILTS)), rel=1e-4)


def test_wealth_shares_its_capital_over_the_start_and_never_makes_any() -> None:
    wealth = Wealth.start(2, 3)
    for _ in range(200):
        wealth = wealth.after(np.zeros((2, 3)))
    assert wealth.log == pytest.approx([0.0, 0.0], abs=1e-9)


@pytest.mark.parametrize("late", [0, 5, 100])
def test_a_change_is_found_whenever_it_comes(late: int) -> None:
    wealth = Wealth.start(1, 1)
    for block in range(late + 6):
        wealth = wealth.after(np.full((1, 1), 3.0 if block >= late else -1.0))
    assert wealth.log[0] > 18 - 10


def test_a_common_answer_that_becomes_rare_and_a_rare_one_that_becomes_common_both_win() -> None:
    won = paid(4050, np.array([3600, 440]), np.array([0, 40])).max(axis=1)
    assert (won > 20).all()
