"""A flipped bit in data/, the DVC cache or the remote is found before its use (1,000 of them: tests.benchmarks.flips)."""

import pytest

from tests.benchmarks.flips import run


@pytest.mark.parametrize("seed", [1, 2])
def test_every_flip_is_found(seed: int) -> None:
    seen, places = run(30, seed)
    assert seen == 30
    assert all(places.values())
