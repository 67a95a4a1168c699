"""Bets on the paired difference of two scores: fair where the canary is no worse, quick where it is much worse."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rollout.scores import PRIOR, STAKES, Scores

BAR = math.log(100)
shares = st.floats(0, 1)


def found(champion: Callable[[], float], canary: Callable[[], float], most: int = 3_000) -> int | None:
    """After how many pairs e >= 100; None: not in `most`."""
    scores = Scores()
    for n in range(1, most + 1):
        scores = scores.pair(champion(), canary())
        if scores.log >= BAR:
            return n
    return None


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=4))
def test_no_bet_wins_on_average_if_the_difference_is_nothing_on_average(steps: list[tuple[float, float]]) -> None:
    """Every step is one of two pairs, mirror images of each other: all sequences, each as likely as any other."""
    worlds = [Scores()]
    for champion, canary in steps:
        worlds = [world.pair(*pair) for world in worlds for pair in ((champion, canary), (canary, champion))]
    assert math.fsum(math.exp(world.log) for world in worlds) / len(worlds) == pytest.approx(1)


def test_the_capital_is_all_there_is_and_no_bet_can_lose_more() -> None:
    assert math.fsum(PRIOR) == pytest.approx(1)
    assert len(PRIOR) == len(STAKES)
    worst = Scores()
    for _ in range(200):
        worst = worst.pair(0.0, 1.0)
    assert -4 < worst.log < 0, "what waits for a later change is still there"


@pytest.mark.parametrize(("drop", "most"), [(0.9, 10), (0.8, 11), (0.5, 16), (0.1, 75)])
def test_a_steady_drop_is_found_near_the_bound(drop: float, most: int) -> None:
    bound = BAR / math.log1p(drop)
    answers = found(lambda: 0.95, lambda: 0.95 - drop)
    assert answers is not None
    assert bound <= answers <= most


def test_a_small_drop_in_noise_is_found_and_noise_alone_is_not() -> None:
    draw = random.Random(3)
    assert found(lambda: draw.betavariate(8, 2), lambda: draw.betavariate(7, 3)) is not None
    alike = [found(lambda: draw.betavariate(8, 2), lambda: draw.betavariate(8, 2), 400) for _ in range(40)]
    assert sum(each is not None for each in alike) <= 2
    better = found(lambda: draw.betavariate(7, 3), lambda: draw.betavariate(8, 2))
    assert better is None


@pytest.mark.parametrize("score", [-0.01, 1.01, math.nan])
def test_a_score_is_a_share(score: float) -> None:
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        Scores().pair(0.5, score)
