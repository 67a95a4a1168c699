from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.training.batches import padded_tokens, padding, plan, rectangle

pairs = st.lists(st.tuples(st.integers(1, 128), st.integers(1, 32)), max_size=120)


def lengths(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


@given(pairs, st.integers(64, 4_096), st.integers(0, 99), st.integers(0, 9))
def test_every_row_once_and_every_batch_within_the_budget(
    rows: list[tuple[int, int]], budget: int, seed: int, epoch: int
) -> None:
    sources, targets = lengths(rows)
    batches = plan(sources, targets, budget, seed=seed, epoch=epoch)
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(rows)))
    for batch in batches:
        assert len(batch) == 1 or padded_tokens([batch], sources, targets) <= budget
    assert 0 <= padding(batches, sources, targets) < 1


@given(pairs, st.integers(64, 1_024), st.integers(0, 99), st.integers(0, 9))
def test_seed_and_epoch_decide_all(rows: list[tuple[int, int]], budget: int, seed: int, epoch: int) -> None:
    sources, targets = lengths(rows)
    once, again = (plan(sources, targets, budget, seed=seed, epoch=epoch) for _ in range(2))
    assert [batch.tolist() for batch in once] == [batch.tolist() for batch in again]


def test_epochs_and_seeds_differ() -> None:
    rng = np.random.default_rng(0)
    sources, targets = rng.integers(20, 129, 500), rng.integers(3, 25, 500)

    def order(seed: int, epoch: int) -> Any:
        return np.concatenate(plan(sources, targets, 1_024, seed=seed, epoch=epoch)).tolist()

    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_little_padding_where_there_is_much_to_choose_from() -> None:
    rng = np.random.default_rng(0)
    sources, targets = rng.integers(30, 129, 5_000), rng.integers(3, 25, 5_000)
    bucketed = padding(plan(sources, targets, 4_096, seed=0, epoch=0), sources, targets)
    shuffled = padding(np.array_split(rng.permutation(5_000), 150), sources, targets)
    assert bucketed <= 0.06
    assert shuffled > 0.3


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6))
def test_rectangle_keeps_the_rows_and_fills_the_rest(ids: list[list[int]]) -> None:
    array = rectangle(ids, -1)
    assert [row[row >= 0].tolist() for row in array] == ids
    assert array.shape == (len(ids), max((len(row) for row in ids), default=0))


@pytest.mark.parametrize("budget", [64, 100])
def test_a_row_longer_than_the_budget_gets_its_own_batch(budget: int) -> None:
    sources, targets = np.array([200, 10, 10]), np.array([5, 5, 5])
    batches = plan(sources, targets, budget, seed=0, epoch=0)
    assert [0] in [batch.tolist() for batch in batches]
