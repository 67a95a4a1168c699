"""Seeded rollouts on a virtual clock through the real fold and decide."""

import statistics

import pytest

from pipelines.rollout.policy import Action, Phase
from tests.rollout.traffic import POLICY, TWO, World, canary, run, same


def incident(_arm: str, _sli: str, at: float, _user: int) -> float:
    """A dependency of both versions breaks for a minute and a half."""
    return 0.4 if 1_120 < at < 1_210 else 0.003


def grudge(_arm: str, _sli: str, _at: float, user: int) -> float:
    """One user in a hundred fails half of the time, with either version."""
    return 0.5 if user % 100 == 0 else 0.002


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(lambda seed: World(same(0.004), seed=seed), id="alike"),
        pytest.param(lambda seed: World(incident, seed=seed), id="shared-incident"),
        pytest.param(lambda seed: World(grudge, users=400, heavy=1.0, rate=20, seed=seed), id="heavy-users"),
    ],
)
def test_an_equal_canary_is_hardly_ever_rolled_back(world: object) -> None:
    runs = [run(world(seed), longest=400.0) for seed in range(25)]  # type: ignore[operator]
    assert sum(each.rolled_back for each in runs) <= 2, "at most 1 % of 25 expected; more than 2 has a chance of 0.2 % at most"


def test_a_good_canary_is_promoted_within_minutes() -> None:
    runs = [run(World(same(0.003), seed=seed)) for seed in range(10)]
    assert all(each.state.phase is Phase.PROMOTED for each in runs)
    assert statistics.median(each.seconds for each in runs) < 480
    for each in runs:
        assert [action for action in each.actions if action is not Action.HOLD] == [
            *[Action.ADVANCE] * (1 + len(TWO.stages) - 1), Action.OPEN_GATE, Action.PROMOTE,
        ]  # fmt: skip


def test_a_good_canary_of_a_champion_three_times_worse_than_its_objective_is_promoted() -> None:
    runs = [run(World(same(0.03), seed=seed), longest=3_600) for seed in range(3)]
    assert all(each.state.phase is Phase.PROMOTED for each in runs)


@pytest.mark.parametrize(("rate", "most"), [(0.5, 0.0), (0.05, 3.0), (0.02, 6.0)])
def test_a_broken_canary_hurts_few_before_it_is_rolled_back(rate: float, most: float) -> None:
    runs = [run(World(canary(rate, 0.001), seed=seed)) for seed in range(12)]
    assert all(each.rolled_back for each in runs)
    assert statistics.mean(each.bad for each in runs) <= most


def test_a_slow_canary_and_one_that_invents_are_rolled_back_too() -> None:
    slow = run(World(canary(0.2, 0.001, "latency"), seed=1))
    assert slow.rolled_back
    invents = run(World(lambda arm, sli, _at, _user: (0.7 if arm == "canary" else 0.3) if sli == "judge" else 0.001), POLICY)
    assert invents.rolled_back


def test_without_an_approval_it_waits_and_without_traffic_it_holds() -> None:
    asked = run(World(same(0.002), seed=2), longest=1_200, approve=False)
    assert asked.state.phase is Phase.APPROVAL
    assert asked.actions[-1] is Action.HOLD
    quiet = run(World(same(0.0), rate=0.0001), longest=600)
    assert set(quiet.actions) == {Action.HOLD}
