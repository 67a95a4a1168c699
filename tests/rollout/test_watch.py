"""The one-sample game of a probation: fair under its bound, quick above it, blind to whatever is no answer of its own."""

import math
import random
from itertools import accumulate, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.rollout import watch
from pipelines.rollout.evidence import Count
from pipelines.rollout.store import Event
from pipelines.rollout.watch import Watch, begun, upper

bounds = st.floats(1e-4, 0.9)
BAR = math.log(100)


def answer(user: str, good: bool, at: float = 10.0, arm: str = "canary", version: str = "2", shadow: bool = False) -> Event:
    return Event("r", user, arm, version, at, {"availability": good}, shadow=shadow)


@given(bounds, st.lists(st.booleans(), max_size=30))
def test_it_is_a_fair_game_at_the_bound_and_a_losing_one_below(bound: float, answers: list[bool]) -> None:
    here = list(accumulate(answers, lambda found, good: found.add(good), initial=Watch(bound)))[-1]
    now, if_bad, if_good = (math.exp(each.log) for each in (here, here.add(False), here.add(True)))
    assert bound * if_bad + (1 - bound) * if_good == pytest.approx(now, rel=1e-9)
    assert if_good <= now <= if_bad


@given(st.integers(1, 200_000), st.floats(0, 1), st.floats(0.6, 0.999))
def test_the_upper_bound_is_above_what_was_seen_and_grows_with_confidence(n: int, share: float, confidence: float) -> None:
    count = Count(n, int(n * share))
    assert count.bad / n <= upper(count, confidence) <= upper(count, (1 + confidence) / 2) <= 1
    assert upper(Count(2 * n, 2 * count.bad), confidence) <= upper(count, confidence) + 1e-12


def test_the_upper_bound_of_few_and_of_many_answers() -> None:
    assert upper(Count(), 0.95) == 1
    assert upper(Count(0 + 299, 0), 0.95) == pytest.approx(1 - 0.05 ** (1 / 299)), "with nothing bad: (1 - p)^n = 5 %"
    assert 0.001 < upper(Count(100_000, 100), 0.95) < 0.0013
    assert begun(Count(100_000, 100), 0.01, 0.95).bound == 0.01, "the SLO's budget is allowed in any case"
    assert begun(Count(), 0.01, 0.95).bound == 0.9


@pytest.mark.parametrize(("rate", "most"), [(0.5, 6.0), (0.05, 9.0), (0.02, 16.0)])
def test_a_change_after_two_hours_is_found_in_a_few_bad_answers(rate: float, most: float) -> None:
    bad = []
    for seed in range(20):
        chance, found, hurt = random.Random(seed), begun(Count(100_000, 100), 0.001, 0.95), 0
        for gap in repeat(1_000, 72):  # 72,000 answers, as many bad ones as the champion had
            found = Watch(found.bound, found.wealth, gap).add(False)
        assert found.log < BAR
        while found.log < BAR:
            good = chance.random() >= rate
            found, hurt = found.add(good), hurt + (not good)
        bad.append(hurt)
    assert sum(bad) / len(bad) <= most


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40), st.integers(0, 40))
@settings(max_examples=50)
def test_it_may_be_read_in_any_pieces_and_counts_a_users_first_bad_answer(given: list[tuple[int, bool]], cut: int) -> None:
    events = [answer(f"u{user}", good) for user, good in given]
    begun_, none = {"availability": Watch(0.01)}, frozenset[str]()
    whole, users = watch.fold(begun_, events, "2", 0.0, none)
    first, some = watch.fold(begun_, events[:cut], "2", 0.0, none)
    assert watch.fold(first, events[cut:], "2", 0.0, some) == (whole, users)
    assert whole["availability"].wealth.bets == len(users) == len({user for user, good in given if not good})


def test_nothing_counts_that_is_no_answer_of_its_own_on_probation() -> None:
    before = {"availability": Watch(0.01)}
    others = [
        answer("a", False, arm="champion", version="1"),
        answer("b", False, shadow=True),
        answer("c", False, version="3"),
        answer("d", False, at=4.9),
    ]
    assert watch.fold(before, others, "2", 5.0, frozenset()) == (before, frozenset())
    assert watch.log_worse({}) == 0.0 == pytest.approx(watch.log_worse(before))
