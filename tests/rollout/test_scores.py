"""Bets on the paired difference of two scores: fair where the canary is no worse, quick where it is much worse."""

import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rollout import evidence as ev
from pipelines.rollout.evidence import Count, Evidence, Sli
from pipelines.rollout.scores import PRIOR, STAKES, Scores
from pipelines.rollout.store import Event
from tests.benchmarks.rollout import quality

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


START = Evidence("1", "2", {"judge": Sli(), "quality": Sli()}, weights=((0.0, 0.0),))


def mirrored(pairs: Sequence[tuple[float, float]], users: int = 1_000) -> list[Event]:
    """Verdicts on mirrored requests, by the champion's score and the canary's."""
    journal = []
    for i, (champion, canary) in enumerate(pairs):
        who = (f"r{i}", f"u{i % users}")
        journal += [
            Event(*who, "champion", "1", 10.0 + i, {"judge": True}, "verdict", scores={"quality": champion}),
            Event(*who, "canary", "2", 10.2 + i, {"judge": True}, "verdict", shadow=True, scores={"quality": canary}),
        ]
    return journal


def test_mirrored_pairs_are_bet_on_and_the_lower_score_is_counted() -> None:
    pairs = [(0.9, 0.6)] * 30 + [(0.5, 0.7)] * 3 + [(0.8, 0.8)] * 2
    s = ev.fold(START, mirrored(pairs)).slis["quality"]
    alone = Scores()
    for champion, canary in pairs:
        alone = alone.pair(champion, canary)
    assert (s.scores, s.log) == (alone, alone.log)
    assert (s.mirror_canary, s.mirror_champion, s.canary) == (Count(35, 30), Count(35, 3), Count())


def test_only_a_users_first_pair_is_bet_on() -> None:
    found = ev.fold(START, mirrored([(0.9, 0.1)] * 30, users=4))
    s = found.slis["quality"]
    assert s.scores is not None
    assert (s.scores.wealth.bets, s.mirror_canary) == (4, Count(30, 30))
    assert found.users <= {key for event in mirrored([(0.9, 0.1)] * 30, users=4) for key in ev.keys(event)}


def test_it_is_one_of_the_slis_whose_mean_decides() -> None:
    found = ev.fold(START, mirrored([(0.9, 0.6)] * 30))
    assert ev.log_worse(found) == pytest.approx(found.slis["quality"].log - math.log(2), abs=0.1)
    assert ev.log_worse(found) > BAR


def test_answers_to_users_of_either_arm_are_no_pairs() -> None:
    journal = [
        Event(f"r{i}", f"u{i}", "canary", "2", 10.0 + i, {"judge": True}, "verdict", scores={"quality": 0.1}) for i in range(9)
    ]
    served = ev.enter(START, 5.0, 0.5)
    assert ev.fold(served, journal).slis["quality"] == Sli()


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_a_number_that_is_no_score_stops_no_rollout(score: float) -> None:
    assert ev.fold(START, mirrored([(0.5, score)] * 3)).slis["quality"] == Sli()


def test_a_canary_scored_lower_is_rolled_back_in_shadow_and_one_scored_alike_is_not() -> None:
    lower = quality.needed(quality.steady(0.3), seed=0)
    assert lower is not None
    assert math.log(100) / math.log(1.3) < lower <= 35
    assert [quality.needed(quality.SAME, seed, most=120) for seed in range(5)] == [None] * 5
