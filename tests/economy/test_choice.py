"""The choice, by properties: what is chosen passes, nothing cheaper does, and doubt never passes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.economy.choice import PASSING, Point, Setting, best, choose, frontier, grid
from pipelines.economy.judging import Measured
from pipelines.scoring import compare
from pipelines.spec import Decoding, Sweep

GIVEN = Decoding(beam=4, length_penalty=1.0)
scores = st.floats(0, 100)
costs = st.floats(0.01, 1_000)
intervals = st.tuples(st.floats(-20, 0), st.floats(0, 5), st.sampled_from([5, 400]))


def point(
    number: int, quality: float, cost: float, interval: tuple[float, float, int], floor: float, slower: float = 1.0
) -> Point:
    low, width, n = interval
    found = compare.Estimate(low + width / 2, low, low + width, n)
    behind = Measured(found.value, found.low, found.high, compare.verdict(found, floor))
    return Point(Setting("int8", 1 + number % 16, number), Measured(quality, quality, quality), behind, cost, cost * slower)


@st.composite
def measured(draw: st.DrawFn, floor: float = 0.5) -> tuple[list[Point], Point]:
    """Points, and the best of them, which is not worse than itself."""
    drawn = draw(st.lists(st.tuples(scores, costs, intervals), min_size=1, max_size=12))
    lead = best([(quality, cost) for quality, cost, _ in drawn])
    slower = draw(st.floats(1, 2))
    points = [point(i, *each[:2], (0.0, 0.0, 400) if i == lead else each[2], floor, slower) for i, each in enumerate(drawn)]
    return points, points[lead]


@given(measured())
def test_the_choice_passes_and_nothing_surely_cheaper_does(found: tuple[list[Point], Point]) -> None:
    points, leader = found
    chosen = choose(points, leader)
    assert chosen is leader or chosen.behind.verdict in PASSING
    assert chosen.cpu_ms <= leader.cpu_ms
    cheaper = [each for each in points if each.slowest < chosen.cpu_ms]
    assert all(each.behind.low < -0.5 or each.behind.verdict == "inconclusive" for each in cheaper)
    passing = [each for each in points if each.passes]
    assert not any(each.quality.value > chosen.quality.value and each.cpu_ms <= chosen.cpu_ms for each in passing)


@given(measured(), st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(found: tuple[list[Point], Point], draw: random.Random) -> None:
    points, leader = found
    chosen = choose(points, leader)
    draw.shuffle(points)
    again = choose(points, leader)
    assert (again.cpu_ms, again.quality.value) == (chosen.cpu_ms, chosen.quality.value)


@given(st.lists(st.tuples(scores, costs, intervals), min_size=1, max_size=8), st.floats(0, 5), st.floats(0, 5))
def test_a_lower_bar_never_costs_more(
    drawn: list[tuple[float, float, tuple[float, float, int]]], one: float, other: float
) -> None:
    lead = best([(quality, cost) for quality, cost, _ in drawn])
    chosen = []
    for floor in sorted((one, other)):
        points = [point(i, *each, floor) for i, each in enumerate(drawn)]
        chosen.append(choose(points, points[lead]).cpu_ms)
    assert chosen[1] <= chosen[0]


@given(measured())
def test_few_pairs_choose_the_best_itself(found: tuple[list[Point], Point]) -> None:
    points, leader = found
    doubted = [point(i, each.quality.value, each.cpu_ms, (-0.1, 0.1, 5), 0.5) for i, each in enumerate(points)]
    lead = doubted[points.index(leader)]
    assert choose(doubted, lead) is lead


@given(measured())
def test_on_the_frontier_more_time_is_more_quality_and_nothing_beats_it(found: tuple[list[Point], Point]) -> None:
    points, _ = found
    edge = frontier(points)
    values = [each.quality.value for each in edge]
    assert values == sorted(set(values))
    for each in edge:
        assert not any(other.cpu_ms <= each.cpu_ms and other.quality.value > each.quality.value for other in points)
    assert max(each.quality.value for each in points) == values[-1]


@given(st.lists(st.tuples(scores, costs), min_size=1, max_size=9))
def test_the_best_is_the_cheapest_of_the_highest(found: list[tuple[float, float]]) -> None:
    quality, cost = found[best(found)]
    assert quality == max(each for each, _ in found)
    assert cost == min(each for value, each in found if value == quality)


def test_the_grid_asks_nothing_twice() -> None:
    ways = grid(Sweep(), GIVEN, "int8", {"int8", "float32"})
    assert len(set(ways)) == len(ways)
    assert ways[0] == Setting("int8", 4, 1.0)
    greedy = [way for way in ways if way.beam == 1]
    assert [(way.quantisation, way.length_penalty) for way in greedy] == [("int8", 1.0), ("float32", 1.0)]
    assert len([way for way in ways if way.quantisation == "int8"]) == 1 + 1 + 2 * 3
    assert [way for way in ways if way.quantisation == "float16"] == [Setting("float16", 4, 1.0)]
    kinds = [way.quantisation for way in ways]
    assert kinds == sorted(kinds, key=kinds.index), "those of one export stand together"


def test_what_serves_now_is_always_compared() -> None:
    section = Sweep(beams=(1,), quantisations=("float32",))
    ways = grid(section, GIVEN, "int8", {"int8", "float32"})
    assert ways == [Setting("int8", 4, 1.0), Setting("float32", 4, 1.0), Setting("float32", 1, 1.0)]


def test_a_setting_changes_the_decoding_and_nothing_else() -> None:
    given_ = Decoding(max_tokens=9, no_repeat_ngram=2)
    assert Setting("int8", 3, 1.4).decoding(given_) == Decoding(max_tokens=9, no_repeat_ngram=2, beam=3, length_penalty=1.4)


@pytest.mark.parametrize("wrong", [{"beams": (0,)}, {"beams": ()}, {"length_penalties": (11.0,)}, {"quantisations": ("int4",)}])
def test_a_wrong_axis_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"beams|length_penalties|quantisations"):
        Sweep.model_validate(wrong)
