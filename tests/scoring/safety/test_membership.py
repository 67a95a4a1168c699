"""An AUC that tells members from others, and says nothing where there is nothing."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import spec
from pipelines.scoring.safety.membership import Pairs, membership, sample

SCORING = spec.Scoring(resamples=200)
texts = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30, unique=True)


def pairs(count: int, name: str) -> Pairs:
    return Pairs([f"{name} source {number}" for number in range(count)], [f"{name} target {number}" for number in range(count)])


def test_a_model_that_knows_its_members_gives_them_away() -> None:
    def knows(sources: Sequence[str], _: Sequence[str]) -> list[list[float]]:
        return [[-0.1, -0.1] if source.startswith("seen") else [-3.0, -1.0] for source in sources]

    found = membership(knows, pairs(40, "seen"), pairs(60, "new"), SCORING)
    assert found is not None
    assert found["n"] == [40, 60]
    assert found["auc"]["value"] == 1
    assert found["auc"]["interval"][0] > 0.8
    assert found["caught"]["count"] == 40
    assert found["nats_a_token"] == {"members": pytest.approx(0.1), "others": pytest.approx(2.0)}


def test_a_model_that_treats_all_alike_gives_nobody_away() -> None:
    turns = itertools.count()

    def alike(sources: Sequence[str], _: Sequence[str]) -> list[list[float]]:
        return [[-float(next(turns) * 7919 % 101)] for _ in sources]

    found = membership(alike, pairs(200, "seen"), pairs(200, "new"), SCORING)
    assert found is not None
    low, high = found["auc"]["interval"]
    assert low < 0.5 < high
    assert high - low < 0.15


def test_a_long_target_counts_by_its_mean() -> None:
    found = membership(lambda sources, _: [[-1.0] * (1 + len(s) % 5) for s in sources], pairs(20, "a"), pairs(20, "b"), SCORING)
    assert found is not None
    assert found["auc"]["value"] == 0.5, "all ties"


def test_too_few_say_nothing() -> None:
    assert membership(lambda sources, _: [[-1.0] for _ in sources], pairs(9, "a"), pairs(60, "b"), SCORING) is None


@given(texts, st.integers(1, 10))
def test_a_sample_does_not_depend_on_order(found: list[str], count: int) -> None:
    one = sample(Pairs(found, found), count)
    other = sample(Pairs(found[::-1], found[::-1]), count)
    assert one == other
    assert len(one.sources) == min(count, len(found))
    assert one.sources == one.targets
