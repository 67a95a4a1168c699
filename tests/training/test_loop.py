import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.spec import Training
from pipelines.training.loop import rate_at, rebuild_share
from pipelines.training.pairs import Marks, Pairs, rebuilding

END = 2
MARKS = Marks(pad=1, start=END, hidden=3)
texts = st.lists(st.integers(4, 99), max_size=60).map(lambda ids: [*ids, END])


@given(st.lists(texts, min_size=1, max_size=8), st.integers(2, 24), st.integers(0, 99))
def test_rebuilding_asks_for_the_sources_own_words(sources: list[list[int]], longest: int, seed: int) -> None:
    made = rebuilding(Pairs(sources, [[END]] * len(sources)), MARKS, longest, np.random.default_rng(seed))
    for whole, source, target in zip(sources, made.sources, made.targets, strict=True):
        rest = whole[len(whole) - len(source) :]
        assert source[-1] == target[-1] == END
        assert len(target) == min(len(rest), longest)
        assert target[:-1] == rest[:-1][: longest - 1]
        assert all(seen in (token, MARKS.hidden) for seen, token in zip(source, rest, strict=True))
        assert len(source) >= min(len(whole), 8)
        assert source[0] == MARKS.hidden or len(source) == 1


@given(st.integers(1, 5_000), st.floats(0, 1))
def test_the_rate_rises_then_falls_and_never_leaves_its_bounds(steps: int, warmup: float) -> None:
    training = Training(steps=steps, warmup=warmup, learning_rate=1e-3)
    rates = [rate_at(step, training) for step in range(1, steps + 1)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(1e-3)
    assert min(rates) >= 0
    assert all(a <= b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates[top:]))


def test_rebuilding_fades_to_its_floor() -> None:
    shares = [rebuild_share(step, Training(steps=1_000)) for step in range(1_001)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert shares[500:] == [0.15] * 501
