import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rollout.budget import STAGE_EVENTS, Budget, excess, overspent
from pipelines.rollout.evidence import Count

MONTH = 30 * 86_400.0


def test_a_burn_of_one_kept_up_for_the_window_spends_it_all() -> None:
    whole = Budget(0.99, MONTH, MONTH, Count(100_000, 1_000))
    assert whole.burn == pytest.approx(1)
    assert whole.left == pytest.approx(0)
    tenth = Budget(0.99, MONTH, MONTH / 10, Count(10_000, 200))
    assert tenth.burn == pytest.approx(2)
    assert tenth.left == pytest.approx(0.8)


def test_without_traffic_nothing_is_spent() -> None:
    empty = Budget(0.999, MONTH, 0.0, Count())
    assert (empty.burn, empty.left, empty.stage) == (0.0, 1.0, STAGE_EVENTS)


@given(st.floats(0.5, 0.9999), st.integers(1, 10**6), st.integers(0, 10**6), st.floats(1, MONTH))
def test_a_further_bad_answer_never_leaves_more(objective: float, n: int, bad: int, span: float) -> None:
    bad = min(bad, n - 1)
    assert Budget(objective, MONTH, span, Count(n, bad + 1)).left < Budget(objective, MONTH, span, Count(n, bad)).left


def test_a_stage_may_spend_25_excess_answers_or_a_hundredth_of_the_budget() -> None:
    small, large = Budget(0.99, MONTH, MONTH, Count(10_000, 0)), Budget(0.99, MONTH, MONTH, Count(1_000_000, 0))
    assert small.stage == STAGE_EVENTS
    assert large.stage == pytest.approx(100)
    champion = Count(1_000, 0)
    assert overspent(Count(1_000, 70), champion, small)
    assert not overspent(Count(1_000, 70), champion, large)
    assert not overspent(Count(1_000, 30), champion, small)


def test_an_incident_that_hits_both_arms_is_no_excess() -> None:
    budget = Budget(0.99, MONTH, MONTH, Count(10_000, 0))
    spent, error = excess(Count(1_000, 530), Count(1_000, 500), 0.99)
    assert spent == pytest.approx(30)
    assert error > 30
    assert not overspent(Count(1_000, 530), Count(1_000, 500), budget)
    assert excess(Count(), Count(10, 1), 0.99) == (0.0, 0.0)
