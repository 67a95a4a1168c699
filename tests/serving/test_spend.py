"""The spend of a sliding hour."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.spend import HOUR, SLOT, Spend

steps = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 900)), max_size=60)


@given(steps)
def test_the_hour_holds_what_the_last_hour_cost(amounts: list[tuple[float, float]]) -> None:
    spend, now, paid = Spend(None), 0.0, []
    for amount, passed in amounts:
        now += passed
        spend.add(amount, now)
        paid.append((now, amount))
        least = sum(each for at, each in paid if at > now - HOUR)
        most = sum(each for at, each in paid if at > now - HOUR - SLOT)
        assert least - 1e-6 <= spend.hour(now) <= most + 1e-6


@given(steps, st.floats(0.1, 20))
def test_after_the_seconds_told_there_is_money_again(amounts: list[tuple[float, float]], cap: float) -> None:
    spend, now = Spend(cap), 0.0
    for amount, passed in amounts:
        now += passed
        spend.add(amount, now)
        seconds = spend.retry_seconds(now)
        assert (seconds == 0) == (spend.hour(now) < cap)
        assert isinstance(seconds, int)
    seconds = spend.retry_seconds(now)
    if seconds > 1:
        assert spend.share(now + seconds - 1) >= 1 - 1e-9, "no longer than needed"
    assert spend.share(now + seconds) < 1


def test_without_a_cap_nothing_is_ever_spent() -> None:
    spend = Spend(None)
    spend.add(1e9, 0)
    assert (spend.share(0), spend.retry_seconds(0), spend.hour(0)) == (0, 0, pytest.approx(1e9))


def test_memory_is_bounded_by_the_slots_of_an_hour() -> None:
    spend = Spend(1.0)
    for second in range(20_000):
        spend.add(0.0001, float(second))
        spend.hour(float(second))
    assert len(spend._slots) <= HOUR / SLOT + 1
